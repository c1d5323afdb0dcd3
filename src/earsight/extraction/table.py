"""Which clips have a row in a feature file, and where the numbers of each row lie."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from earsight.arrays import FloatArray, IntArray
from earsight.datasets import folder_labels, read_label_csv
from earsight.errors import FeatureFileError, InputError
from earsight.extraction.staging import Record, Staging
from earsight.features import PairedFeatures, StepTable, read_features
from earsight.media import Status
from earsight.paths import as_text

CLIPS = "clips"  # where the provenance holds the records
PART = "part"  # where it says which part of a folder this is
MOST_PARTS = 1_000_000
_TROUBLE = (Status.PARTIAL, Status.UNREADABLE)
Features = Mapping[str, Mapping[str, Any]]
"""Modality → what made its features."""


@dataclass(frozen=True)
class Held:
    """What a feature file holds already; nothing where there is none.

    Attributes:
        data: Its rows.
        records: Of every clip that was met.
        rows: Content → where its row is.
    """

    data: PairedFeatures | None = None
    records: tuple[Record, ...] = ()
    rows: Mapping[str, tuple[PairedFeatures, int]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, output: Path, features: Features, part: Mapping[str, Any] = MappingProxyType({})
    ) -> "Held":
        """Read a file.

        Raises:
            FeatureFileError: It is damaged, of other hands, other extractors or another part.
        """
        if not output.exists():
            return cls()
        data = read_features(output)
        check_made(data, output)
        there = {m: data.provenance[m] for m in data.views}
        if fingerprints(data) != {m: facts["fingerprint"] for m, facts in features.items()}:
            raise FeatureFileError(
                f"{output} holds {_listed(there)}; asked for was {_listed(features)}. Features of "
                "different extractors are never mixed: name another file, or remove this one."
            )
        held = data.provenance.get(PART, {})
        if _numbered(held) != _numbered(part):
            raise FeatureFileError(
                f"{output} holds {_numbered(held)}; asked for was {_numbered(part)}. Name another "
                "file; earsight join puts parts together."
            )
        return cls.of(data)

    @classmethod
    def of(cls, data: PairedFeatures) -> "Held":
        """Return what a file that extract made holds."""
        groups = np.asarray(data.group).tolist()
        rows = {content: (data, row) for row, content in enumerate(groups)}
        return cls(data, tuple(map(Record.of, data.provenance[CLIPS])), rows)

    def is_same(self, made: "Table", part: Mapping[str, Any]) -> bool:
        """Return whether the file would be the same again."""
        if self.data is None or list(self.records) != made.records:
            return False
        if self.data.provenance.get(PART, {}) != part:
            return False
        labels = self.data.labels
        return (None if labels is None else np.asarray(labels).tolist()) == made.column


def check_made(data: PairedFeatures, path: object) -> None:
    """Check that features are such as `extract` makes, whoever sent them.

    Raises:
        FeatureFileError: They are not; it is said what they lack.
    """
    try:
        for record in _a(list, data.provenance[CLIPS]):
            Record.of(record)
        if PART in data.provenance:
            part = data.provenance[PART]
            if not 0 < _a(int, part["number"]) <= _a(int, part["of"]) <= MOST_PARTS:
                raise ValueError(f"part {part['number']} of {part['of']}")
            _a(str, part["labels"])
        for modality, view in data.views.items():
            facts = data.provenance[modality]
            _a(str, facts["fingerprint"])
            _a(str, facts["extractor"])
            if facts["dim"] != view.shape[1] or modality not in data.steps:
                raise ValueError(f"`{modality}` without steps, or of another width")
        for column in (data.ids, data.group):
            if _a(np.ndarray, column).dtype.kind != "U":
                raise ValueError("`ids` or `group` that are no text")
    except (KeyError, TypeError, ValueError) as error:
        raise FeatureFileError(
            f"{path} was not made by extract; name another file ({error} is not what it writes)."
        ) from error


def _a(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} for {kind.__name__}")
    return value


def fingerprints(data: PairedFeatures) -> dict[str, str]:
    """Return modality → fingerprint of what made its features."""
    return {m: data.provenance[m]["fingerprint"] for m in data.views}


def _numbered(part: Mapping[str, Any]) -> str:
    return f"part {part['number']}/{part['of']}" if part else "the whole folder"


def _listed(features: Features) -> str:
    return ", ".join(
        f"{m} of {facts['extractor']} ({facts['fingerprint'][:12]})"
        for m, facts in features.items()
    )


class Table:
    """The clips that have a row, and why the others have none.

    Args:
        records: Every clip, by path.
        modalities: What a clip must have.
        labels: Path → label; where there are any, a clip must have one.
    """

    def __init__(
        self, records: list[Record], modalities: tuple[str, ...], labels: dict[str, str]
    ) -> None:
        self.records, self.modalities = records, modalities
        whole = [record for record in records if set(modalities) <= set(record.has)]
        self.rows = [r for r in whole if not labels or _name(r) in labels]
        rows = {record.path for record in self.rows}
        self.waiting = {r.content for r in whole if r.path not in rows}  # for a label
        self.labels = {_name(r): labels[_name(r)] for r in self.rows} if labels else {}

    @property
    def column(self) -> list[str] | None:
        """The label of each row."""
        return [self.labels[_name(record)] for record in self.rows] if self.labels else None

    def trouble(self) -> list[tuple[str, str, str]]:
        """Return what could not be read, or not to its end."""
        return [(_name(r), r.status, r.message) for r in self.records if r.status in _TROUBLE]

    def left_out(self) -> list[tuple[str, str]]:
        """Return what was read and has no row."""
        rows = {record.path for record in self.rows}
        others = [r for r in self.records if r.path not in rows and r.status != Status.UNREADABLE]
        return [(_name(record), self._why(record)) for record in others]

    def _why(self, record: Record) -> str:
        lacking = [m for m in self.modalities if m not in record.has]
        return f"no {' and no '.join(lacking)}" if lacking else "no label, where others have one"


def check_setting(setting: str) -> None:
    """Check that labels can be had, before anything is read for hours.

    Raises:
        LabelError: `setting` is neither "folders" nor "none" nor a CSV file of labels.
    """
    if setting not in ("folders", "none"):
        read_label_csv(setting)


def labels_of(names: Sequence[str], setting: str) -> dict[str, str]:
    """Return path → label of the clips that have one.

    Raises:
        LabelError: The CSV file cannot be read.
        InputError: It labels none of them.
    """
    if setting == "none":
        return {}
    if setting == "folders":
        return folder_labels(names) or {}
    listed = read_label_csv(setting)
    found = {name: listed[name] for name in names if name in listed}
    if not found:
        raise InputError(f"{setting} labels none of the {len(names)} clips; see --labels.")
    return found


def _name(record: Record) -> str:
    return as_text(os.fsencode(record.path))


def joined(
    made: Table,
    held: Held,
    staged: Staging,
    features: Features,
    *,
    part: Mapping[str, Any] = MappingProxyType({}),
) -> PairedFeatures:
    """Put the rows together, from the files that stand and from what is staged; steps lazily."""
    views, steps = {}, {}
    for modality, facts in features.items():
        means, times, reads = [], [], []
        for record in made.rows:
            if record.content in held.rows:
                data, row = held.rows[record.content]
                means.append(data.views[modality][row])
                times.append(_times(data.steps[modality], row))
                reads.append(partial(_read_row, data.steps[modality], row))
            else:
                means.append(staged.mean(record.content, modality))
                times.append(staged.times(record.content, modality))
                reads.append(partial(staged.steps, record.content, modality))
        widths = sorted({len(mean) for mean in means})
        if widths != [facts["dim"]]:
            raise FeatureFileError(
                f"{modality} must have {facts['dim']} features, says its extractor; what an "
                f"earlier run read has {widths}. Remove {staged.folder} and run again."
            )
        views[modality] = np.stack(means)
        offsets = np.cumsum([0, *map(len, times)])
        bounds = np.stack([offsets[:-1], offsets[1:]], axis=1)
        rows = _Scattered(offsets, tuple(reads), facts["dim"])
        steps[modality] = StepTable(bounds, np.concatenate(times), facts["dim"], rows)
    return PairedFeatures(
        views,
        labels=made.column,  # type: ignore[arg-type]  # a list, which is made an array
        ids=np.array([_name(record) for record in made.rows]),
        group=np.array([record.content for record in made.rows]),
        steps=steps,
        provenance={
            **features,
            **({PART: part} if part else {}),
            CLIPS: [record.facts() for record in made.records],
        },
    )


def _times(table: StepTable, row: int) -> FloatArray:
    start, stop = table.bounds[row]
    return table.times[start:stop]


def _read_row(table: StepTable, row: int) -> FloatArray:
    return table[row].values


@dataclass(frozen=True)
class _Scattered:
    """Steps of many clips, each read from where it lies: in the old file or in a part."""

    offsets: IntArray
    reads: tuple[Callable[[], FloatArray], ...]
    dim: int

    def __call__(self, start: int, stop: int) -> FloatArray:
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        blocks = [read() for read in self.reads[first:last]]
        whole = np.concatenate([np.zeros((0, self.dim), np.float32), *blocks])
        return whole[start - self.offsets[first] : stop - self.offsets[first]]

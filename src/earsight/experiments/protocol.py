"""Which rows are learned from and which are asked: the same for all methods of a comparison."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from earsight.arrays import IntArray, Labels
from earsight.datasets import folds
from earsight.errors import InputError
from earsight.features import PairedFeatures

TEST = "test"
Rows = IntArray | dict[str, IntArray]
"""Row numbers; where rows are unpaired, those of each modality."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What is learned from and what is asked: row numbers of the data."""

    train: Rows
    test: Rows


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How methods are compared.

    Attributes:
        folds: Parts of a cross-validation, whole groups in each, stratified by class.
        seeds: How many seeds each method is fitted with: 0, 1, ….
        official_test: Learn from all rows but the data's own test rows, and ask those. Otherwise
            the test rows are not looked at: the folds are of the others.
        max_folds: Run only the first so many folds, where one is enough to see.
        ks: The ranks of recall@k and precision@k.
    """

    folds: int = 5
    seeds: int = 3
    official_test: bool = False
    max_folds: int | None = None
    ks: tuple[int, ...] = (1, 5, 10)

    def __post_init__(self) -> None:
        for name, least in (("folds", 2), ("seeds", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` must be at least {least}; got {getattr(self, name)}.")

    @property
    def name(self) -> str:
        """Short name."""
        return "official test" if self.official_test else "cross-validation"

    def facts(self) -> dict[str, Any]:
        """Return what tells this protocol from another, ready for JSON."""
        facts = asdict(self) | {"ks": list(self.ks), "name": self.name}
        if self.official_test:
            del facts["folds"], facts["max_folds"]
        return facts

    def describe(self, data: PairedFeatures) -> str:
        """Return one sentence for people."""
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        if self.official_test:
            asked, learned = (_counted(data, _where(data, test=test)) for test in (True, False))
            return f"Official test, {asked} rows, learned from the other {learned}; {seeds}."
        rows = "training rows" if data.split is not None else "rows"
        folds = f"{self.folds} folds of {_counted(data, _where(data, test=False))} {rows}"
        only = "" if self.max_folds is None else f", the first {self.max_folds} run"
        return f"{folds}{only}; {seeds}."

    def cut(self, data: PairedFeatures) -> list[Fold]:
        """Return the folds of some data.

        Raises:
            InputError: An official test of data that have no test rows, or too few rows.
        """
        if not self.official_test:
            return _cross_validation(data, self.folds)[: self.max_folds]
        if data.split is None:
            raise InputError("There is no official test: these data have no split of their own.")
        fold = Fold(train=_where(data, test=False), test=_where(data, test=True))
        for name, rows in (("training", fold.train), (TEST, fold.test)):
            if min(map(len, _by_view(data, rows).values())) == 0:
                raise InputError(f"The data's own split has no {name} row.")
        return [fold]


def _where(data: PairedFeatures, *, test: bool) -> Rows:
    """Return the rows of the test part, or of all others; all where there is no split."""
    if data.paired:
        n = len(next(iter(data.views.values())))
        split = np.full(n, "") if data.split is None else np.asarray(data.split)
        return np.flatnonzero((split == TEST) == test)
    by_view = data.split if isinstance(data.split, Mapping) else {}
    return {
        m: np.flatnonzero((by_view.get(m, np.full(len(x), "")) == TEST) == test)
        for m, x in data.views.items()
    }


def _by_view(data: PairedFeatures, rows: Rows) -> dict[str, IntArray]:
    return rows if isinstance(rows, dict) else dict.fromkeys(data.views, rows)


def _counted(data: PairedFeatures, rows: Rows) -> str:
    """Return the number of rows, of each modality where they are unpaired."""
    if isinstance(rows, dict):
        return " and ".join(f"{len(own):,} {modality}" for modality, own in rows.items())
    return f"{len(rows):,}"


def _cross_validation(data: PairedFeatures, n_folds: int) -> list[Fold]:
    rows = _where(data, test=False)
    if not isinstance(rows, dict):
        labels, group = (_picked(column, rows) for column in (data.labels, data.group))
        units = np.arange(len(rows)) if labels is None and group is None else group
        return [Fold(train=rows[a], test=rows[b]) for a, b in folds(labels, units, n_folds)]
    # One deal for all modalities, so that a group is in one fold wherever its rows are.
    border = np.cumsum([0, *map(len, rows.values())])
    labels = _joined(data.labels, rows, each_its_own=False)
    group = _joined(data.group, rows, each_its_own=True)
    dealt = folds(labels, group, n_folds)

    def apart(which: IntArray) -> dict[str, IntArray]:
        return {
            m: own[which[(which >= low) & (which < high)] - low]
            for (m, own), low, high in zip(rows.items(), border[:-1], border[1:], strict=True)
        }

    return [Fold(train=apart(a), test=apart(b)) for a, b in dealt]


def _picked(column: Any, rows: IntArray) -> Labels | None:
    return None if column is None else np.asarray(column)[rows]


def _joined(column: Any, rows: Mapping[str, IntArray], *, each_its_own: bool) -> Labels | None:
    """Put a column of all modalities end to end: classes within a modality, groups across."""
    if column is None:
        return np.arange(sum(map(len, rows.values()))) if each_its_own else None
    parts = [column[m][own].astype(str) for m, own in rows.items()]
    if not each_its_own:  # stratified by class in each modality
        parts = [np.char.add(f"{number} ", part) for number, part in enumerate(parts)]
    return np.concatenate(parts)

"""What was read of single clips until a feature file holds it: a small file for each content.

A part is written under a temporary name and put in place when it is whole, so a run that is killed
at any moment leaves whole parts alone, and the next run goes on from them.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import FeatureFileError
from earsight.features import FeatureSequence, read_arrays
from earsight.library.scan import File
from earsight.media import Status
from earsight.paths import as_text
from earsight.untrusted import parse_json

_MADE_BY = "extractors.json"


@dataclass(frozen=True)
class Record:
    """What is kept of one clip beside its features, and what tells whether it has changed.

    Attributes:
        path: As the system has it, relative to the clips folder; bytes outside UTF-8 escaped.
        size, mtime_ns, content: Of the file, when it was read.
        status, message, seconds: Of the decoder's report.
        has: The modalities it has features of.
        again: Whether what went wrong may pass, so that it is tried again.
    """

    path: str
    size: int
    mtime_ns: int
    content: str
    status: str
    message: str
    seconds: float
    has: tuple[str, ...] = ()
    again: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Record":
        """Read a record as JSON has it.

        Raises:
            ValueError: It is none.
        """
        try:
            record = cls(**{**facts, "has": tuple(facts["has"])})
            name = os.fsencode(record.path)
            numbers = (record.size, record.mtime_ns, record.seconds)
            texts = (record.content, record.status, record.message, *record.has)
        except (TypeError, KeyError, UnicodeEncodeError) as error:
            raise ValueError(f"no record of a clip ({error})") from error
        sound = (
            name
            and b"\0" not in name
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(number, int | float) for number in numbers)
            and isinstance(record.again, bool)
            and record.status in {*Status}
            and re.fullmatch("[0-9a-f]{64}", record.content)
        )
        if not sound:
            raise ValueError(f"no record of a clip: {as_text(name)!r}")
        return record

    def facts(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self) | {"has": list(self.has)}

    def at(self, file: File) -> "Record":
        """Return the record of another file of the same content."""
        path = os.fsdecode(file.path)
        return replace(self, path=path, size=file.size, mtime_ns=file.mtime_ns)


@dataclass(frozen=True)
class Parts:
    """The parts of one feature file, all made by the same extractors, in a folder beside it."""

    output: Path

    @property
    def folder(self) -> Path:
        """Where they lie, hidden."""
        return self.output.with_name(f".{self.output.name}.parts")

    def start(self, fingerprints: Mapping[str, str]) -> bool:
        """Make the folder ready for some extractors; return whether parts of others were removed.

        Only in a lock on the folder.
        """
        made_by = self.folder / _MADE_BY
        asked = json.dumps(fingerprints, sort_keys=True)
        others: set[str] = set()
        if not made_by.is_file() or made_by.read_text(encoding="utf-8") != asked:
            others = {path.stem for path in self.folder.glob("*.npz")}
        self._drop(others)
        for unfinished in self.folder.glob("*.part"):
            unfinished.unlink()
        made_by.write_text(asked, encoding="utf-8")
        return bool(others)

    def write(self, record: Record, found: Mapping[str, FeatureSequence]) -> None:
        """Keep a clip: means, steps and times of each modality."""
        arrays: dict[str, Any] = {"record": np.asarray(json.dumps(record.facts()))}
        for modality, sequence in found.items():
            arrays[modality] = sequence.mean()
            arrays[f"{modality}_steps"] = np.asarray(sequence.values, dtype=np.float32)
            arrays[f"{modality}_times"] = sequence.times
        unfinished = self.folder / f"{record.content}.{os.getpid()}.part"
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        unfinished.replace(self._path(record.content))

    def records(self) -> dict[str, Record]:
        """Return content → record of every part that is whole."""
        found = {}
        for path in self.folder.glob("*.npz"):
            try:
                record = str(self._array(path.stem, "record"))
                found[path.stem] = Record.of(parse_json(record, file_names=True))
            except (FeatureFileError, ValueError):
                path.unlink()  # a power cut took the bytes and left the name: it is read again
        return found

    def mean(self, content: str, modality: str) -> FloatArray:
        """Return one clip's mean, (d,)."""
        return np.asarray(self._array(content, modality))

    def steps(self, content: str, modality: str) -> FloatArray:
        """Return one clip's steps, (n_steps, d)."""
        return np.asarray(self._array(content, f"{modality}_steps"))

    def times(self, content: str, modality: str) -> FloatArray:
        """Return the times of one clip's steps, (n_steps,)."""
        return np.asarray(self._array(content, f"{modality}_times"))

    def _drop(self, contents: set[str]) -> None:
        for content in contents:
            self._path(content).unlink(missing_ok=True)

    def keep(self, contents: set[str]) -> None:
        """Remove all parts but some."""
        self._drop({path.stem for path in self.folder.glob("*.npz")} - contents)

    def tidy(self) -> None:
        """Remove the folder, unless there are parts in it."""
        if any(self.folder.glob("*.npz")):
            return
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _path(self, content: str) -> Path:
        return self.folder / f"{content}.npz"

    def _array(self, content: str, name: str) -> Any:
        return read_arrays(self._path(content), name)[name]

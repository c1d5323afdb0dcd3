"""What was read of single clips until a feature file holds it: a small file for each content.

Each is written under a temporary name and put in place when it is whole, so a run that is killed at
any moment leaves whole ones alone, and the next run goes on from them.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import FeatureFileError
from earsight.features import FeatureSequence, read_arrays
from earsight.library.catalog.folder_handle import Directory, open_directory
from earsight.library.catalog.location import LOCK, locked, refuse_second_name
from earsight.library.catalog.scan import File
from earsight.media import Status
from earsight.paths import as_text
from earsight.untrusted import parse_json

_MADE_BY = "extractors.json"
_WHOLE = re.compile(r"[0-9a-f]{64}\.npz")
_UNFINISHED = re.compile(r"\.tmp-[0-9a-f]{16}")


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
class Staging:
    """What one feature file is waiting for, all made by the same extractors, in a folder beside it.

    That folder may have come with the clips: a link there is an error, and only what has a name of
    ours is read or removed.
    """

    output: Path

    @property
    def folder(self) -> Path:
        """Where they lie, hidden."""
        return self.output.with_name(f".{self.output.name}.parts")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be, keep other runs out, remove it at the end if it is empty.

        Raises:
            LibraryError: As `location.locked`; or the folder is a link, or holds one, or a pipe, or
                a file that has another name elsewhere.
        """
        with locked(self.folder, follow=False):
            with self._opened() as folder:
                folder.refuse_links()
                for name in folder.names():
                    state = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode):
                        refuse_second_name(self.folder / name, state.st_nlink)
            try:
                yield
            finally:
                self.tidy()

    def clear(self) -> None:
        """Remove what killed runs left of the output itself, half written."""
        own = re.compile(rf"\.{re.escape(self.output.name)}\.[0-9a-f]+\.part")
        with open_directory(self.output.parent, follow=True) as folder:
            _remove(folder, own)

    def start(self, fingerprints: Mapping[str, str]) -> bool:
        """Make it ready for some extractors; return whether the work of others was removed.

        Only in a lock on the folder.
        """
        asked = json.dumps(fingerprints, sort_keys=True).encode()
        with self._opened() as folder:
            same = folder.kind(_MADE_BY) is not None and folder.read(_MADE_BY) == asked
            others = not same and bool(_contents(folder))
            if others:
                _remove(folder, _WHOLE)
            _remove(folder, _UNFINISHED)
            folder.write(_MADE_BY, asked)
        return others

    def write(self, record: Record, found: Mapping[str, FeatureSequence]) -> None:
        """Keep a clip: means, steps and times of each modality."""
        arrays: dict[str, Any] = {"record": np.asarray(json.dumps(record.facts()))}
        for modality, sequence in found.items():
            arrays[modality] = sequence.mean()
            arrays[f"{modality}_steps"] = np.asarray(sequence.values, dtype=np.float32)
            arrays[f"{modality}_times"] = sequence.times
        packed = BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        with self._opened() as folder:
            folder.write(_name(record.content), packed.getvalue())

    def records(self) -> dict[str, Record]:
        """Return content → record of every file that is whole."""
        found = {}
        with self._opened() as folder:
            for content in _contents(folder):
                try:
                    record = str(self._array(content, "record"))
                    found[content] = Record.of(parse_json(record, file_names=True))
                except (FeatureFileError, ValueError):
                    # A power cut took the bytes and left the name: it is read again.
                    folder.remove(_name(content), _is(_WHOLE))
        return found

    def mean(self, content: str, modality: str) -> FloatArray:
        """Return one clip's mean, (d,)."""
        return self._numbers(content, modality, 1)

    def steps(self, content: str, modality: str) -> FloatArray:
        """Return one clip's steps, (n_steps, d)."""
        return self._numbers(content, f"{modality}_steps", 2)

    def times(self, content: str, modality: str) -> FloatArray:
        """Return the times of one clip's steps, (n_steps,)."""
        return self._numbers(content, f"{modality}_times", 1)

    def _numbers(self, content: str, name: str, ndim: int) -> FloatArray:
        found = np.asarray(self._array(content, name))
        if found.ndim != ndim or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise FeatureFileError(
                f"{self.folder / _name(content)}: `{name}` must be finite numbers of {ndim} "
                f"dimensions; got {found.dtype} of shape {found.shape}. Remove it and run again."
            )
        return found

    def keep(self, contents: set[str]) -> None:
        """Remove all but some."""
        with self._opened() as folder:
            for content in _contents(folder) - contents:
                folder.remove(_name(content), _is(_WHOLE))

    def tidy(self) -> None:
        """Remove the folder, unless something waits in it, or what is not ours."""
        with self._opened() as folder:
            if _contents(folder):
                return
            _remove(folder, _UNFINISHED)
            _remove(folder, re.compile(f"{LOCK}|{re.escape(_MADE_BY)}"))
            if not folder.names():
                self.folder.rmdir()

    def _opened(self) -> AbstractContextManager[Directory]:
        return open_directory(self.folder)

    def _array(self, content: str, name: str) -> Any:
        path = self.folder / _name(content)
        try:
            with self._opened() as folder, os.fdopen(folder.open(path.name), "rb") as file:
                return read_arrays(path, name, file=file)[name]
        except OSError as error:
            raise FeatureFileError(f"{path} cannot be read: {error}.") from error


def _name(content: str) -> str:
    return f"{content}.npz"


def _contents(folder: Directory) -> set[str]:
    """Return the contents that a folder has files of."""
    return {name.removesuffix(".npz") for name in folder.names() if _WHOLE.fullmatch(name)}


def _is(own: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: own.fullmatch(name) is not None


def _remove(folder: Directory, own: re.Pattern[str]) -> None:
    """Remove the files that have a name of ours; what is no file stays."""
    for name in filter(own.fullmatch, folder.names()):
        folder.remove(name, _is(own))

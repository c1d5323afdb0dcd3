"""Named arrays and attributes in one file, HDF5 or npz: what a feature file is made of."""

import json
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import EarsightError, FeatureFileError, InputError
from earsight.features._hdf5 import Hdf5
from earsight.features._npz import ATTRIBUTES, Npz, open_archive
from earsight.features._values import Scale
from earsight.features.sequences import Rows, StepTable

FORMAT = 1
_ENDINGS = (".h5", ".hdf5", ".npz")

# What numpy, zipfile, json and h5py raise when a file cannot be written.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, RuntimeError, KeyError, ValueError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)

Source = Path | BinaryIO
"""A file of this machine, or one that is open and has a `name`, wherever it lies."""

Members = Mapping[str, npt.NDArray[Any] | StepTable]


class Container(Protocol):
    """One open file."""

    names: list[str]
    attributes: dict[str, Any]  # of the file; those of array m under the name m

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the kind of numbers in one array."""

    def column_bytes(self, name: str) -> int:
        """Return what memory one array takes as a column, or as an array of another kind."""

    def rows_bytes(self, name: str) -> int:
        """Return what memory one array takes as features."""

    def steps_bytes(self, name: str) -> int:
        """Return what memory one array takes as steps, when it is opened."""

    def array(self, name: str) -> npt.NDArray[Any]:
        """Read one array; text comes as numpy strings."""

    def rows(self, name: str, scale: Scale | None) -> Rows:
        """Return a reader for rows of one array, its leading axes taken as one."""


@contextmanager
def open_container(path: Source) -> Iterator[Container]:
    """Open a file for reading; one that is open stays so.

    Raises:
        FeatureFileError: Missing, damaged, of an unknown kind, with pickled objects, or what breaks
            a rule (`InputError`) while it is open.
    """
    check_ending(path)
    if isinstance(path, Path) and not path.is_file():
        raise FeatureFileError(f"{path} is missing.")
    try:
        if ending(path) == ".npz":
            with open_archive(path) as archive:
                yield Npz(archive)
        else:
            import h5py

            with h5py.File(path, "r") as file:
                yield Hdf5(path, file)
    except InputError as error:
        raise FeatureFileError(f"{path}: {error}") from error
    except EarsightError:
        raise
    except Exception as error:  # no closed list tells what damaged files make others raise
        raise FeatureFileError(f"{path} cannot be read; it may be damaged ({error}).") from error


def write_container(
    path: Path, members: Members, modalities: list[str], provenance: Mapping[str, Any]
) -> None:
    """Write a whole file under a temporary name beside `path`, then put it in place.

    Raises:
        FeatureFileError: The file cannot be written.
        InputError: Provenance that is not JSON.
    """
    check_ending(path)
    try:
        provenance = json.loads(json.dumps(provenance, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"Provenance must be JSON; {error}.") from error
    write = _write_npz if path.suffix.lower() == ".npz" else _write_h5
    # A name that nobody can have put a link under.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        write(temporary, members, modalities, provenance)
        temporary.replace(path)
    except _DAMAGE as error:
        raise FeatureFileError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def ending(path: Source) -> str:
    """Return the end of a file's name, which says of which kind it is."""
    return PurePath(path.name).suffix.lower()


def check_ending(path: Source) -> None:
    """Check that a file's name says of which kind it is, before anything is done for it.

    Raises:
        FeatureFileError: It does not.
    """
    if ending(path) not in _ENDINGS:
        raise FeatureFileError(f"A feature file ends in {', '.join(_ENDINGS)}; got {path.name!r}.")


@dataclass(frozen=True)
class JoinedRows:
    """Two row readers, one after the other."""

    first: Rows
    second: Rows
    border: int

    def __call__(self, start: int, stop: int) -> FloatArray:
        """Return the rows from `start` up to `stop`."""
        if stop <= self.border:
            return self.first(start, stop)
        if start >= self.border:
            return self.second(start - self.border, stop - self.border)
        parts = [self.first(start, self.border), self.second(0, stop - self.border)]
        return np.concatenate(parts)


def _write_npz(
    path: Path, members: Members, modalities: list[str], provenance: Mapping[str, Any]
) -> None:
    attributes = {**provenance, "format": FORMAT, "modalities": modalities}
    with zipfile.ZipFile(path, "w") as archive:
        arrays = {**members, ATTRIBUTES: np.asarray(json.dumps(attributes))}
        for name, member in arrays.items():
            array = member
            if isinstance(array, StepTable):
                array = np.concatenate([sequence.values for sequence in array])
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _write_h5(
    path: Path, members: Members, modalities: list[str], provenance: Mapping[str, Any]
) -> None:
    import h5py

    with h5py.File(path, "w", track_order=True) as file:
        for name, member in members.items():
            if isinstance(member, StepTable):
                _write_steps(file, name, member)
            elif member.dtype.kind == "U":
                file.create_dataset(name, data=member.astype(object), dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=member)
        file.attrs["format"] = FORMAT
        file.attrs["modalities"] = json.dumps(modalities)
        for key, value in provenance.items():
            if key in modalities and isinstance(value, dict) and value and all(value):
                for own_key, own in value.items():
                    file[key].attrs[own_key] = json.dumps(own)
            else:
                file.attrs[key] = json.dumps(value)


def _write_steps(file: Any, name: str, table: StepTable) -> None:
    total = int((table.bounds[:, 1] - table.bounds[:, 0]).sum())
    dtype = table.rows(0, 0).dtype
    array = file.create_dataset(name, shape=(total, table.dim), dtype=dtype)
    at = 0
    for sequence in table:
        array[at : at + len(sequence)] = sequence.values
        at += len(sequence)

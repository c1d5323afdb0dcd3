"""Named arrays and attributes in one file, HDF5 or npz: what a feature file is made of."""

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, bad_rows
from earsight.errors import EarsightError, FeatureFileError, InputError
from earsight.features.sequences import ArrayRows, Rows, StepTable

FORMAT = 1
_ENDINGS = (".h5", ".hdf5", ".npz")
_ATTRIBUTES = "attributes"  # the member of an npz that holds what HDF5 keeps in attributes

# What numpy, zipfile, json and h5py raise on files that are damaged, foreign or out of room.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, RuntimeError, KeyError, ValueError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)

Source = Path | BinaryIO
"""A file of this machine, or one that is open and has a `name`, wherever it lies."""

Members = Mapping[str, npt.NDArray[Any] | StepTable]


@dataclass(frozen=True)
class Scale:
    """How 8-bit numbers become features: x·factor + shift."""

    factor: float
    shift: float

    def apply(self, x: npt.NDArray[Any]) -> FloatArray:
        """Return the features as float32."""
        return np.asarray(x * self.factor + self.shift, dtype=np.float32)


class Container(Protocol):
    """One open file."""

    names: list[str]
    attributes: dict[str, Any]  # of the file; those of array m under the name m

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the kind of numbers in one array."""

    def array(self, name: str) -> npt.NDArray[Any]:
        """Read one array; text comes as numpy strings."""

    def rows(self, name: str, scale: Scale | None) -> Rows:
        """Return a reader for rows of one array, its leading axes taken as one."""


@contextmanager
def open_container(path: Source) -> Iterator[Container]:
    """Open a file for reading; one that is open stays so.

    Raises:
        FeatureFileError: Missing, damaged, of an unknown kind, or with pickled objects.
    """
    check_ending(path)
    if isinstance(path, Path) and not path.is_file():
        raise FeatureFileError(f"{path} is missing.")
    try:
        if ending(path) == ".npz":
            # Not np.load, which leaves a damaged file open.
            with zipfile.ZipFile(path) as archive:
                yield _Npz(archive)
        else:
            import h5py

            with h5py.File(path, "r") as file:
                yield _H5(path, file)
    except EarsightError:
        raise
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise FeatureFileError(
                f"{path} holds pickled objects. They are never loaded, because loading them runs "
                "code; save plain arrays of numbers or text."
            ) from error
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
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


class _Npz:
    """An npz archive. It is read whole: what does not fit into memory belongs into HDF5."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[name.removesuffix(".npy")] = _text(array)
        # `json.loads` takes the attributes; a bare `format`, as np.savez(format=1) writes, counts.
        self.attributes = json.loads(str(arrays.pop(_ATTRIBUTES, "{}")))
        if not isinstance(self.attributes, dict):
            raise FeatureFileError(f"`{_ATTRIBUTES}` must be a JSON object.")
        for name in ("format", "modalities"):
            if name in arrays:
                self.attributes[name] = arrays.pop(name).tolist()
        self.arrays, self.names = arrays, list(arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.arrays[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.arrays[name].dtype
        return dtype

    def array(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    def rows(self, name: str, scale: Scale | None) -> Rows:
        array = self.arrays[name]
        return ArrayRows(_floats(array.reshape(-1, array.shape[-1]), scale, name, 0))


class _H5:
    """An HDF5 file. What HDF5 can point to, in this file or in others, is refused by name."""

    def __init__(self, path: Source, file: Any) -> None:
        self.path, self.file = path, file
        self.attributes = {name: _json(value) for name, value in file.attrs.items()}
        self.names = []
        for name in file:
            kind = _refused(file, name)
            if kind is not None:
                raise FeatureFileError(
                    f"{path}: `{name}` is {kind}. Only arrays that the file itself holds, outside "
                    "any group, are read; put a copy of the array in its place, or remove it."
                )
            array = file[name]
            if name in ("format", "modalities"):
                self.attributes[name] = _json(array[()])
                continue
            self.names.append(name)
            own = {key: _json(value) for key, value in array.attrs.items()}
            if own:
                self.attributes[name] = own

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.file[name].shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.file[name].dtype
        return dtype

    def array(self, name: str) -> npt.NDArray[Any]:
        return _text(self.file[name][()])

    def rows(self, name: str, scale: Scale | None) -> Rows:
        return _H5Rows(self.path, name, scale)


def _refused(file: Any, name: str) -> str | None:
    """Say what a member of an HDF5 file is, unless it is an array of its own. Follows no link."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return "a link"
    member = file[name]
    if not isinstance(member, h5py.Dataset):
        return "a group" if isinstance(member, h5py.Group) else "a type"
    if member.is_virtual:
        return "a virtual array, made of others"
    return "kept in another file" if member.external else None


@dataclass(frozen=True)
class _H5Rows:
    """Rows of one array in an HDF5 file that is opened for each reading, so none stays open."""

    path: Source
    name: str
    scale: Scale | None

    def __call__(self, start: int, stop: int) -> FloatArray:
        import h5py

        try:
            with h5py.File(self.path, "r") as file:
                array = file[self.name]
                length = 1 if array.ndim == 2 else array.shape[1]
                first = start // length
                block = array[first : -(-stop // length)].reshape(-1, array.shape[-1])
        except (OSError, KeyError) as error:
            raise FeatureFileError(f"{self.path} cannot be read any more: {error}") from error
        skipped = first * length
        values = block[start - skipped : stop - skipped]
        try:
            return _floats(values, self.scale, self.name, start)
        except InputError as error:
            raise FeatureFileError(f"{self.path}: {error}") from error


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


def _floats(values: npt.NDArray[Any], scale: Scale | None, name: str, start: int) -> FloatArray:
    """Return rows from `start` on as finite floats."""
    if values.dtype == np.uint8 and scale is not None:
        return scale.apply(values)
    floats: FloatArray = values
    if values.dtype not in (np.float32, np.float64):
        with np.errstate(over="ignore"):  # what is beyond float64 is found below, as infinity
            floats = values.astype(np.float32 if values.dtype == np.float16 else float)
    bad = np.flatnonzero(bad_rows(floats))
    if len(bad):
        raise InputError(f"`{name}` must be finite; row {start + bad[0]} holds NaN or infinity.")
    return floats


def _text(array: Any) -> npt.NDArray[Any]:
    """Return text as numpy strings, whatever a file keeps it as; numbers as they are."""
    kept: npt.NDArray[Any] = np.asarray(array)
    if kept.dtype.kind == "S":
        return np.asarray(np.char.decode(kept, "utf-8"))
    if kept.dtype.kind == "O":
        plain = [x.decode() if isinstance(x, bytes) else str(x) for x in kept.ravel()]
        return np.asarray(plain, dtype=np.str_).reshape(kept.shape)
    return kept


def _json(value: Any) -> Any:
    """Read an attribute: JSON where it is, else what others' files hold, as plain values."""
    if isinstance(value, np.ndarray | np.generic):
        value = _text(value).tolist()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _write_npz(
    path: Path, members: Members, modalities: list[str], provenance: Mapping[str, Any]
) -> None:
    attributes = {**provenance, "format": FORMAT, "modalities": modalities}
    with zipfile.ZipFile(path, "w") as archive:
        arrays = {**members, _ATTRIBUTES: np.asarray(json.dumps(attributes))}
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

"""Reading HDF5: what a file declares is checked before it is read, each time that it is opened."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import EarsightError, FeatureFileError, InputError
from earsight.features._values import (
    KINDS,
    MOST_MEMBERS,
    Scale,
    as_text,
    attribute,
    bytes_as_column,
    bytes_as_floats,
    floats,
    from_strings,
)
from earsight.features.sequences import Rows
from earsight.untrusted import check_memory, memory_limit

_A_STRING = 160  # bytes of memory that a text of any length takes beside its letters
_DENSEST = 1100  # deflate makes at most 1032 bytes of one
_MAY_BE_UNSTORED = 64 << 20  # bytes that may be declared without being stored
_FEW = 16  # texts of any length that an attribute may hold in a file of any size


class Hdf5:
    """An HDF5 file. What HDF5 can point to, in this file or in others, is refused by name."""

    def __init__(self, path: Path | BinaryIO, file: Any) -> None:
        """Look at all that the file declares.

        Raises:
            InputError: A member that is not an array of the file's own, that declares more than
                the file can hold, or whose filter is not there; attributes that cannot be read.
        """
        self.path, self.file = path, file
        if len(file) > MOST_MEMBERS:
            raise InputError(f"a file may hold {MOST_MEMBERS} arrays; got {len(file)}.")
        self.attributes = _attributes(file, file, "the file")
        self.names: list[str] = []
        for name in file:
            array = member(file, name)
            if name in ("format", "modalities"):
                check_memory(f"`{name}`", self.column_bytes(name))
                self.attributes[name] = attribute(self.array(name), name)
                continue
            self.names.append(name)
            if own := _attributes(file, array, f"`{name}`"):
                self.attributes[name] = own

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.file[name].shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.file[name].dtype
        return dtype

    def column_bytes(self, name: str) -> int:
        array = self.file[name]
        each = _A_STRING if array.dtype.kind == "O" else bytes_as_column(array.dtype)
        return _count(array) * each + _chunk_bytes(array)

    def rows_bytes(self, name: str) -> int:
        array = self.file[name]
        return _count(array) * bytes_as_floats(array.dtype) + _chunk_bytes(array)

    def steps_bytes(self, name: str) -> int:
        """Return what steps take that are not read before they are asked for."""
        return 0

    def array(self, name: str) -> npt.NDArray[Any]:
        import h5py

        array = self.file[name]
        if array.dtype.kind != "O":
            return as_text(np.asarray(array[()]), name)
        if h5py.check_string_dtype(array.dtype) is None:
            raise InputError(f"`{name}` must be numbers or text; got {array.dtype}.")
        return from_strings(self._strings(array, name), tuple(array.shape), name)

    def _strings(self, array: Any, name: str) -> list[Any]:
        """Read texts of any length; where their sum is not told, few at a time.

        A damaged file may say of each that it is the longest text of the file.
        """
        letters = self._letters(array)
        if letters is not None:
            check_memory(f"`{name}`", 3 * letters + _A_STRING * _count(array))
            return list(np.asarray(array[()]).ravel())
        width = max(1, _count(array) // max(1, array.shape[0]))
        together = max(1, memory_limit() // (4 * self.file.id.get_filesize() * width))
        found: list[Any] = []
        letters = 0
        for start in range(0, array.shape[0], together):
            block = array[start : start + together].ravel().tolist()
            letters += sum(map(len, block))
            check_memory(f"`{name}`", 3 * letters + _A_STRING * _count(array))
            found += block
        return found

    def _letters(self, array: Any) -> int | None:
        """Return the length of all texts of an array together, where one look can tell."""
        offset, size = array.id.get_offset(), array.id.get_storage_size()
        if not _count(array) or offset is None:
            return None if array.chunks else 0
        with self.path.open("rb") if isinstance(self.path, Path) else nullcontext(self.path) as raw:
            raw.seek(offset)
            # Each text is told by the bytes of its length (4), its place in the file, its number.
            places = np.frombuffer(raw.read(size), np.uint8).reshape(_count(array), -1)
        lengths = np.ascontiguousarray(places[:, :4]).view("<u4")
        return int(lengths.sum(dtype=np.int64))

    def rows(self, name: str, scale: Scale | None) -> Rows:
        array = self.file[name]
        return Hdf5Rows(self.path, name, scale, tuple(array.shape), array.dtype.str)


def member(file: Any, name: str) -> Any:
    """Return an array of an HDF5 file; no link is followed, and nothing of it is read.

    Raises:
        InputError: It is not an array that the file itself holds, or cannot be read.
    """
    if not _is_text(name):
        raise InputError(f"the name of an array must be text; got {name!a}.")
    kind = _refused(file, name)
    if kind is not None:
        raise InputError(
            f"`{name}` is {kind}. Only arrays that the file itself holds, outside "
            "any group, are read; put a copy of the array in its place, or remove it."
        )
    array = file[name]
    if array.shape is None:
        raise InputError(f"`{name}` is empty: it has no shape. Remove it.")
    declared, stored = _count(array) * array.dtype.itemsize, array.id.get_storage_size()
    if declared > max(_MAY_BE_UNSTORED, _DENSEST * stored):
        raise InputError(
            f"`{name}` declares {declared:,} bytes, shape {array.shape}, and stores {stored:,}: "
            "its numbers are not there. Write it anew."
        )
    return array


def _refused(file: Any, name: str) -> str | None:
    """Say what a member of an HDF5 file is, unless it is an array of its own. Follows no link."""
    import h5py

    if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        return "a link"
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        return "a group" if isinstance(found, h5py.Group) else "a type"
    made = found.id.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL:
        return "a virtual array, made of others"
    if made.get_external_count():
        return "kept in another file"
    for number in range(made.get_nfilters()):
        code, *_, title = made.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            return f"compressed with {title!r}, HDF5's filter {code}, which is not on this machine"
    return None


def _count(array: Any) -> int:
    return math.prod(map(int, array.shape))  # h5py's own product may overflow


def _chunk_bytes(array: Any) -> int:
    """Return what is read of an array at least, however little is asked for."""
    return math.prod(map(int, array.chunks or (0,))) * int(array.dtype.itemsize)


def _attributes(file: Any, owner: Any, where: str) -> dict[str, Any]:
    """Read the attributes of the file or of an array.

    Raises:
        InputError: Too many, or one that is neither numbers nor text, or too large.
    """
    if len(owner.attrs) > MOST_MEMBERS:
        raise InputError(f"{where} may have {MOST_MEMBERS} attributes; got {len(owner.attrs)}.")
    found = {}
    for name in owner.attrs:
        if not _is_text(name):
            raise InputError(f"the name of an attribute must be text; got {name!a}.")
        _check_attribute(owner.attrs.get_id(name), name, where, file.id.get_filesize())
        found[name] = attribute(owner.attrs[name], name)
    return found


def _check_attribute(facts: Any, name: str, where: str, file_bytes: int) -> None:
    import h5py

    is_text = h5py.check_string_dtype(facts.dtype) is not None
    if facts.shape is None or not (is_text or facts.dtype.kind in KINDS):
        raise InputError(
            f"the attribute `{name}` of {where} must be numbers or text; got {facts.dtype}. "
            "Remove it."
        )
    count = math.prod(map(int, facts.shape))
    each = bytes_as_column(facts.dtype)
    if facts.dtype.kind == "O":  # whose lengths cannot be had without reading them
        each = file_bytes if count > _FEW else 0
    check_memory(f"the attribute `{name}` of {where}", count * (each + _A_STRING))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Hdf5Rows:
    """Rows of one array in an HDF5 file that is opened for each reading, so none stays open.

    The leading axes are taken as one.
    """

    path: Path | BinaryIO
    name: str
    scale: Scale | None
    shape: tuple[int, ...]
    dtype: str

    def __call__(self, start: int, stop: int) -> FloatArray:
        """Return the rows from `start` up to `stop`.

        Raises:
            FeatureFileError: The file is another by now, or cannot be read.
        """
        import h5py

        length = math.prod(self.shape[1:-1])
        first = start // length
        try:
            with h5py.File(self.path, "r") as file:
                array = member(file, self.name)
                if (tuple(array.shape), array.dtype.str) != (self.shape, self.dtype):
                    raise InputError(f"`{self.name}` has changed since the file was opened.")
                last = -(-stop // length)
                each = math.prod(self.shape[1:]) * bytes_as_floats(array.dtype)
                asked = (last - first) * each + _chunk_bytes(array)
                check_memory(f"`{self.name}`, rows {first} to {last},", asked)
                block = array[first:last].reshape(-1, self.shape[-1])
            skipped = first * length
            return floats(block[start - skipped : stop - skipped], self.scale, self.name, start)
        except InputError as error:
            raise FeatureFileError(f"{self.path}: {error}") from error
        except EarsightError:
            raise
        except Exception as error:  # no closed list tells what h5py raises
            raise FeatureFileError(f"{self.path} cannot be read any more: {error}") from error

"""Reading npz: each array's header first, which says what memory it takes, then its numbers."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from earsight.errors import FeatureFileError, InputError
from earsight.features._values import (
    KINDS,
    MOST_MEMBERS,
    Scale,
    as_text,
    attribute,
    bytes_as_column,
    bytes_as_floats,
    floats,
    json_or_text,
)
from earsight.features.sequences import ArrayRows, Rows
from earsight.untrusted import check_memory

ATTRIBUTES = "attributes"  # the member that holds what HDF5 keeps in attributes

_HEADER = 10_000  # bytes of a member in which its header must end, as numpy has it
_READ = 1 << 20  # bytes read at a time
_MOST_READ = 4 << 20  # bytes read of an archive at once; its directory is read in one
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may ask for gigabytes by itself


@dataclass(frozen=True)
class _Member:
    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool
    start: int  # of the numbers, in bytes

    @property
    def count(self) -> int:
        count = 1
        for axis in self.shape:
            count *= axis
        return count


class Archive:
    """An npz archive of plain arrays. Its headers are read when it is opened.

    Attributes:
        names: Of its arrays.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Read the headers.

        Raises:
            InputError: A header or a directory entry that lies, an array of objects, a name that
                comes twice, or too many arrays.
        """
        self._archive = archive
        infos = archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise InputError(f"an archive may hold {MOST_MEMBERS} arrays; got {len(infos)}.")
        self._members: dict[str, _Member] = {}
        for info in infos:
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                raise InputError(f"`{name}` comes twice in the archive. Leave one of the two.")
            self._members[name] = _header(archive, info)
        self.names = list(self._members)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._members[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self._members[name].dtype

    def count(self, name: str) -> int:
        return self._members[name].count

    def array(self, name: str) -> npt.NDArray[Any]:
        """Read one array; text comes as numpy strings.

        Raises:
            InputError: More or fewer bytes than its header says, or it is no text.
        """
        member = self._members[name]
        array = np.empty(member.count, member.dtype)
        view = array.view(np.uint8).data
        with self._archive.open(member.info) as file:
            file.read(member.start)
            at = 0
            while at < len(view) and (got := file.read(min(_READ, len(view) - at))):
                view[at : at + len(got)] = got
                at += len(got)
            if at < len(view) or file.read(1):  # which checks the checksum, too
                raise InputError(f"`{name}` must have the {len(view):,} bytes that it declares.")
        shaped = array.reshape(member.shape, order="F" if member.columns_first else "C")
        return as_text(shaped, name)


class Npz:
    """A feature file as npz. It is read whole: what does not fit into memory belongs into HDF5."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.names = [name for name in archive.names if name != ATTRIBUTES]
        self.attributes: dict[str, Any] = {}
        if ATTRIBUTES in archive.names:
            found = self._small(ATTRIBUTES)
            text = str(found) if found.ndim == 0 and found.dtype.kind == "U" else ""
            self.attributes = json_or_text(text, ATTRIBUTES)
            if not isinstance(self.attributes, dict):
                raise InputError(f"`{ATTRIBUTES}` must be a JSON object.")
        # A bare `format`, as np.savez(format=1) writes, counts.
        for name in ("format", "modalities"):
            if name in self.names:
                self.names.remove(name)
                self.attributes[name] = attribute(self._small(name), name)

    def _small(self, name: str) -> npt.NDArray[Any]:
        check_memory(f"`{name}`", self.column_bytes(name))
        return self._archive.array(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._archive.shape(name)

    def dtype(self, name: str) -> np.dtype[Any]:
        return self._archive.dtype(name)

    def column_bytes(self, name: str) -> int:
        return self._archive.count(name) * bytes_as_column(self.dtype(name))

    def rows_bytes(self, name: str) -> int:
        return self._archive.count(name) * bytes_as_floats(self.dtype(name))

    def steps_bytes(self, name: str) -> int:
        return self.rows_bytes(name)

    def array(self, name: str) -> npt.NDArray[Any]:
        return self._archive.array(name)

    def rows(self, name: str, scale: Scale | None) -> Rows:
        array = self._archive.array(name)
        return ArrayRows(floats(array.reshape(-1, array.shape[-1]), scale, name, 0))


@contextmanager
def open_archive(path: Path | BinaryIO) -> Iterator[Archive]:
    """Open an npz archive; a file that is open stays so."""
    # Not np.load, which leaves a damaged file open and reads arrays as large as they say.
    with (
        path.open("rb") if isinstance(path, Path) else nullcontext(path) as file,
        zipfile.ZipFile(cast(IO[bytes], _Careful(file))) as archive,
    ):
        yield Archive(archive)


def read_arrays(
    path: Path, *names: str, file: BinaryIO | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Read arrays of an npz file, whoever wrote it, within the limit on memory.

    Args:
        path: The file.
        names: Of the arrays; none: all.
        file: It, where it is open already; `path` is then what messages call it.

    Raises:
        FeatureFileError: It cannot be read, lacks one of them, has one that lies or is of objects,
            or asks for too much memory.
    """
    try:
        with open_archive(path if file is None else file) as archive:
            names = names or tuple(archive.names)
            kinds = {name: archive.dtype(name) for name in names}
            each = (archive.count(name) * bytes_as_column(kind) for name, kind in kinds.items())
            check_memory("The file", sum(each))
            return {name: archive.array(name) for name in names}
    except InputError as error:
        raise FeatureFileError(f"{path}: {error}") from error
    except Exception as error:  # no closed list tells what damaged files raise
        raise FeatureFileError(f"{path} cannot be read; it may be damaged ({error}).") from error


class _Careful:
    """A file of which little is read at once, whatever it says of its parts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        whole = self._file.read(size if 0 <= size <= _MOST_READ else _MOST_READ + 1)
        if len(whole) > _MOST_READ:
            raise InputError(f"the directory of the archive is larger than {_MOST_READ:,} bytes.")
        return whole


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    """Read what an array says of itself, and check that the archive says the same."""
    name = info.filename.removesuffix(".npy")
    if info.compress_type not in _PLAIN:
        raise InputError(f"`{name}` must be stored or deflated, as numpy does; write it anew.")
    with archive.open(info) as file:
        head = io.BytesIO(file.read(_HEADER))
    try:
        read = _HEADERS[np.lib.format.read_magic(head)]
        shape, columns_first, dtype = read(head)
    except (KeyError, ValueError) as error:
        raise InputError(f"`{name}` is no plain array ({error}); remove it.") from error
    if dtype.hasobject:
        raise InputError(
            f"`{name}` holds pickled objects. They are never loaded, because loading them runs "
            "code; save plain arrays of numbers or text."
        )
    if dtype.kind not in KINDS + "c" or not dtype.itemsize or any(axis < 0 for axis in shape):
        raise InputError(f"`{name}` must be plain numbers or text; got {dtype}, shape {shape}.")
    member = _Member(info, shape, dtype, columns_first, head.tell())
    if info.file_size != member.start + member.count * dtype.itemsize:
        raise InputError(
            f"`{name}` must have the {member.count * dtype.itemsize:,} bytes that its shape "
            f"{shape} takes; the archive says {info.file_size - member.start:,}."
        )
    return member


_HEADERS: dict[Any, Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

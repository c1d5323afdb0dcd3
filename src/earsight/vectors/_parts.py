"""Whether the sizes that a table's files state are those of the file.

LanceDB believes them and asks for so much memory; where that fails, it ends the process.
"""

import os
import struct
from typing import Any

from earsight.vectors._wire import content, fields, numbers

_FOOT = struct.Struct("<QQQIIHH4s")
_PLACE = struct.Struct("<QQ")
_TAIL = 1 << 16  # bytes read at once; the metadata of a large file is longer
_MOST = 256 << 20  # bytes of metadata that are read at all
_COLUMNS = 4096


def check_data(file: int) -> None:
    """Check a data file, open for reading: its foot, and where each column's parts lie.

    Raises:
        ValueError: They lie outside the file.
    """
    size = os.fstat(file).st_size
    if size < _FOOT.size:
        raise ValueError("it is cut off")
    tail = os.pread(file, _TAIL, max(0, size - _TAIL))
    begin, columns, buffers, n_buffers, n_columns, *_, magic = _FOOT.unpack(tail[-_FOOT.size :])
    end = size - _FOOT.size
    if magic != b"LANC":
        raise ValueError("it is none of LanceDB's, or cut off")
    if n_columns > _COLUMNS or n_buffers > _COLUMNS:
        raise ValueError(f"it has {n_columns:,} columns and {n_buffers:,} buffers")
    first = min(begin, columns, buffers)
    if max(columns + _PLACE.size * n_columns, buffers + _PLACE.size * n_buffers, begin) > end:
        raise ValueError("its parts lie behind its end")
    if size - first > _MOST:
        raise ValueError(f"it has {size - first:,} bytes of metadata")
    if size - first > len(tail):
        tail = os.pread(file, size - first, first)
    offset = size - len(tail)
    for at in range(n_buffers):
        place, length = _PLACE.unpack_from(tail, buffers - offset + at * _PLACE.size)
        _within(place, length, end)
    for at in range(n_columns):
        place, length = _PLACE.unpack_from(tail, columns - offset + at * _PLACE.size)
        if place < first:
            raise ValueError("a column's metadata lie among its data")
        _within(place, length, end)
        _check_column(memoryview(tail)[place - offset : place - offset + length], end)


def _check_column(metadata: memoryview, end: int) -> None:
    places: list[int] = []
    sizes: list[int] = []
    for tag, value in fields(metadata):
        if tag == 2:
            _check_page(content(value), end)
        elif tag == 3:
            places += numbers(value)
        elif tag == 4:
            sizes += numbers(value)
    _all_within(places, sizes, end)


def _check_page(page: memoryview, end: int) -> None:
    places: list[int] = []
    sizes: list[int] = []
    for tag, value in fields(page):
        if tag == 1:
            places += numbers(value)
        elif tag == 2:
            sizes += numbers(value)
    _all_within(places, sizes, end)


def _all_within(places: list[int], sizes: list[int], end: int) -> None:
    if len(places) != len(sizes):
        raise ValueError("it names places without sizes")
    for place, size in zip(places, sizes, strict=True):
        _within(place, size, end)


def _within(place: int, size: int, end: int) -> None:
    if place + size > end:
        raise ValueError(f"{size:,} bytes at {place:,} lie behind its end at {end:,}")


def check_deletions(data: bytes) -> None:
    """Check the content of a file with the numbers of rows that were removed.

    Raises:
        ValueError: It is none.
    """
    import pyarrow as pa

    try:
        found: Any = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        found.validate(full=True)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(f"it is no list of rows ({error})") from error
    if found.schema != pa.schema([pa.field("row_id", pa.uint32(), False)]):
        raise ValueError("it is no list of rows")

"""What a manifest of LanceDB may say: columns, files and indexes of its own table, nothing else.

A manifest can name files in any folder or on any server (a "shallow clone" does), and LanceDB reads
them. It also takes each size as it is given, and ends the process where no memory is left. So each
manifest is looked at before LanceDB sees it. Nothing else can name a file: LanceDB makes the names
of its other files itself.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from earsight.vectors._wire import Value, content, fields, fields_from, number, numbers, text

_FOOT = struct.Struct("<QHH4s")
_LENGTH = struct.Struct("<I")
_NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]*")
_KIND = re.compile(r"string|binary|large_binary|int32|int64|double|fixed_size_list:float:(\d{1,7})")
_OF_BASES = 16  # the flag of a manifest that names other places
_FLAGS = 1 | 2 | 4 | 8 | 32  # the others that are known
_INDEXES = ("VectorIndexDetails", "BitmapIndexDetails", "BTreeIndexDetails")
_ROWS = 1 << 32  # LanceDB numbers the rows of a fragment with 32 bits

# Numbers of fields, as in lance's protos/table.proto.
_FIELD, _FRAGMENT, _VERSION, _METADATA, _INDEX_SECTION = 1, 2, 3, 5, 6
_READER, _WRITER, _TRANSACTION, _BASES, _BRANCH, _TRANSACTION_SECTION = 9, 10, 12, 18, 20, 21
_ELSEWHERE = "names files of another folder, as a clone does"


@dataclass
class Checked:
    """What was checked of a table's manifests.

    Attributes:
        parts: Fragments and indexes.
        begin: How a manifest began, as those of one table are much alike.
        ends: Where the columns and fragments at that beginning end.
    """

    parts: set[bytes] = field(default_factory=set)
    begin: bytes = b""
    ends: list[int] = field(default_factory=lambda: [0])


def check_manifest(data: bytes, version: int, known: Checked) -> set[str]:
    """Check the content of a manifest's file; return what it names for the first time.

    Args:
        data: All of it.
        version: What its name says.
        known: What was checked before; what is checked now is added.

    Returns:
        Paths below the table: files, and the folders of indexes with a / at their ends.

    Raises:
        ValueError: What it says that no table of Earsight's says.
    """
    message = bytes(_message(data))
    ends = known.ends[: _known_until(message, known) + 1]
    parts, leads = set(), True
    for tag, value, end in fields_from(message, ends[-1]):
        if tag == _FRAGMENT:
            parts.add(b"f" + content(value))
        elif tag == _FIELD:
            _check_field(value)
        elif tag == _INDEX_SECTION:
            section = _part(data, number(value), len(data) - _FOOT.size)
            parts |= {b"i" + content(v) for t, v in fields(section) if t == 1}
        else:
            _check_more(tag, value, data, version)
        leads = leads and tag in (_FIELD, _FRAGMENT)
        if leads:
            ends.append(end)
    named: set[str] = set()
    for part in parts - known.parts:
        named |= _check_fragment(part[1:]) if part[:1] == b"f" else _check_index(part[1:])
    known.parts |= parts
    if len(ends) > len(known.ends):
        known.ends, known.begin = ends, message[: ends[-1]]
    return named


def _known_until(message: bytes, known: Checked) -> int:
    """Return the number of the last end up to which a manifest begins as one that was checked."""
    low, high = 0, len(known.ends)
    while high - low > 1:
        middle = (low + high) // 2
        end = known.ends[middle]
        low, high = (middle, high) if message.startswith(known.begin[:end]) else (low, middle)
    return low


def _message(data: bytes) -> memoryview:
    """Return the manifest proper: at the place that the end of the file names, to that end."""
    end = len(data) - _FOOT.size
    if end < 0:
        raise ValueError("it is cut off")
    at, _, _, magic = _FOOT.unpack_from(data, end)
    if magic != b"LANC":
        raise ValueError("it is none, or cut off")
    message = _part(data, at, end)
    if at + _LENGTH.size + len(message) != end:
        raise ValueError("its length is another one than it says")
    return message


def _part(data: bytes, at: int, end: int) -> memoryview:
    """Return what lies at a place, after its own length."""
    if at > end - _LENGTH.size:
        raise ValueError(f"a part begins at {at:,}, behind its end at {end:,}")
    begin = at + _LENGTH.size
    (size,) = _LENGTH.unpack_from(data, at)
    if size > end - begin:
        raise ValueError(f"a part of {size:,} bytes where {end - begin:,} are left")
    return memoryview(data)[begin : begin + size]


def _check_more(tag: int, value: Value, data: bytes, version: int) -> None:
    if tag == _VERSION and number(value) != version:
        raise ValueError(f"it is of version {value}, and its name of {version}")
    if tag in (_BASES, _BRANCH) or (tag in (_READER, _WRITER) and number(value) & _OF_BASES):
        raise ValueError(f"it {_ELSEWHERE}")
    if tag in (_READER, _WRITER) and number(value) & ~_FLAGS:
        raise ValueError(f"it needs features that Earsight does not use ({value:#x})")
    if tag == _METADATA:
        _check_metadata(value)
    elif tag == _TRANSACTION_SECTION:
        _part(data, number(value), len(data) - _FOOT.size)
    elif tag == _TRANSACTION:
        _check_name(text(value), empty=True)


def _check_field(value: Value) -> None:
    kinds = [text(v) for tag, v in fields(content(value)) if tag == 5]
    for kind in kinds:
        found = _KIND.fullmatch(kind)
        if found is None or found[1] == "0":
            raise ValueError(f"it has a column of the kind {kind[:80]!r}")


def _check_metadata(value: Value) -> None:
    for tag, key in fields(content(value)):
        if tag == 1 and text(key) == "embedding_functions":
            raise ValueError("it names code that is to make vectors")


def _check_index(index: bytes) -> set[str]:
    """Check an index; return its folder."""
    folder = ""
    for tag, value in fields(index):
        if tag == 9:
            raise ValueError(f"it {_ELSEWHERE}")
        if tag == 1:
            (named,) = [bytes(content(v)) for t, v in fields(content(value)) if t == 1]
            folder = f"_indices/{UUID(bytes=named)}/"
        elif tag == 6:
            _check_details(value)
        elif tag == 10:
            for name in (text(v) for t, v in fields(content(value)) if t == 1):
                _check_name(name)
    return {folder} if folder else set()


def _check_details(value: Value) -> None:
    for tag, kind in fields(content(value)):
        if tag == 1 and text(kind).rpartition(".")[2] not in _INDEXES:
            raise ValueError(f"it has an index of the kind {text(kind)[:80]!r}")


def _check_fragment(fragment: bytes) -> set[str]:
    """Check a fragment; return its files."""
    own, deletions, named = 0, None, set()
    for tag, value in fields(fragment):
        if tag == 1:
            own = number(value)
        elif tag == 2:
            named |= _check_data(fields(content(value)))
        elif tag == 3:
            deletions = dict(fields(content(value)))
        elif tag == 4 and number(value) > _ROWS:
            raise ValueError(f"a fragment has {value:,} rows")
        elif tag in (6, 8, 10, 11):
            raise ValueError("a fragment has parts that Earsight does not use")
    if deletions is not None:
        if 7 in deletions:
            raise ValueError(f"it {_ELSEWHERE}")
        kind, version, one, _ = (number(deletions.get(tag, 0)) for tag in range(1, 5))
        named.add(f"_deletions/{own}-{version}-{one}.{'bin' if kind else 'arrow'}")
    return named


def _check_data(file: Iterable[tuple[int, Value]]) -> set[str]:
    """Check what is said of a data file; return it."""
    named = set()
    for tag, value in file:
        if tag == 1:
            _check_name(text(value))
            named.add(f"data/{text(value)}")
        elif tag == 7:
            raise ValueError(f"it {_ELSEWHERE}")
        elif tag in (2, 3):
            for _ in numbers(value):
                pass
    return named


def _check_name(name: str, *, empty: bool = False) -> None:
    if not _NAME.fullmatch(name) and not (empty and not name):
        raise ValueError(f"it names a file {name[:80]!r}")

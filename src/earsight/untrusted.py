"""What every reader of files from elsewhere needs: strict JSON, whole files, a limit on memory.

A library, a model or a feature file may be a received one. What reads one says so by using this.
"""

import errno
import hashlib
import json
import math
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from earsight.errors import InputError

DEEPEST = 64
"""Lists and objects inside each other that JSON may have."""

LIMIT = "EARSIGHT_MAX_BYTES"
_LIMIT_BYTES = 4 << 30
_JSON_BYTES = 64 << 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def parse_json(
    data: bytes | str,
    *,
    most: int = _JSON_BYTES,
    file_names: bool = False,
    finite: bool = True,
) -> Any:
    """Return what a JSON text says.

    Args:
        data: The text.
        most: Its length at most.
        file_names: Whether text may hold bytes of file names that are not UTF-8, as `os.fsdecode`
            keeps them.
        finite: Whether numbers must be.

    Raises:
        ValueError: It is no JSON, holds a number that is not finite or text that is not Unicode,
            is nested more than `DEEPEST` times, or is longer than `most`.

    >>> parse_json('{"weight": 0.5}')
    {'weight': 0.5}
    >>> parse_json("NaN")
    Traceback (most recent call last):
    ValueError: JSON has no NaN
    """
    if len(data) > most:
        raise ValueError(f"JSON of {len(data):,} bytes; at most {most:,} are read")
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
        value = (_FINITE if finite else _ANY).decode(text)
        if "\\u" in text or not text.isascii():
            errors = "surrogateescape" if file_names else "strict"
            json.dumps(value, ensure_ascii=False).encode(errors=errors)  # half a pair is no text
    except RecursionError:
        raise _too_deep() from None
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        raise _too_deep()
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_ANY = json.JSONDecoder()
_FINITE = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def _too_deep() -> ValueError:
    return ValueError(f"JSON may be nested {DEEPEST} times")


def _depth(value: Any) -> int:
    """Return how many lists and objects lie inside each other, without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, list | dict)]:
        depth += 1
        level = [x for one in level for x in (one.values() if isinstance(one, dict) else one)]
    return depth


def read_whole(path: Path, most: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: It cannot be read, or is not a regular file.
        ValueError: It has more than `most` bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes; {LIMIT} raises the limit")
    return data


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; a pipe or a device, which may have no end, is not waited for.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
    return file


def reason_of(error: Exception) -> str:
    """Return why a file could not be read: no number or path of an `OSError`, no full stop.

    >>> reason_of(OSError(errno.EINVAL, "it is not a regular file", "model.json"))
    'it is not a regular file'
    """
    why = error.strerror if isinstance(error, OSError) else None
    return why or str(error).rstrip(".")


def memory_limit() -> int:
    """Return how many bytes the arrays of one file may take: $EARSIGHT_MAX_BYTES, else 4 GiB.

    Raises:
        InputError: The variable holds something else than a size.

    >>> memory_limit() == 4 << 30 or LIMIT in os.environ
    True
    """
    given = os.environ.get(LIMIT)
    if not given:
        return _LIMIT_BYTES
    match = re.fullmatch(r"(\d{1,15})\s*([kmgt]?i?)b?", given.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise InputError(f"{LIMIT} must be a size such as 16GiB or 500000000; got {given!r}.")
    return int(match[1]) * _UNITS[match[2]]


def check_memory(what: str, asked: int) -> None:
    """Check that what a file asks for stays below `memory_limit`, before anything is read.

    Args:
        what: What asks, for the message.
        asked: Bytes.

    Raises:
        InputError: It is more; the message says how to raise the limit.
    """
    limit = memory_limit()
    if asked > limit:
        raise InputError(
            f"{what} asks for {asked:,} bytes of memory, more than the limit of {limit:,}. If it "
            f"is meant to be so large, raise the limit: {LIMIT}={_next_size(asked)}"
        )


def _next_size(asked: int) -> str:
    return f"{-(-asked // (1 << 30))}GiB"


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, as hex.

    Raises:
        OSError: It cannot be read, or is a pipe or a device, which might have no end.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Manifests of LanceDB's tables, taken apart and put together by hand, as a stranger would."""

import struct
from collections.abc import Callable
from pathlib import Path

Fields = list[tuple[int, int | bytes]]


def taken_apart(data: bytes) -> Fields:
    """Return the fields of a message, (number, value), values of fixed width left out."""
    fields: Fields = []
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        value, at = _number(data, at)
        if tag & 7 == 2:
            fields.append((tag >> 3, data[at : at + value]))
            at += value
        else:
            assert tag & 7 == 0
            fields.append((tag >> 3, value))
    return fields


def put_together(fields: Fields) -> bytes:
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(_bytes(number << 3) + _bytes(value))
        else:
            parts.append(_bytes(number << 3 | 2) + _bytes(len(value)) + value)
    return b"".join(parts)


def edited(number: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return what changes every field of that number within a message."""

    def edit(data: bytes) -> bytes:
        fields = taken_apart(data)
        return put_together([(n, change(v) if n == number else v) for n, v in fields])  # type: ignore[arg-type]

    return edit


def added(number: int, value: int | bytes) -> Callable[[bytes], bytes]:
    """Return what adds a field to a message."""
    return lambda data: data + put_together([(number, value)])


def latest(table: Path) -> Path:
    return min((table / "_versions").glob("*.manifest"))  # they count down


def edit_manifest(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the manifest in a file, and leave its other parts as they are."""
    data = file.read_bytes()
    (position,) = struct.unpack("<Q", data[-16:-8])
    message = change(data[position + 4 : -16])
    file.write_bytes(data[:position] + struct.pack("<I", len(message)) + message + data[-16:])


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at


def _bytes(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])

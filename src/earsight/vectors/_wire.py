"""Messages as Protocol Buffers lay them down, taken apart without believing them."""

from collections.abc import Iterator

Value = int | memoryview


def fields(data: bytes | memoryview) -> Iterator[tuple[int, Value]]:
    r"""Yield the number and the value of each field: a number, or the bytes of what has a length.

    Raises:
        ValueError: It is no message.

    >>> [(n, v if isinstance(v, int) else bytes(v)) for n, v in fields(b"\x08\x07\x12\x02ab")]
    [(1, 7), (2, b'ab')]
    """
    return ((number, value) for number, value, _ in fields_from(data, 0))


def fields_from(data: bytes | memoryview, at: int) -> Iterator[tuple[int, Value, int]]:
    """Yield the fields from a place on, each with the place where it ends.

    Raises:
        ValueError: It is no message from there on.
    """
    view = memoryview(data)
    try:
        while at < len(view):
            tag, at = _number(view, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = _number(view, at)
                yield number, value, at
                continue
            if kind == 2:
                size, at = _number(view, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"a field of the kind {kind}")
            if size > len(view) - at:
                raise ValueError(f"a field of {size:,} bytes where {len(view) - at:,} are left")
            at += size
            yield number, view[at - size : at], at
    except IndexError:
        raise ValueError("a number without an end") from None


def _number(view: memoryview, at: int) -> tuple[int, int]:
    byte = view[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while True:
        at += 1
        byte = view[at]
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
    return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1


def number(value: Value) -> int:
    """Return the value of a field that must hold a number.

    Raises:
        ValueError: It holds bytes.
    """
    if not isinstance(value, int):
        raise ValueError("bytes in the place of a number")
    return value


def content(value: Value) -> memoryview:
    """Return the value of a field that must hold bytes.

    Raises:
        ValueError: It holds a number.
    """
    if isinstance(value, int):
        raise ValueError("a number in the place of bytes")
    return value


def text(value: Value) -> str:
    """Return the value of a field that must hold text.

    Raises:
        ValueError: It holds none.
    """
    return bytes(content(value)).decode()


def numbers(value: Value) -> Iterator[int]:
    """Yield the numbers of a field that may hold several, packed.

    Raises:
        ValueError: It holds something else.
    """
    if isinstance(value, int):
        yield value
        return
    at = 0
    try:
        while at < len(value):
            one, at = _number(value, at)
            yield one
    except IndexError:
        raise ValueError("a number without an end") from None

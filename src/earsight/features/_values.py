"""Numbers and text of feature files, whoever wrote them: what is read, and what it takes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, bad_rows
from earsight.errors import InputError
from earsight.untrusted import check_memory, memory_limit, parse_json

MOST_MEMBERS = 1000
"""Arrays that one file may hold, and attributes of one array."""

KINDS = "fiubSU"  # of columns: numbers, truth values and text
_JSON_SHARE = 32  # Python objects take up to as many times the bytes of their JSON
_RECORDS = "clips"  # where `extract` keeps names of files as the system has them
_SHOWN = 100
_BLOCK = 1 << 20  # code points looked at at a time


@dataclass(frozen=True)
class Scale:
    """How 8-bit numbers become features: x·factor + shift."""

    factor: float
    shift: float

    def apply(self, x: npt.NDArray[Any]) -> FloatArray:
        """Return the features as float32."""
        return np.asarray(x * self.factor + self.shift, dtype=np.float32)


def floats(values: npt.NDArray[Any], scale: Scale | None, name: str, start: int) -> FloatArray:
    """Return rows from `start` on as finite floats.

    Raises:
        InputError: A row holds NaN or infinity.
    """
    if values.dtype == np.uint8 and scale is not None:
        return scale.apply(values)
    found: FloatArray = values
    if values.dtype not in (np.float32, np.float64):
        with np.errstate(over="ignore"):  # what is beyond float64 is found below, as infinity
            found = values.astype(np.float32 if values.dtype == np.float16 else float)
    bad = np.flatnonzero(bad_rows(found))
    if len(bad):
        raise InputError(f"`{name}` must be finite; row {start + bad[0]} holds NaN or infinity.")
    return found


def bytes_as_floats(dtype: np.dtype[Any]) -> int:
    """Return how many bytes of memory one number takes until it is a feature."""
    if dtype in (np.float32, np.float64):
        return dtype.itemsize
    return dtype.itemsize + (20 if dtype == np.uint8 else 8)


def bytes_as_column(dtype: np.dtype[Any]) -> int:
    """Return how many bytes of memory one value of a column takes until it is read."""
    return {"S": 6, "U": 2}.get(dtype.kind, 1) * dtype.itemsize + 8


def as_text(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return bytes as numpy strings, and numbers as they are.

    Raises:
        InputError: Text that is not Unicode, or with a NUL inside.
    """
    if values.dtype.kind == "S":
        try:
            values = np.asarray(np.char.decode(values, "utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(f"`{name}` holds text that is not UTF-8. Write it as such.") from error
    if values.dtype.kind == "U":
        _check_code_points(values, name)
    return values


def from_strings(
    strings: Iterable[bytes | str], shape: tuple[int, ...], name: str
) -> npt.NDArray[Any]:
    """Return strings of any lengths as numpy strings, which take the longest one's room each.

    Raises:
        InputError: They take too much, or are no text.
    """
    listed = [
        text if isinstance(text, bytes) else text.encode(errors="surrogatepass") for text in strings
    ]
    try:
        texts = [text.decode() for text in listed]
    except UnicodeDecodeError as error:
        raise InputError(f"`{name}` holds text that is not UTF-8. Write it as such.") from error
    longest = max(map(len, texts), default=0)
    check_memory(
        f"`{name}`, {len(texts)} texts of up to {longest} letters,", 8 * longest * len(texts)
    )
    return as_text(np.asarray(texts, dtype=np.str_).reshape(shape), name)


def _check_code_points(values: npt.NDArray[Any], name: str) -> None:
    width = values.dtype.itemsize // 4
    kind = np.dtype(np.uint32).newbyteorder(values.dtype.byteorder)
    codes = np.ascontiguousarray(values).reshape(-1).view(kind).reshape(-1, max(width, 1))
    step = max(1, _BLOCK // max(width, 1))
    for start in range(0, len(codes), step):
        block = codes[start : start + step]
        if (block > 0x10FFFF).any() or ((block >= 0xD800) & (block <= 0xDFFF)).any():
            raise InputError(f"`{name}` holds what is no Unicode text. Write it anew.")
        if ((block[:, :-1] == 0) & (block[:, 1:] != 0)).any():
            raise InputError(f"`{name}` holds text with a NUL in it. Remove it.")


def attribute(value: Any, name: str) -> Any:
    """Read an attribute: JSON where it is, else what others' files hold, as plain values.

    Raises:
        InputError: It is neither numbers nor text, not finite, or JSON that `parse_json` refuses.
    """
    if isinstance(value, np.ndarray | np.generic):
        plain = np.asarray(value)
        if plain.dtype.kind == "O":
            plain = from_strings(plain.ravel().tolist(), plain.shape, name)
        if plain.dtype.kind not in KINDS:
            raise InputError(f"the attribute `{name}` must be numbers or text; got {plain.dtype}.")
        if plain.dtype.kind == "f" and not np.isfinite(plain).all():
            raise InputError(f"the attribute `{name}` must be finite; it holds NaN or infinity.")
        value = as_text(plain, name).tolist()
        if plain.dtype.kind == "f" and plain.dtype.itemsize > 8:
            value = plain.astype(float).tolist()
    return json_or_text(value, name) if isinstance(value, str) else value


def json_or_text(text: str, name: str) -> Any:
    """Return what a JSON text says, or a text that is no JSON as it is.

    Raises:
        InputError: JSON that `parse_json` refuses, or what is no text.
    """
    try:
        return parse_json(text, most=memory_limit() // _JSON_SHARE, file_names=True)
    except json.JSONDecodeError:
        return str(from_strings([text], (), name))
    except ValueError as error:
        raise InputError(f"the attribute `{name}` is not read: {error}.") from error


def check_texts(provenance: Mapping[str, Any]) -> None:
    """Check that attributes are text that can be written and shown, but for the names of files.

    Raises:
        InputError: They are not.
    """
    for name, value in provenance.items():
        if name == _RECORDS:
            continue
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the attribute `{name}` holds what is no Unicode text.") from error


def shown(value: Any) -> str:
    """Return a value for an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

"""Read arrays out of pickles without running what else a pickle can say."""

import io
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from earsight.errors import WeightsError

_KIND = re.compile(r"[biufc]\d{1,2}|[SVU]\d{1,6}|O\d?")  # dtypes of single values


class _Dtype:
    """Stands in for numpy's dtype, whose own unpickling trusts every number that it is given."""

    def __init__(self, kind: object, *_: object) -> None:
        name = kind.decode("ascii") if isinstance(kind, bytes) else kind
        if not isinstance(name, str) or not _KIND.fullmatch(name):
            raise ValueError(f"an array has the dtype {kind!r}")
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise ValueError(f"an array has a dtype of the form {state!r}")
        self.order = order

    def made(self) -> np.dtype[Any]:
        return np.dtype("O") if self.name[0] == "O" else np.dtype(self.order + self.name)


class _Array:
    """Stands in for an array until all is read; its numbers are then looked at as bytes."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def made(self) -> npt.NDArray[Any]:
        _, shape, dtype, is_fortran, content = self.state
        order: Literal["C", "F"] = "F" if is_fortran else "C"
        if dtype.name[0] != "O":
            return _numbers(content, dtype, shape, order)
        flat = np.empty(len(content), dtype=object)
        flat[:] = [_plain(one) for one in content]
        return flat.reshape(shape)  # objects are listed row by row, whatever the order


class _Buffer(_Array):
    """The form of protocol 5."""

    def __init__(self, content: Any, dtype: _Dtype, shape: Any, order: Literal["C", "F"]) -> None:
        self.state = (1, shape, dtype, order == "F", content)


def _numbers(content: Any, dtype: _Dtype, shape: Any, order: Literal["C", "F"]) -> npt.NDArray[Any]:
    """Return an array of its own over bytes, which must be as many as its shape says."""
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise ValueError(f"an array's numbers are in a {type(content).__name__}")
    return np.frombuffer(bytes(content), dtype.made()).reshape(shape, order=order).copy(order="K")


def _plain(read: Any) -> Any:
    """Return containers with arrays in the place of those that stood in for them."""
    match read:
        case _Array():
            return read.made()
        case dict():
            return type(read)((_plain(key), _plain(value)) for key, value in read.items())
        case list() | tuple():
            return type(read)(map(_plain, read))
        case _:
            return read


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, by which Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise WeightsError(f"The pickle asks for the codec {encoding!r}; only latin1 is allowed.")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stand in for `bytes`, by which Python 3 writes b"" in protocol 2."""
    return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # an argument that says nothing new
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise WeightsError(
                f"The pickle asks for {module}.{name}; only numpy arrays in lists, tuples and "
                "dicts are allowed, and nothing of it was run."
            ) from None


def unpickle_arrays(path: Path) -> Any:
    """Read a pickle, or a pickled .npy file, that holds nothing but numpy arrays and containers.

    Strings of Python 2 are read as latin1. A .npy file that holds one pickled object gives that
    object.

    Raises:
        WeightsError: The pickle names anything other than numpy's own array parts, or is damaged.
    """
    try:
        with path.open("rb") as file:
            if file.peek(6).startswith(np.lib.format.MAGIC_PREFIX):
                return _read_npy(file)
            return _load(file)
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError,
        AttributeError, RecursionError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        raise WeightsError(f"{path} is not a readable pickle: {error}.") from error


def _load(file: io.BufferedReader) -> Any:
    return _plain(_ArraysOnly(file, encoding="latin1").load())


def _read_npy(file: io.BufferedReader) -> Any:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0
    shape, _, dtype = (header if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    found = _load(file)
    return found.item() if shape == () and isinstance(found, np.ndarray) else found

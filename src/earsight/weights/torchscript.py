"""Read the tensors out of a TorchScript archive. The program in it is never compiled or run."""

import io
import math
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import WeightsError

Array = npt.NDArray[Any]

_STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


def read_torchscript(path: Path) -> dict[str, Array]:
    """Return every tensor of a TorchScript archive by its dotted name, as in a state dict.

    The archive is a zip: `data.pkl` says which module holds which tensor, `data/0`, `data/1` …
    are their bytes, and `code/` is the program. `torch.jit.load` would compile the program; here
    it is not even opened. The pickle may name nothing but the archive's own classes, which become
    plain holders of attributes, and torch's rebuilding of a tensor, which is ours.

    Raises:
        WeightsError: It is no such archive, is damaged, or asks for anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (index,) = (
                n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")
            )
            folder = index.removesuffix("data.pkl")
            if f"{folder}byteorder" in archive.namelist():
                order = archive.read(f"{folder}byteorder")
                if order != b"little":
                    raise WeightsError(
                        f"{path} is stored in {order!r} byte order; only little is read."
                    )
            root = _ModuleReader(archive, folder).load()
            return dict(_tensors(root, ""))
    except (
        zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, OSError, EOFError, KeyError,
        ValueError, TypeError, IndexError, AttributeError, RuntimeError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        raise WeightsError(f"{path} is not a readable TorchScript archive: {error}.") from error


class _Module:
    """Stands in for each class of the archive: what it holds is all that is of interest."""

    attributes: Mapping[str, Any] = {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.attributes = state


class _ModuleReader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            return _Module
        match module, name:
            case "torch._utils", "_rebuild_tensor_v2":
                return _tensor
            case "torch.jit._pickle", "build_intlist":
                return list
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch", kind if kind in _STORAGES:
                return kind
        raise WeightsError(
            f"The archive asks for {module}.{name}; only modules that hold tensors are allowed, "
            "and nothing of it was run."
        )

    def persistent_load(self, pid: Any) -> Array:
        """Return one storage: ("storage", type, record, device, number of elements)."""
        _, kind, record, _, n = pid
        content = self._archive.read(f"{self._folder}data/{int(record)}")
        stored: Array = np.frombuffer(content, _STORAGES[kind])
        if len(stored) != n:
            raise ValueError(f"its record {record} holds {len(stored)} numbers instead of {n}")
        return stored


def _tensor(storage: Array, offset: int, shape: Any, strides: Any, *_: Any) -> Array:
    """Return a tensor as a view of its storage; strides that leave gaps are none of a weight's."""
    expected = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    if any(n > 1 and s != e for n, s, e in zip(shape, strides, expected, strict=True)):
        raise ValueError(f"a tensor of shape {shape} has strides {strides}")
    if offset < 0 or min(shape, default=0) < 0:
        raise ValueError(f"a tensor of shape {shape} begins at {offset}")
    return storage[offset : offset + math.prod(shape)].reshape(shape)


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Array]]:
    for name, value in module.attributes.items():
        if isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
        elif isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value

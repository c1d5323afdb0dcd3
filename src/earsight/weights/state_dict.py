"""Read the tensors of a state dict that torch wrote, in its new or its old form, without torch.

New (torch 1.6 and later): a zip of one pickle and one file for each storage. Old: pickles one after
another (a magic number, a version, the system, the state dict, the keys of the storages), then the
storages. The pickles may name storages, torch's rebuilding of a tensor and OrderedDict alone.
"""

import io
import math
import pickle
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from earsight.errors import WeightsError

Array = npt.NDArray[Any]

_OLD_MAGIC, _OLD_VERSION = 0x1950A86A20F9469CFC6C, 1001
_STORAGES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_state_dict(path: Path) -> dict[str, Array]:
    """Read a torch file that holds nothing but tensors under their names.

    Raises:
        WeightsError: It holds anything else, such as code, of which nothing was run; or is damaged.
    """
    try:
        with path.open("rb") as file:
            tensors, storages = _read_zip(file) if zipfile.is_zipfile(file) else _read_old(file)
        return {name: tensor.made(storages) for name, tensor in tensors.items()}
    except (
        zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, OSError, EOFError, LookupError,
        ValueError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        raise WeightsError(
            f"{path} is not a readable state dict of tensors alone, and nothing of it was run: "
            f"{error or type(error).__name__}."
        ) from error


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    n: int


@dataclass(frozen=True)
class _Tensor:
    """Stands in for a tensor until its storage is read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def made(self, storages: dict[str, Array]) -> Array:
        """Return an array of its own; all of it lies in the storage, or it is refused."""
        stored, n = storages[self.storage.key], math.prod(self.shape)
        reach = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0:
            raise ValueError(f"a tensor has the shape {self.shape} and strides {self.strides}")
        if n > len(stored) or (n and self.offset + reach >= len(stored)):
            raise ValueError(f"a tensor of shape {self.shape} lies beyond its storage")
        strides = [stride * stored.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(stored[self.offset :], self.shape, strides)
        return np.array(view, order="C")


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "torch._utils", "_rebuild_tensor_v2":
                return lambda storage, offset, shape, strides, *_: _Tensor(
                    storage, offset, shape, strides
                )
            case "torch._utils", "_rebuild_parameter":
                return lambda tensor, *_: tensor
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch", kind if kind in _STORAGES:
                return kind
        raise ValueError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return one storage: ("storage", type, key, device, number of elements, …)."""
        _, kind, key, _, n, *_ = pid
        return _Storage(str(key), _STORAGES[kind], n)


def _tensors(pickled: BinaryIO) -> dict[str, _Tensor]:
    state = _TensorsOnly(pickled).load()
    if not isinstance(state, dict):
        raise ValueError("it must hold tensors under their names")
    for name, tensor in dict.items(state):
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"what it holds as {name!r} is no tensor")
    return dict(dict.items(state))


def _read_zip(file: BinaryIO) -> tuple[dict[str, _Tensor], dict[str, Array]]:
    with zipfile.ZipFile(file) as archive:
        (index,) = (n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl"))
        folder = index.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its numbers are not in little-endian order")
        tensors = _tensors(io.BytesIO(archive.read(index)))
        wanted = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        return tensors, {
            key: _numbers(archive.read(f"{folder}data/{int(key)}"), storage)
            for key, storage in wanted.items()
        }


def _read_old(file: BinaryIO) -> tuple[dict[str, _Tensor], dict[str, Array]]:
    file.seek(0)
    magic, version, system = (_TensorsOnly(file).load() for _ in range(3))
    if (magic, version) != (_OLD_MAGIC, _OLD_VERSION) or not system["little_endian"]:
        raise ValueError("it does not begin as torch's files do")
    tensors = _tensors(file)
    wanted = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages = {}
    for key in map(str, _TensorsOnly(file).load()):
        n = int.from_bytes(file.read(8), "little", signed=True)
        storage = wanted[key]
        if n != storage.n or n < 0:
            raise ValueError(f"its storage {key} has {n} numbers instead of {storage.n}")
        storages[key] = _numbers(file.read(n * storage.dtype.itemsize), storage)
    return tensors, storages


def _numbers(content: bytes, storage: _Storage) -> Array:
    numbers: Array = np.frombuffer(content, storage.dtype)
    if len(numbers) != storage.n:
        raise ValueError(
            f"its storage {storage.key} holds {len(numbers)} numbers instead of {storage.n}"
        )
    return numbers

"""Reading arrays out of pickles and state dicts without running what else a pickle can say."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from earsight.errors import WeightsError

# numpy's own functions that a pickled array names, old style and protocol 5.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
_FROM_BUFFER: Any = np.empty(1).__reduce_ex__(5)[0]


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, by which Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise WeightsError(f"The pickle asks for the codec {encoding!r}; only latin1 is allowed.")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
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
            return _ArraysOnly(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError) as error:
        raise WeightsError(f"{path} is not a readable pickle: {error}.") from error


def read_state_dict(path: Path) -> dict[str, Any]:
    """Read a torch file that holds nothing but tensors under their names.

    Raises:
        WeightsError: It holds anything else, such as code, of which nothing was run; or is damaged.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's and pickle's share no narrower base
        raise WeightsError(
            f"{path} is not a readable state dict of tensors alone, and nothing of it was run: "
            f"{str(error).partition('. ')[0] or type(error).__name__}."
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise WeightsError(f"{path} is no state dict: it must hold tensors under their names.")
    return state


def _read_npy(file: io.BufferedReader) -> Any:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0
    shape, _, dtype = (header if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    found = _ArraysOnly(file, encoding="latin1").load()
    return found.item() if shape == () and isinstance(found, np.ndarray) else found

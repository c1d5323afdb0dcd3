"""A saved model: a folder with `model.json` and one safetensors file, and no code.

`model.json` names the method, its hyper-parameters, what was learned, and the tensors' file with
its SHA-256. That file carries part of the hash in its name and is written first; then `model.json`
takes its place by renaming. A reader sees the old model or the new one, whole.
"""

import hashlib
import json
import os
import re
import reprlib
import tempfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earsight import discovery
from earsight.errors import InputError, LibraryError, ModelFileError
from earsight.features import StepTable
from earsight.untrusted import check_memory, memory_limit, parse_json, read_whole, reason_of

if TYPE_CHECKING:
    from earsight.methods._base import JointEmbedding

KIND, VERSION = "earsight-model", 1
MODEL_FILE = "model.json"
TENSORS_FILE = re.compile(r"tensors-[0-9a-f]{12}\.safetensors")
_LARGEST = 16 << 20  # bytes of JSON in a model or its tensors; as objects they take 30 times that
_LONGEST = 300  # characters of an error's text that are repeated
Tensors = dict[str, npt.NDArray[Any]]
Read = Callable[[str], bytes]


def save_model(model: "JointEmbedding", folder: str | PathLike[str]) -> None:
    """Write a fitted model; one that was in `folder` before is replaced in one step.

    Raises:
        ModelFileError: `folder` is a file or holds something else than a model.
        InputError: The model's class is not one that `load_model` would find again.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    files = model_files(model)
    if folder.exists() and not folder.is_dir():
        raise ModelFileError(f"{folder} must be a folder; it is a file. Choose another name.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MODEL_FILE).exists():
        raise ModelFileError(f"{folder} holds something that is not a model. Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_file(folder / name, data)
    for old in folder.iterdir():
        if TENSORS_FILE.fullmatch(old.name) and old.name not in files:
            old.unlink()


def model_files(model: "JointEmbedding") -> dict[str, bytes]:
    """Return name → content of the files of a fitted model, in the order of their writing.

    Raises:
        InputError: The model's class is not one that `load_model` would find again.
    """
    from safetensors.numpy import save

    if discovery.load("methods", model.name) is not type(model):
        raise InputError(
            f"Only a method that Earsight discovers can be saved; {type(model).__name__} is not "
            f"the class of {model.name!r}. Register it as an entry point of 'earsight.methods'."
        )
    tensors: Tensors = {}
    hyperparameters = _encode(model.saved_params(), "hyperparameters", tensors)
    learned = _encode(model.learned(), "learned", tensors)
    data = save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    tensors_name = f"tensors-{digest[:12]}.safetensors"
    header = {
        "kind": KIND,
        "version": VERSION,
        "method": model.name,
        "hyperparameters": hyperparameters,
        "learned": learned,
        "tensors": tensors_name,
        "sha256": digest,
    }
    return {tensors_name: data, MODEL_FILE: json.dumps(header, indent=1, allow_nan=False).encode()}


def load_model(folder: str | PathLike[str]) -> "JointEmbedding":
    """Read a model that `save` wrote. Nothing in the files is executed.

    Returns:
        The fitted model, of the class that the name in the file stands for on this machine.

    Raises:
        ModelFileError: Not a model, damaged, written by a newer Earsight, or of a method that is
            not installed here.
    """
    folder = Path(folder)
    return read_model(lambda name: read_whole(folder / name, memory_limit()), str(folder))


def read_model(read: Read, where: str) -> "JointEmbedding":
    """Make a model of its files, which may be received ones: all that is wrong is told alike.

    Args:
        read: Returns what the file of a name holds, `MODEL_FILE` or one like `TENSORS_FILE`; a
            LookupError or FileNotFoundError says that there is none.
        where: What messages call the folder.

    Raises:
        ModelFileError: As for `load_model`.
    """
    header = _read_header(read, where)
    method = header["method"]
    if method not in (known := discovery.names("methods")):
        raise ModelFileError(
            f"{where} is a model of the method {reprlib.repr(method)}, which is not installed "
            f"here. Known: {', '.join(known)}."
        )
    tensors = _read_tensors(read, header, where)
    try:
        kind: type[JointEmbedding] = discovery.load("methods", method)
        chosen = _decode(header["hyperparameters"], tensors)
        chosen = {name: value for name, value in chosen.items() if name not in kind.not_saved}
        model: JointEmbedding = discovery.make("methods", method, chosen)
        model.restore(_decode(header["learned"], tensors))
        _try(model)
    except LibraryError:  # the library that it is of may not have what it names
        raise
    except Exception as error:  # no list of what strange numbers may lead to would be whole
        raise _damaged(
            where, f"its {MODEL_FILE} does not fit {method} ({_brief(error)})"
        ) from error
    return model


def _try(model: "JointEmbedding") -> None:
    """Map one row of zeros of each modality: what cannot be computed is told on loading."""
    for modality, width in model.dims_.items():
        row = StepTable.joined(np.zeros((1, width), np.float32), [0, 1], [0.0])
        model.transform(modality, row)


def _read(read: Read, name: str, where: str) -> bytes | None:
    """Return what a file holds; None where there is none."""
    try:
        return read(name)
    except (FileNotFoundError, NotADirectoryError, LookupError):
        return None
    except (OSError, ValueError) as error:  # a name that is none, or more than memory
        raise ModelFileError(
            f"{name} of the model in {where} cannot be read: {reason_of(error)}."
        ) from error


def _read_header(read: Read, where: str) -> dict[str, Any]:
    data = _read(read, MODEL_FILE, where)
    if data is None:
        raise ModelFileError(f"{where} is not a saved model: it has no {MODEL_FILE}.")
    try:
        _check_size(len(data))
        header = parse_json(data)
    except ValueError as error:
        raise _damaged(where, f"{MODEL_FILE} is not JSON ({_brief(error)})") from error
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise ModelFileError(f"{where} is not a saved model: {MODEL_FILE} is something else's.")
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ModelFileError(
            f"{where} was written by a newer Earsight (model format {reprlib.repr(version)}; this "
            f"one reads up to {VERSION}). Update Earsight to load it."
        )
    wanted = {
        "version": int,
        "method": str,
        "hyperparameters": dict,
        "learned": dict,
        "tensors": str,
        "sha256": str,
    }
    for key, type_ in wanted.items():
        if not isinstance(header.get(key), type_):
            raise _damaged(where, f"{MODEL_FILE} lacks {key!r}")
    return header


def _read_tensors(read: Read, header: Mapping[str, Any], where: str) -> Tensors:
    from safetensors.numpy import load

    name = header["tensors"]
    if not TENSORS_FILE.fullmatch(name):
        raise _damaged(where, f"{reprlib.repr(name)} is not a file of this folder")
    data = _read(read, name, where)
    if data is None:
        raise _damaged(where, f"{name} is missing")
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise _damaged(where, f"the checksum of {name} is not the one in {MODEL_FILE}")
    try:
        _check_size(int.from_bytes(data[:8], "little"))
        tensors: Tensors = load(data)
    except Exception as error:  # its own, a KeyError for a type that numpy lacks, numpy's for sizes
        raise _damaged(where, f"{name} is not a safetensors file ({_brief(error)})") from error
    return tensors


def _check_size(n: int) -> None:
    if n > _LARGEST:
        raise ValueError(f"it says it has {n:,} bytes of JSON; at most {_LARGEST:,} are read")


def _damaged(where: str, why: str) -> ModelFileError:
    return ModelFileError(f"The model in {where} is damaged: {why}. Fit and save it again.")


def _brief(error: Exception) -> str:
    """Say what happened in one line; text of a file in it is cut short."""
    text = " ".join(str(error).split())
    named = text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"
    return named if len(named) <= _LONGEST else f"{named[:_LONGEST]}…"


def _encode(value: Any, path: str, tensors: Tensors) -> Any:
    """Return `value` as JSON; its arrays go into `tensors`, under the path that leads to them."""
    if isinstance(value, Mapping):
        items = [[key, _encode(item, f"{path}/{key}", tensors)] for key, item in value.items()]
        return {"mapping": items}
    if isinstance(value, list | tuple):
        return [_encode(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "U":
            return {"strings": value.tolist()}
        tensors[path] = np.ascontiguousarray(value)
        return {"tensor": path}
    return value


def _decode(value: Any, tensors: Tensors) -> Any:
    """Undo `_encode`; tuples come back as lists.

    Raises:
        ValueError: It is not what `_encode` gives; in other ways too, other exceptions.
    """
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    [(form, inner)] = value.items()
    if form == "tensor":
        return tensors[inner]
    if not isinstance(inner, list):
        raise ValueError(f"{form!r} must be a list")
    if form == "strings":
        widest = max([len(text) for text in inner if isinstance(text, str)], default=0)
        check_memory("A list of strings", len(inner) * widest * 4)
        if not all(isinstance(text, str) for text in inner):
            raise ValueError("'strings' must be strings")
        return np.asarray(inner, dtype=np.str_)
    if form != "mapping":
        raise ValueError(f"{form!r} is no form of a value")
    found = {key: _decode(item, tensors) for key, item in inner}
    if len(found) != len(inner) or not all(isinstance(key, str) for key in found):
        raise ValueError("'mapping' must have names that differ")
    return found


def write_file(path: Path, data: bytes) -> None:
    """Write under a temporary name, bring it to the disk, then rename."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

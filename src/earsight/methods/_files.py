"""A saved model: a folder with `model.json` and one safetensors file, and no code.

`model.json` names the method, its hyper-parameters, what was learned, and the tensors' file with
its SHA-256. That file carries part of the hash in its name and is written first; then `model.json`
takes its place by renaming. A reader sees the old model or the new one, whole.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight import discovery
from earsight.errors import InputError, ModelFileError
from earsight.methods._base import JointEmbedding

KIND, VERSION = "earsight-model", 1
HEADER = "model.json"
Tensors = dict[str, npt.NDArray[Any]]


def save_model(model: JointEmbedding, folder: str | PathLike[str]) -> None:
    """Write a fitted model; one that was in `folder` before is replaced in one step.

    Raises:
        ModelFileError: `folder` is a file or holds something else than a model.
        InputError: The model's class is not one that `load_model` would find again.
        OSError: The folder cannot be written.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    if discovery.load("methods", model.name) is not type(model):
        raise InputError(
            f"Only a method that Earsight discovers can be saved; {type(model).__name__} is not "
            f"the class of {model.name!r}. Register it as an entry point of 'earsight.methods'."
        )
    if folder.exists() and not folder.is_dir():
        raise ModelFileError(f"{folder} must be a folder; it is a file. Choose another name.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / HEADER).exists():
        raise ModelFileError(f"{folder} holds something that is not a model. Choose another name.")
    tensors: Tensors = {}
    hyperparameters = _encode(model.hyperparameters(), "hyperparameters", tensors)
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
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / tensors_name, data)
    write_file(folder / HEADER, json.dumps(header, indent=1).encode())
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != tensors_name:
            old.unlink()


def load_model(folder: str | PathLike[str]) -> JointEmbedding:
    """Read a model that `save` wrote. Nothing in the files is executed.

    Returns:
        The fitted model, of the class that the name in the file stands for on this machine.

    Raises:
        ModelFileError: Not a model, damaged, written by a newer Earsight, or of a method that is
            not installed here.
    """
    folder = Path(folder)
    header = _read_header(folder)
    if header["method"] not in (known := discovery.names("methods")):
        raise ModelFileError(
            f"{folder} is a model of the method {header['method']!r}, which is not installed here. "
            f"Known: {', '.join(known)}."
        )
    tensors = _read_tensors(folder, header)
    try:
        hyperparameters = _decode(header["hyperparameters"], tensors)
        model: JointEmbedding = discovery.make("methods", header["method"], hyperparameters)
        model.restore(_decode(header["learned"], tensors))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, f"its {HEADER} does not fit {header['method']}: {error}") from error
    return model


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(f"{folder} is not a saved model: it has no {HEADER}.") from error
    except ValueError as error:
        raise _damaged(folder, f"{HEADER} is not JSON") from error
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise ModelFileError(f"{folder} is not a saved model: {HEADER} is something else's.")
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ModelFileError(
            f"{folder} was written by a newer Earsight (model format {version}; this one reads up "
            f"to {VERSION}). Update Earsight to load it."
        )
    wanted = {
        "method": str,
        "hyperparameters": dict,
        "learned": dict,
        "tensors": str,
        "sha256": str,
    }
    for key, type_ in wanted.items():
        if not isinstance(header.get(key), type_):
            raise _damaged(folder, f"{HEADER} lacks {key!r}")
    return header


def _read_tensors(folder: Path, header: Mapping[str, Any]) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    name = header["tensors"]
    if Path(name).name != name:
        raise _damaged(folder, f"{name!r} is not a file of this folder")
    try:
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != header["sha256"]:
            raise _damaged(folder, f"the checksum of {name} is not the one in {HEADER}")
        tensors: Tensors = load(data)
    except FileNotFoundError as error:
        raise _damaged(folder, f"{name} is missing") from error
    except SafetensorError as error:
        raise _damaged(folder, f"{name} is not a safetensors file") from error
    return tensors


def _damaged(folder: Path, why: str) -> ModelFileError:
    return ModelFileError(f"The model in {folder} is damaged: {why}. Fit and save it again.")


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
    """Undo `_encode`; tuples come back as lists."""
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "mapping" in value:
        return {key: _decode(item, tensors) for key, item in value["mapping"]}
    if "strings" in value:
        return np.asarray(value["strings"])
    return tensors[value["tensor"]]


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

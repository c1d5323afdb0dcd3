"""Models of the `transformers` package: where they are, what they are, loaded without any code.

A model is a folder, or a name on the Hugging Face hub. Only safetensors and text files are ever
looked at: pickles are neither downloaded nor opened, and code that comes with a model is not run.
Every file is read once a process for its SHA-256, which enters the fingerprint. What came from the
hub is also held to the checksum that the hub states for it (SHA-256 for large files, git blob id
for small ones), which its cache keeps as the file's name; where a system has no symbolic links
there is no such name, and nothing to compare with.
"""

import io
import json
import os
import re
from contextlib import redirect_stdout
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from earsight import extras
from earsight.errors import InputError, WeightsError
from earsight.extractors.runtime.threads import n_threads
from earsight.weights import cache as files

_KINDS = ("*.safetensors", "*.json", "*.txt", "*.model")  # weights, settings, vocabularies
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
_LOADED = 3  # models in memory at once: one of each kind
_LARGE, _SMALL = 64, 40  # hex digits of a SHA-256 and of a git blob id

Sums = tuple[tuple[str, str], ...]
"""Name and SHA-256 of each file of a model."""


def require() -> None:
    """Check that `transformers` is there, before anything is downloaded; nothing is imported.

    Raises:
        WeightsError: It is not installed.
    """
    extras.require("foundation", "This extractor", WeightsError)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["DISABLE_TELEMETRY"] = "1"


def package() -> Any:
    """Import `transformers`, silent and without telemetry.

    Raises:
        WeightsError: It is not installed.
    """
    require()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def folder_of(model: str, *, fetch: bool) -> Path:
    """Return the folder that holds a model.

    Args:
        model: A folder; or owner/name or owner/name@revision on the hub.
        fetch: Download what is not here, and check what is. The hub's client keeps it in its own
            cache ($HF_HOME).

    Raises:
        InputError: `model` is neither.
        WeightsError: It is not here and not fetched, cannot be had, is not what the hub says it
            is, or has no safetensors.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if not _HUB_NAME.fullmatch(model):
            raise InputError(
                "`model` must be a folder, or a name on the Hugging Face hub, owner/name or "
                f"owner/name@revision; got {model!r}, and there is no such folder."
            )
        folder = _from_hub(model, fetch)
    if fetch:
        checksums(folder)  # before anything in it is interpreted
    _check_whole(folder)
    return folder


@cache
def _from_hub(model: str, fetch: bool) -> Path:
    require()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    asked = {"revision": revision or None, "allow_patterns": list(_KINDS)}
    try:
        folder = Path(snapshot_download(name, local_files_only=True, **asked))
        _check_whole(folder)
        return folder
    except (LocalEntryNotFoundError, WeightsError) as error:
        if not fetch:
            raise WeightsError(
                f"The model {model} is not on this machine. It is downloaded when it is first "
                "used; without a network give a folder: model=DIR."
            ) from error
    try:
        return Path(snapshot_download(name, **asked))
    except Exception as error:  # what a network and its client raise shares no narrower base
        raise WeightsError(
            f"The model {model} cannot be had from the Hugging Face hub: "
            f"{str(error).strip().splitlines()[0]} There is no folder of that name here either; "
            "to use one: model=DIR."
        ) from error


def _check_whole(folder: Path) -> None:
    """Refuse a folder without settings, without safetensors, or with only some of its parts."""
    parts = {path.name for path in folder.glob("*.safetensors")}
    wanted = {"config.json", "a .safetensors file"} - (
        {path.name for path in folder.glob("config.json")} | {"a .safetensors file" for _ in parts}
    )
    for index in folder.glob("*.safetensors.index.json"):
        listed = settings(folder, index.name).get("weight_map")
        if not isinstance(listed, dict):
            raise WeightsError(f"{index} must say in weight_map which file holds which weight.")
        wanted |= set(map(str, listed.values())) - parts
    if wanted:
        raise WeightsError(
            f"{folder} must hold config.json and weights as safetensors; missing: "
            f"{', '.join(sorted(wanted))}. Weights in a pickle (.bin) are never loaded, because "
            "loading them runs code."
        )


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a model may consist of, by name.

    Raises:
        WeightsError: A file from the hub is not what the hub says it is.
    """
    paths = sorted({path for kind in _KINDS for path in folder.glob(kind)})
    states = [(path, path.stat()) for path in paths]
    return dict(_read(tuple((path, state.st_size, state.st_mtime_ns) for path, state in states)))


@cache
def _read(states: tuple[tuple[Path, int, int], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((path.name, _verified(path)) for path, _, _ in states)


def _verified(path: Path) -> str:
    found = files.sha256(path)
    stated = path.resolve().name if path.is_symlink() else ""
    wrong = len(stated) == _LARGE and stated != found
    wrong = wrong or (len(stated) == _SMALL and stated != files.git_blob(path))
    if wrong and set(stated) <= set("0123456789abcdef"):
        raise WeightsError(
            f"{path} must have the checksum that the hub states for it, {stated}; it does not, so "
            f"it is damaged. Remove {path.resolve()} and it is downloaded anew."
        )
    return found


def stated(folder: Path, *keys: str) -> int:
    """Return a whole number of a model's config.json, such as its width.

    What the file leaves out is as `transformers` has it by default, as in the model itself.

    Args:
        folder: Where the model is.
        keys: The way to it, such as "text_config", "hidden_size".

    Raises:
        WeightsError: It is no such number.
    """
    found = _at(settings(folder, "config.json"), keys)
    if found is None:
        found = _at(part("AutoConfig", folder).to_dict(), keys)
    if not isinstance(found, int) or found < 1:
        raise WeightsError(
            f"`{'.'.join(keys)}` in {folder / 'config.json'} must be a whole number above 0; "
            f"got {found!r}."
        )
    return found


def _at(tree: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def settings(folder: Path, name: str) -> dict[str, Any]:
    """Read one of a model's JSON files; empty where it is not there.

    Raises:
        WeightsError: It is damaged.
    """
    path = folder / name
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is damaged: {error}.") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} must hold a JSON object; got {type(found).__name__}.")
    return found


def load(architecture: str, folder: Path) -> Any:
    """Return a model of `transformers` in evaluation mode and float32; loaded once a process.

    Where the files have changed since, it is loaded again: vectors are never of another model than
    the fingerprint is.

    Args:
        architecture: Its class, such as "CLIPModel".
        folder: Where it is.

    Raises:
        WeightsError: A package is missing, or the files are damaged, of another shape, or fewer
            than the model has: what is missing would be random numbers.
    """
    return _load(architecture, folder, tuple(checksums(folder).items()))


@lru_cache(maxsize=_LOADED)
def _load(architecture: str, folder: Path, _: Sums) -> Any:
    transformers = package()
    import torch

    if n_threads():
        torch.set_num_threads(n_threads())
    try:
        # Making a PE-AV model prints remarks on the docstrings of transformers to stdout.
        with redirect_stdout(io.StringIO()):
            model, told = getattr(transformers, architecture).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # it is told below
                output_loading_info=True,
            )
    except Exception as error:  # transformers, safetensors and torch have no common base
        raise WeightsError(f"{folder} cannot be loaded as a {architecture}: {error}") from error
    wrong = sorted({*told["missing_keys"], *(key for key, *_ in told["mismatched_keys"])})
    if wrong:
        raise WeightsError(
            f"{folder} must hold every weight of {architecture} in its shape; {len(wrong)} are "
            f"missing or of another shape, such as {wrong[0]}."
        )
    return model.eval()


def part(kind: str, folder: Path) -> Any:
    """Return what prepares a model's input ("AutoTokenizer", "ClapFeatureExtractor").

    As a model it is loaded once a process, and again where the files have changed.

    Raises:
        WeightsError: The folder does not hold it.
    """
    return _part(kind, folder, tuple(checksums(folder).items()))


@cache
def _part(kind: str, folder: Path, _: Sums) -> Any:
    try:
        return getattr(package(), kind).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise WeightsError(f"{folder} holds nothing for {kind} to read: {error}") from error

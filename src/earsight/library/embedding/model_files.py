"""The files of an embedding's model: in the library's folder, or on S3 with a copy in the cache.

An embedding names each file of its model with its SHA-256, and no other file is read. A file is
checked each time it is opened.
"""

import hashlib
import logging
import re
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from earsight.errors import InputError, ModelFileError, StorageError
from earsight.library.catalog.folder_handle import Directory, open_directory
from earsight.library.catalog.location import FOLDER, cache_folder
from earsight.library.catalog.records import Embedding
from earsight.library.embedding.joint_space import (
    LEARNED,
    SPACE_FILE,
    ZERO_SHOT,
    JointSpace,
    is_file,
)
from earsight.storage import Location, Remote

LOG = logging.getLogger(__name__)
MODELS = "models"
_FILES = "model"  # in an embedding's info: name of a file → its SHA-256
_MOST = 5  # files of a model: of the space, and two of each part
_NUMBER = re.compile(r"[0-9]{1,18}")
_DRAFT = re.compile(r"\.tmp-\w+")  # of a file that a killed run was writing


def save_model(library: Location, number: int, space: JointSpace) -> dict[str, Any]:
    """Write the model of embedding `number`; return what the embedding's `info` must say of it.

    Raises:
        LibraryError: A link, or what is not ours, is in the place of its folder.
        OSError, StorageError: It cannot be written.
    """
    files = space.files()
    if isinstance(library, Path):
        with _open(library) as top, top.below(MODELS, make=True) as models:
            _remove(models, str(number))  # left by a killed run
            for name, data in files.items():
                folder, _, file = f"{number}/{name}".rpartition("/")
                with models.below(folder, make=True) as inner:
                    inner.write(file, data)
    else:
        for name, data in files.items():
            (library / f"{MODELS}/{number}/{name}").write(data)
    return {_FILES: {name: _sha256(data) for name, data in files.items()}}


def open_model(library: Location, embedding: Embedding) -> JointSpace:
    """Open the model of an embedding.

    Raises:
        ModelFileError: It is missing or damaged, or is not what was written.
        LibraryError: A link is in the place of a file.
        StorageError: S3 cannot be reached.
    """
    return JointSpace.load(_read(library, embedding), f"{library}/{MODELS}/{embedding.id}")


def model_exists(library: Location, embedding: Embedding) -> bool:
    """Whether the model of an embedding is there, and on a disk what was written."""
    try:
        if isinstance(library, Path):
            _read(library, embedding)
            return True
        names = _checksums(library, embedding)
    except ModelFileError as error:  # named by no hashes, or by nonsense; not there, or changed
        LOG.info("%s", error)
        return False
    return all((library / f"{MODELS}/{embedding.id}/{name}").info() is not None for name in names)


def remove_models(library: Location, active: int) -> list[str]:
    """Remove all models but that of the active embedding.

    Returns:
        What lies among the models on a disk and is none of ours, or could not be removed: it stays.

    Raises:
        LibraryError: A link is in the place of the folder.
    """
    left: list[str] = []
    if isinstance(library, Path):
        with _open(library) as top:
            if top.kind(MODELS) is None:
                return left
            with top.below(MODELS) as models:
                for name in models.names():
                    if name != str(active):
                        left += _remove(models, name)
        for name in left:
            LOG.info("%s/%s/%r is not of Earsight's making; it stays.", library, MODELS, name)
        return left
    for name, _ in list((library / MODELS).walk()):
        number = name.split("/")[0]
        if _NUMBER.fullmatch(number) and int(number) < active:
            (library / MODELS / name).delete()
    return left


def _open(library: Path) -> AbstractContextManager[Directory]:
    """Open a library: a link called `.earsight` is its sender's, another one is the user's."""
    return open_directory(library, follow=library.name != FOLDER)


def _remove(models: Directory, name: str) -> list[str]:
    """Remove one model; return what stays of it."""

    def is_ours(path: str) -> bool:
        number, below, inner = path.partition("/")
        if not below or not _NUMBER.fullmatch(number):
            return False
        folder, _, file = inner.rpartition("/")
        if _DRAFT.fullmatch(file):
            return folder in ("", ZERO_SHOT, LEARNED)
        return inner in ("", f"{ZERO_SHOT}/", f"{LEARNED}/") or is_file(inner)

    try:
        return models.remove(name, is_ours)
    except OSError as error:
        LOG.info("%s/%r cannot be removed: %s", models.path, name, error)
        return [name]


def _checksums(library: Location, embedding: Embedding) -> dict[str, str]:
    """Return the files of a model, name → SHA-256, as its embedding has them.

    Raises:
        ModelFileError: It has none, or names that no model has.
    """
    files = embedding.info.get(_FILES)
    if files is None:
        raise ModelFileError(
            f"The library {library} was made by an older Earsight, which did not note the files of "
            f"its model. {_how_to_remake(library)}"
        )
    good = isinstance(files, dict) and len(files) <= _MOST and SPACE_FILE in files
    if not good or not all(is_file(n) and isinstance(h, str) for n, h in files.items()):
        raise ModelFileError(
            f"The library {library} is damaged: it names files as those of a model that are none. "
            f"{_how_to_remake(library)}"
        )
    return dict(files)


def _how_to_remake(library: Location) -> str:
    inside = isinstance(library, Path) and library.name == FOLDER
    return (
        f"Make it anew: earsight index CLIPS{'' if inside else f' --library {library}'} --rebuild."
    )


def _read(library: Location, embedding: Embedding) -> dict[str, bytes]:
    """Return the files of a model, each of them checked."""
    names, folder = _checksums(library, embedding), f"{MODELS}/{embedding.id}"
    try:
        if isinstance(library, Remote):
            files = _read_remote(library, folder, names)
        else:
            with _open(library) as top:
                files = {name: top.read(f"{folder}/{name}") for name in names}
    except (OSError, InputError) as error:
        raise ModelFileError(f"The model in {library}/{folder} cannot be read: {error}") from error
    for name, data in files.items():
        if (found := _sha256(data)) != names[name]:
            raise ModelFileError(
                f"{library}/{folder}/{name} is not what was written there (SHA-256 {found[:12]}… "
                f"where {names[name][:12]!r} was). {_how_to_remake(library)}"
            )
    return files


def _read_remote(library: Remote, folder: str, names: dict[str, str]) -> dict[str, bytes]:
    """Return the files of a model, from the cache or, where they are not there, from S3."""
    cache = cache_folder(library) / f"{folder}-{_sha256(repr(sorted(names.items())).encode())[:16]}"
    files = {}
    for name, expected in names.items():
        path = cache / name
        data = path.read_bytes() if path.is_file() else b""
        if _sha256(data) != expected:
            data = _fetch(library / f"{folder}/{name}")
            if _sha256(data) == expected:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
                    draft.write(data)
                Path(draft.name).replace(path)
        files[name] = data
    return files


def _fetch(remote: Remote) -> bytes:
    try:
        return remote.read()
    except StorageError as error:
        remote.check_bucket()  # says what is wrong there, if anything is
        raise ModelFileError(f"The model is missing: {error}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""The model of an embedding: a folder of a library on a disk; on S3, files that are copied here.

An embedding names each file of its model with its SHA-256, and no other file is read. On S3 a model
is sent whole before its embedding answers; what is copied lies in the cache of this machine, and is
checked each time it is opened.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from earsight.errors import InputError, ModelFileError, StorageError
from earsight.library.catalog.folder_handle import Directory, open_directory
from earsight.library.catalog.location import FOLDER, private
from earsight.library.catalog.records import Embedding
from earsight.library.embedding.joint_space import BRIDGE, HEADER, LEARNED, Space, is_file
from earsight.storage import Place, Remote
from earsight.untrusted import check_memory

LOG = logging.getLogger(__name__)
MODELS = "models"
_FILES = "model"  # in an embedding's info: name of a file → its SHA-256
_MOST = 5  # files of a model: of the space, and two of each part
_NUMBER = re.compile(r"[0-9]{1,18}")
_DRAFT = re.compile(r"\.tmp-\w+")  # of a file that a killed run was writing


def save_space(library: Place, number: int, space: Space) -> dict[str, Any]:
    """Keep the model of embedding `number`; return what the embedding's `info` must hold of it.

    Raises:
        LibraryError: A link, or what is not ours, is in the place of its folder.
        OSError: It cannot be written.
    """
    files = space.files()
    if isinstance(library, Path):
        with _below(library) as top, top.below(MODELS, make=True) as models:
            _remove(models, str(number))  # left by a killed run
            for name, data in files.items():
                folder, _, file = f"{number}/{name}".rpartition("/")
                with models.below(folder, make=True) as inner:
                    inner.write(file, data)
    else:
        for name, data in files.items():
            with TemporaryDirectory(prefix="earsight-model-") as temporary:
                (Path(temporary) / "file").write_bytes(data)
                (library / f"{MODELS}/{number}/{name}").upload(Path(temporary) / "file")
    return {_FILES: {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}


def open_space(library: Place, embedding: Embedding) -> Space:
    """Open the model of an embedding.

    Raises:
        ModelFileError: It is missing or damaged, or is not what was written.
        LibraryError: A link is in the place of a file.
        StorageError: It cannot be fetched.
    """
    where = f"{library}/{MODELS}/{embedding.id}"
    names = _named(library, embedding)
    if isinstance(library, Path):
        files = _read(library, where, embedding, names)
    else:
        files = _fetched(library, where, embedding, names)
    return Space.load(files, where)


def _read(
    library: Path, where: str, embedding: Embedding, names: dict[str, str]
) -> dict[str, bytes]:
    """Return the files of a model on a disk, each of them checked."""
    try:
        with _below(library) as top:
            files = {name: top.read(f"{MODELS}/{embedding.id}/{name}") for name in names}
    except (OSError, InputError) as error:
        raise ModelFileError(f"The model in {where} cannot be read: {error}") from error
    for name, data in files.items():
        _check(library, where, name, data, names[name])
    return files


def stands(library: Place, embedding: Embedding) -> bool:
    """Whether the model of an embedding is there, and on a disk what was written."""
    try:
        names = _named(library, embedding)
        if isinstance(library, Path):
            _read(library, f"{library}/{MODELS}/{embedding.id}", embedding, names)
            return True
    except ModelFileError as error:  # named by no hashes, or by nonsense; not there, or changed
        LOG.info("%s", error)
        return False
    return all((library / f"{MODELS}/{embedding.id}/{name}").info() is not None for name in names)


def drop_spaces(library: Place, current: int) -> list[str]:
    """Remove the models that no longer answer; on S3, those that began before the one that does.

    Returns:
        What lies among the models on a disk and is none of ours, or could not be removed: it stays.

    Raises:
        LibraryError: A link is in the place of the folder.
    """
    if isinstance(library, Path):
        left: list[str] = []
        with _below(library) as top:
            if top.kind(MODELS) is None:
                return left
            with top.below(MODELS) as models:
                for name in models.names():
                    if name != str(current):
                        left += _remove(models, name)
        for name in left:
            LOG.info("%s/%s/%r is not of Earsight's making; it stays.", library, MODELS, name)
        return left
    remote = library / MODELS
    for name, _ in list(remote.walk()):
        number = name.split("/")[0]
        if _NUMBER.fullmatch(number) and int(number) < current:
            (remote / name).delete()
    return []


@contextmanager
def _below(library: Path) -> Iterator[Directory]:
    """Open a library: `.earsight` is its sender's, another name is the user's own word."""
    with open_directory(library, follow=library.name != FOLDER) as top:
        yield top


def _remove(models: Directory, name: str) -> list[str]:
    """Remove one model; return what stays of it."""

    def is_ours(path: str) -> bool:
        number, below, inner = path.partition("/")
        if not below or not _NUMBER.fullmatch(number):
            return False
        folder, _, file = inner.rpartition("/")
        if _DRAFT.fullmatch(file):
            return folder in ("", BRIDGE, LEARNED)
        return inner in ("", f"{BRIDGE}/", f"{LEARNED}/") or is_file(inner)

    try:
        return models.remove(name, is_ours)
    except OSError as error:
        LOG.info("%s/%r cannot be removed: %s", models.path, name, error)
        return [name]


def _named(library: Place, embedding: Embedding) -> dict[str, str]:
    """Return the files of a model, name → SHA-256, as its embedding has them, checked.

    Raises:
        ModelFileError: It has none, or names that no model has.
    """
    files = embedding.info.get(_FILES)
    if files is None:
        raise ModelFileError(
            f"The library {library} was made by an older Earsight, which did not note the files of "
            f"its model. Make it anew: {_again(library)}."
        )
    good = isinstance(files, dict) and len(files) <= _MOST and HEADER in files
    if not good or not all(is_file(n) and isinstance(h, str) for n, h in files.items()):
        raise ModelFileError(
            f"The library {library} is damaged: it names files as those of a model that are none. "
            f"Make it anew: {_again(library)}."
        )
    return dict(files)


def _again(library: Place) -> str:
    if isinstance(library, Path) and library.name == FOLDER:
        return "earsight index CLIPS --rebuild"
    return f"earsight index CLIPS --library {library} --rebuild"


def _check(library: Place, where: str, name: str, data: bytes, expected: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ModelFileError(
            f"{where}/{name} is not what was written there (SHA-256 {found[:12]}… where "
            f"{expected[:12]!r} was). Make it anew: {_again(library)}."
        )


def _fetched(
    library: Remote, where: str, embedding: Embedding, names: dict[str, str]
) -> dict[str, bytes]:
    """Return the files of a model from this machine's cache, all of them checked."""
    whole = hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest()
    folder = private(library) / MODELS / f"{embedding.id}-{whole[:16]}"
    files = {}
    for name, expected in names.items():
        path = folder / name
        data = path.read_bytes() if path.is_file() else None
        if data is None or hashlib.sha256(data).hexdigest() != expected:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
                copy = Path(temporary) / "copy"
                _fetch(library / f"{MODELS}/{embedding.id}/{name}", where, copy)
                data = copy.read_bytes()
                _check(library, where, name, data, expected)
                copy.replace(path)
        files[name] = data
    return files


def _fetch(remote: Remote, where: str, path: Path) -> None:
    try:
        if found := remote.info():
            check_memory(f"The file {remote}", found.size)
        remote.download(path)
    except InputError as error:
        raise ModelFileError(f"The model in {where} cannot be read: {error}") from error
    except StorageError as error:
        remote.check_bucket()  # tells what is wrong there, if anything is
        raise ModelFileError(f"The model is missing: {error}") from error

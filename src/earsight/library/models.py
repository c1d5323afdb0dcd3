"""The model of an embedding: a folder of a library on a disk; on S3, files that are copied here.

On S3 a model is sent whole before its embedding answers, and the embedding names each file with its
SHA-256. What is copied lies in the cache of this machine, and is checked each time it is opened.
"""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from earsight.errors import LibraryError, ModelFileError, StorageError
from earsight.library.place import private
from earsight.library.records import Embedding
from earsight.library.space import Space
from earsight.storage import Place, Remote

_FILES = "model"  # in an embedding's info: name of a file → its SHA-256


def save_space(library: Place, number: int, space: Space) -> dict[str, Any]:
    """Keep the model of embedding `number`; return what the embedding's `info` must hold of it."""
    if isinstance(library, Path):
        folder = library / "models" / str(number)
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
        space.save(folder)
        return {}
    with TemporaryDirectory(prefix="earsight-model-") as temporary:
        folder = Path(temporary) / "model"
        space.save(folder)
        files = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            files[name] = _sha256(path)
            (library / f"models/{number}/{name}").upload(path)
    return {_FILES: files}


def open_space(library: Place, embedding: Embedding) -> Space:
    """Open the model of an embedding.

    Raises:
        ModelFileError: It is missing or damaged.
        StorageError: It cannot be fetched.
    """
    if isinstance(library, Path):
        return Space.load(library / "models" / str(embedding.id))
    return Space.load(_fetched(library, embedding))


def stands(library: Place, embedding: Embedding) -> bool:
    """Whether the model of an embedding is there."""
    if isinstance(library, Path):
        return (library / "models" / str(embedding.id)).is_dir()
    names = embedding.info[_FILES]
    return all((library / f"models/{embedding.id}/{name}").info() is not None for name in names)


def drop_spaces(library: Place, current: int) -> None:
    """Remove the models that no longer answer; on S3, those that began before the one that does."""
    if isinstance(library, Path):
        for folder in (library / "models").iterdir():
            if folder.name != str(current):
                shutil.rmtree(folder, ignore_errors=True)
        return
    models = library / "models"
    for name, _ in list(models.walk()):
        number = name.split("/")[0]
        if number.isdigit() and int(number) < current:
            (models / name).delete()


def _fetched(library: Remote, embedding: Embedding) -> Path:
    """Return the folder of this machine's cache with the files of a model, all of them checked."""
    files: dict[str, str] = embedding.info[_FILES]
    whole = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    folder = private(library) / "models" / f"{embedding.id}-{whole[:16]}"
    for name, expected in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise LibraryError(f"The library {library} is damaged: a model has a file {name!r}.")
        path = folder / name
        if path.is_file() and _sha256(path) == expected:
            continue
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
            copy = Path(temporary) / "copy"
            _fetch(library / f"models/{embedding.id}/{name}", copy)
            if _sha256(copy) != expected:
                raise ModelFileError(
                    f"{library}/models/{embedding.id}/{name} is not what was written there "
                    f"(SHA-256 {_sha256(copy)[:12]}… where {expected[:12]}… was). Make it anew: "
                    f"earsight index CLIPS --library {library} --rebuild."
                )
            copy.replace(path)
    return folder


def _fetch(remote: Remote, path: Path) -> None:
    try:
        remote.download(path)
    except StorageError as error:
        remote.check_bucket()  # tells what is wrong there, if anything is
        raise ModelFileError(f"The model is missing: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Where a library is: its folder or its address on S3, and who may write in it."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from earsight.errors import LibraryError
from earsight.library.catalog.folder_handle import Directory, open_directory
from earsight.paths import home
from earsight.storage import Location, Remote, endpoint

FOLDER = ".earsight"
LOCK = "lock"
_TRIES, _PAUSE = 3, 0.05  # seconds


@contextmanager
def open_library_folder(folder: Path) -> Iterator[Directory]:
    """Open the folder of a library, looked through for links.

    A link that the user names leads to it; one called `.earsight` came with the clips.

    Raises:
        LibraryError: It is a link, or holds one, or what else has no place in a library.
    """
    try:
        with open_directory(folder, follow=folder.name != FOLDER) as opened:
            opened.refuse_links()
            yield replace(opened, path=Path(os.path.realpath(folder)))
    except FileNotFoundError as error:
        raise LibraryError(
            f"There is no library in {folder}. Make one: earsight index CLIPS."
        ) from error
    except OSError as error:
        raise LibraryError(
            f"The library {folder} cannot be looked through: {error}. Give yourself the right to "
            "read all of it."
        ) from error


def cache_folder(library: Remote) -> Path:
    """Return the folder of this machine's cache that belongs to a library on S3."""
    whole = f"{endpoint()} {library}".encode("utf-8", "surrogateescape")
    return home() / "libraries" / hashlib.sha256(whole).hexdigest()[:16]


@contextmanager
def locked(folder: Path, *, follow: bool = True) -> Iterator[None]:
    """Make the folder if need be and hold it for writing; a killed holder lets go by itself.

    Args:
        folder: Where the lock is.
        follow: Whether the folder may be a link; one called `.earsight` never may.

    Raises:
        LibraryError: Another process is indexing this library, or the folder cannot be written, or
            is a link that is not followed.
    """
    with _taken(folder, follow=follow and folder.name != FOLDER) as file:
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        except OSError as error:
            raise LibraryError(write_error_message(folder, error)) from error
        yield


def _taken(folder: Path, *, follow: bool) -> TextIO:
    """Return the lock's file, locked. One that its last holder removed with the folder is none."""
    while True:
        try:
            with suppress(FileExistsError):  # no folder: that it is opened says what it is
                folder.mkdir(parents=True, exist_ok=True)
            with open_directory(folder, follow=follow) as opened:
                file = os.fdopen(opened.open(LOCK, os.O_RDWR | os.O_CREAT), "r+")
        except OSError as error:
            raise LibraryError(write_error_message(folder, error)) from error
        state = os.fstat(file.fileno())
        try:
            refuse_second_name(folder / LOCK, state.st_nlink)
            if not _held(file, fcntl.LOCK_EX):
                raise LibraryError(
                    f"Another earsight (process {_holder(file)}) is at work on "
                    f"the library {folder}. Wait for it, or stop it; nothing was changed."
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(state, (folder / LOCK).lstat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def refuse_second_name(path: Path, names: int) -> None:
    """Refuse to write into a file that has another name too, which may be a file of the user's."""
    if names > 1:
        raise LibraryError(
            f"{path} has {names} names (hard links), so that writing it would change a file "
            f"elsewhere. Give the library a copy of its own: cp {path} COPY && mv COPY {path}"
        )


def lock_holder(folder: Path) -> str | None:
    """Return the process that writes in this library just now, None where there is none."""
    try:
        with (
            open_directory(folder, follow=folder.name != FOLDER) as opened,
            os.fdopen(opened.open(LOCK)) as file,
        ):
            return None if _held(file, fcntl.LOCK_SH) else _holder(file)
    except OSError:  # none has ever written here, or it may not be looked at
        return None


def _held(file: TextIO, kind: int) -> bool:
    """Take the lock if it is free; one that only looks (`held_by`) lets go at once."""
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE)
    return False


def _holder(file: TextIO) -> str:
    file.seek(0)
    found = file.read(20).strip()
    return found if found.isdecimal() else "unknown"


def write_error_message(folder: Location, error: Exception) -> str:
    """Say that something could not be written, how much room there is, and what to do."""
    if isinstance(folder, Remote):
        return (
            f"The library {folder} could not be written, or a file of this machine that it takes: "
            f"{error}. What was there before is still there; run the same command again."
        )
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free / 2**20
    if isinstance(error, OSError) and error.errno in (13, 30):  # EACCES, EROFS
        return (
            f"The library {folder} is read-only ({error}). Make it writable, or keep the library "
            "elsewhere: earsight index CLIPS --library DIR."
        )
    return (
        f"The library {folder} could not be written: {error}. {free:.0f} MiB are free on its disk. "
        "What was there before is still there; run the same command again."
    )


def part_sizes(folder: Location) -> dict[str, int]:
    """Return part → bytes: "clips" (the small tables), "models", "vectors"."""
    sizes = {"clips": 0, "models": 0, "vectors": 0}
    if isinstance(folder, Remote):
        for key, info in folder.walk():
            part = key.partition("/")[0]
            sizes[part if part in sizes else "clips"] += info.size
        return sizes
    for path, _, files in os.walk(folder):
        parts = Path(path).relative_to(folder).parts
        part = parts[0] if parts and parts[0] in sizes else "clips"
        for name in files:
            try:
                sizes[part] += (Path(path) / name).lstat().st_size
            except OSError:  # removed just now by an index at work
                continue
    return sizes

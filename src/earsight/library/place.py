"""Where a library is: its folder, and who may write in it."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from earsight.errors import LibraryError

FOLDER = ".earsight"
_TRIES, _PAUSE = 3, 0.05  # seconds


def find(place: Path) -> Path:
    """Return the library folder that `place` names: itself, or the `.earsight` inside it.

    Raises:
        LibraryError: Neither is a library; the message says which command makes one.
    """
    for folder in (place, place / FOLDER):
        if (folder / "library.db").is_file():
            return folder
    if not place.exists():
        raise LibraryError(f"There is no folder {place}.")
    raise LibraryError(f"{place} has not been indexed yet. Run: earsight index {place}")


def place_for(clips: Path, library: Path | None) -> Path:
    """Return the library folder for a folder of clips: `library`, or `.earsight` inside it."""
    if library is None or (library.is_dir() and library.samefile(clips)):
        return clips / FOLDER
    return library


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if need be and hold it for writing; a killed holder lets go by itself.

    Raises:
        LibraryError: Another process is indexing this library, or the folder cannot be written.
    """
    with _taken(folder) as file:
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        except OSError as error:
            raise LibraryError(unwritten(folder, error)) from error
        yield


def _taken(folder: Path) -> TextIO:
    """Return the lock's file, locked. One that its last holder removed with the folder is none."""
    lock = folder / "lock"
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = lock.open("a+")
        except OSError as error:
            raise LibraryError(unwritten(folder, error)) from error
        if not _held(file, fcntl.LOCK_EX):
            holder = _holder(file)
            file.close()
            raise LibraryError(
                f"Another earsight (process {holder}) is at work on "
                f"the library {folder}. Wait for it, or stop it; nothing was changed."
            )
        try:
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


def held_by(folder: Path) -> str | None:
    """Return the process that writes in this library just now, None where there is none."""
    try:
        with (folder / "lock").open() as file:
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
    return file.read().strip() or "unknown"


def unwritten(folder: Path, error: Exception) -> str:
    """Say that something could not be written, how much room there is, and what to do."""
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

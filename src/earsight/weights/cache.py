"""The cache folder: one process at a time in it, whole or not at all, and checksums of files."""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earsight.errors import WeightsError

LOG = logging.getLogger(__name__)

_PARTIAL = ".part-"
_known: dict[tuple[str, int, int, int], str] = {}  # (path, inode, size, time of change) -> SHA-256


def sha256(path: Path, *, afresh: bool = False) -> str:
    """Return the SHA-256 of a file as hex digits.

    Within one process an unchanged file is read once, however often it is asked for, unless
    `afresh`. Nothing is remembered from one process to the next.
    """
    state = path.stat()
    key = (str(path), state.st_ino, state.st_size, state.st_mtime_ns)
    if afresh or key not in _known:
        with path.open("rb") as file:
            _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[key]


def git_blob(path: Path) -> str:
    """Return the id that git gives to a file with these bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change `folder`; remove what a killed one left half-made."""
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("Waiting for another process that works on %s.", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in folder.glob(f"{_PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `target` if all goes well, and vanishes if not.

    Call it inside `locked(target.parent)`.
    """
    with clear_disk_errors(target.parent):
        folder = target.parent / f"{_PARTIAL}{os.getpid()}"
        folder.mkdir()
        try:
            yield folder
            aside = target.parent / f"{_PARTIAL}old-{os.getpid()}"
            if target.exists():  # it goes only once the new one stands
                target.rename(aside)
            folder.rename(target)
            shutil.rmtree(aside, ignore_errors=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Say in words that a disk is full or a folder cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"The disk that holds {folder} is full; nothing was kept of the unfinished file. "
                "Free some space, or set EARSIGHT_HOME to a folder on another disk."
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
            raise WeightsError(
                f"The cache folder {folder} cannot be written: {error.strerror}. Set EARSIGHT_HOME "
                "to a folder that can."
            ) from error
        raise

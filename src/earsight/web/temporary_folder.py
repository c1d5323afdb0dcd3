"""A private folder (0700) for files that must not stay, under the system's temporary folder.

The process holds a lock on it, which ends with the process. So the next start can tell and remove
what a crash left, and cleaners of temporary files leave alone what is in use.
"""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from starlette.exceptions import HTTPException

_PREFIX = "earsight-uploads-"
_YOUNG = 2.0  # seconds in which a folder without a lock may be just being made


class TemporaryFolder:
    """The folder, from now until it is closed."""

    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: int | None = os.open(self._path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @property
    def path(self) -> Path:
        """The folder; not of a server that ends, where a late request would leave something."""
        if self._lock is None:
            raise HTTPException(503, "The server has stopped.")
        return self._path

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(lock)


def remove_abandoned() -> None:
    """Remove the folders that crashed servers of this user left behind; links are not followed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # a link, another user's, or gone just now
            continue
        try:
            found = os.fstat(lock)
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > _YOUNG:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:  # a server that runs holds it
            continue
        finally:
            os.close(lock)

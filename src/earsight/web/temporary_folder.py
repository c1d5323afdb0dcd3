"""A folder of this process's own, for files that must not stay.

It (0700) lies under the system's place for temporary files, held by a lock that the kernel lets go
of with the process. So the next start can tell what a crash left.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TextIO

from earsight.errors import EarsightError

_PREFIX = "earsight-uploads-"
_YOUNG = 60.0  # seconds in which a folder without a lock may be just being made


class StoppedError(EarsightError):
    """The server ends while something is asked of it."""

    status = 503


class PrivateFolder:
    """The folder; it is made when it is first asked for."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._folder: Path | None = None
        self._lock: TextIO | None = None
        self._closed = False

    def path(self) -> Path:
        """Return it; made again where a cleaner of old temporary files was here.

        Raises:
            OSError: It cannot be made.
            StoppedError: It was closed.
        """
        with self._making:
            if self._closed:  # a request that outlives the server must not leave a folder
                raise StoppedError("The server has stopped.")
            if self._folder is None or not self._folder.exists():
                self._let_go()
                self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # 0700
                self._lock = (self._folder / "lock").open("w")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            return self._folder

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        with self._making:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder, self._closed = None, True
            self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def sweep() -> None:
    """Remove the folders that crashed servers of this user left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            if not (folder / "lock").exists():
                if time.time() - found.st_mtime > _YOUNG:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # held by a server that runs, or gone just now
            continue

"""Where the clips of an extraction lie: a folder, or below `s3://bucket/prefix`.

A clip on S3 is copied to a private temporary file for as long as it is read, so that the disk holds
as many of them as there are workers. Its name there is ours, whatever its key is.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol

from earsight.errors import LibraryError
from earsight.library.catalog.records import Clip
from earsight.library.catalog.scan import File, Scan, compare_files, is_excluded, scan
from earsight.storage import Location, Remote


class Origin(Protocol):
    """A place with clips; it travels to worker processes."""

    def scan(self, known: Iterable[Clip], exclude: Iterable[str]) -> Scan:
        """Compare what is there with the clips that are known, as `library.scan` does.

        Raises:
            LibraryError: There is no such folder, or it cannot be read.
            StorageError: The bucket cannot be reached or listed.
        """

    def opened(self, path: bytes) -> AbstractContextManager[Path]:
        """Give a clip as a local file.

        Raises:
            StorageError: It cannot be copied.
        """

    def state(self, path: bytes) -> File | None:
        """Return what tells a clip as it is now; None where it is gone."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def scan(self, known: Iterable[Clip], exclude: Iterable[str]) -> Scan:
        """Walk the folder."""
        if not self.root.is_dir():
            raise LibraryError(f"{self.root} is not a folder; extract takes a folder of clips.")
        return scan(self.root, known, exclude)

    def opened(self, path: bytes) -> AbstractContextManager[Path]:
        """Give the file itself."""
        return nullcontext(self._at(path))

    def state(self, path: bytes) -> File | None:
        """Look at the file."""
        try:
            info = self._at(path).stat()
        except OSError:
            return None
        return File(path, info.st_size, info.st_mtime_ns)

    def _at(self, path: bytes) -> Path:
        return self.root / os.fsdecode(path)


@dataclass(frozen=True)
class Below:
    """All objects below an address on S3."""

    remote: Remote

    def __str__(self) -> str:
        return str(self.remote)

    def scan(self, known: Iterable[Clip], exclude: Iterable[str]) -> Scan:
        """List the objects; hidden and excluded ones are left out as in a folder."""
        patterns = tuple(filter(None, exclude))
        files = []
        for key, info in self.remote.walk():
            path = os.fsencode(key)
            if not any(is_excluded(part, patterns) for part in _with_folders(path)):
                files.append(File(path, info.size, info.mtime_ns))
        return compare_files(files, known, Scan())

    @contextmanager
    def opened(self, path: bytes) -> Iterator[Path]:
        """Copy the object to a private file of its ending."""
        key = os.fsdecode(path)
        with TemporaryDirectory(prefix="earsight-") as folder:
            local = Path(folder) / f"clip{PurePosixPath(key).suffix}"
            (self.remote / key).download(local)
            yield local

    def state(self, path: bytes) -> File | None:
        """Ask for the object's state."""
        info = (self.remote / os.fsdecode(path)).info()
        return None if info is None else File(path, info.size, info.mtime_ns)


def origin_of(clips: Location) -> Origin:
    """Return the clips of a folder or of an address."""
    return Folder(clips) if isinstance(clips, Path) else Below(clips)


def _with_folders(path: bytes) -> Iterator[bytes]:
    """Yield a path and every folder on the way to it, relative as it is.

    >>> list(_with_folders(b"a/b/c.mp4"))
    [b'a', b'a/b', b'a/b/c.mp4']
    """
    parts = path.split(b"/")
    for end in range(1, len(parts) + 1):
        yield b"/".join(parts[:end])

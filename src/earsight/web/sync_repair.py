"""Whether the sound of a clip is in sync with its video, and copies in which it is.

Clips are read one at a time by a process of its own: one that crashes its decoder or takes for
ever must not take the server with it. Offsets are kept while the file stays as it is. The last few
copies are kept in a private folder, until the server ends.
"""

import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from starlette.exceptions import HTTPException

from earsight.alignment.clip_offset import align
from earsight.engine import IsolatedWorker, TookTooLong, WorkerDied
from earsight.errors import BusyError, MediaError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.search.sandbox import limit_memory
from earsight.media import shift_sound
from earsight.web.media import file_of
from earsight.web.temporary_folder import TemporaryFolder

MAX_COPIES = 6
MAX_COPY_BYTES = 1_000_000_000  # of all copies together
MAX_OFFSETS = 10_000
MAX_ASKING = 4  # requests at a time

_CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv")  # that a copy can have; another becomes one of two
Key = tuple[str, int, int]  # path, size and time of a file


@dataclass(frozen=True)
class FoundOffset:
    """What the independent estimates say of one clip."""

    seconds: float | None  # by how much its sound comes after its video; None: no answer
    agreeing: int
    of: int
    why: str  # there is no answer; empty where there is one


class WorkerError(MediaError):
    """The process failed at a clip; another time it may not."""


class OffsetReader:
    """Reads clips in a process of its own, one at a time.

    Args:
        patience: Seconds after which work on a clip is ended.
        waiting: Seconds that a clip waits for the one before it.
    """

    def __init__(self, patience: float = 60.0, waiting: float = 20.0) -> None:
        self._patience, self._waiting = patience, waiting
        self._worker = IsolatedWorker(limit_memory)

    def find(self, clip: Path) -> FoundOffset:
        """Return by how much the sound of a clip is off, or why that cannot be told."""
        found: FoundOffset = self._call(_find, clip)
        return found

    def repair(self, clip: Path, seconds: float, folder: Path) -> Path:
        """Write a copy whose sound is `seconds` earlier into a folder, and return it."""
        made: Path = self._call(_repair, (clip, seconds, folder))
        return made

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def _call(self, work: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return self._worker.call(work, argument, self._patience, wait=self._waiting)
        except TookTooLong as error:
            told = f"It took longer than {self._patience:g} s; earsight align has no such limit."
            raise WorkerError(told) from error
        except WorkerDied as error:
            raise WorkerError("Reading it crashed its decoder.") from error
        except MemoryError as error:
            raise WorkerError("It takes too much memory.") from error


def _find(clip: Path) -> FoundOffset:
    found = align(clip)
    offset = found.offset
    return FoundOffset(offset.seconds, offset.agreement, found.witnesses, offset.why)


def _repair(job: tuple[Path, float, Path]) -> Path:
    clip, seconds, folder = job
    ending = clip.suffix.lower()
    endings = (ending,) if ending in _CONTAINERS else (".mp4", ".mkv")
    for ending in endings:
        out = folder / f"repaired{ending}"
        try:
            shift_sound(clip, out, -seconds)
            break
        except MediaError:
            if ending == endings[-1]:
                raise
    return out


class SyncRepair:
    """Offsets and repaired copies of the clips of one library, for as long as the server runs."""

    def __init__(self, reader: OffsetReader | None = None) -> None:
        self._reader = reader or OffsetReader()
        self._folder = TemporaryFolder()
        self._asking = threading.Semaphore(MAX_ASKING)
        self._copying = threading.Lock()
        self._offsets: OrderedDict[Key, FoundOffset] = OrderedDict()
        self._copies: OrderedDict[Key, Path] = OrderedDict()

    def close(self) -> None:
        """End what reads, and remove the copies."""
        self._reader.close()
        self._folder.close()

    def offset(self, clip: LibraryClip, root: Path) -> dict[str, Any]:
        """Return the fields of `models.Offset`."""
        path = file_of(clip, root)
        try:
            found = self._find(path)
        except MediaError as error:
            found = FoundOffset(None, 0, 0, str(error))
        return {
            "offset_ms": None if found.seconds is None else round(1000 * found.seconds, 1),
            "confidence": found.agreeing / found.of if found.of else 0.0,
            "agreeing": found.agreeing,
            "of": found.of,
            "why": found.why.replace(str(path), clip.path),
        }

    def repaired(self, clip: LibraryClip, root: Path) -> BinaryIO:
        """Return a copy of a clip whose sound is in sync, opened: another may take its place."""
        path = file_of(clip, root)
        try:
            found = self._find(path)
            if found.seconds is None:
                raise MediaError(f"It has no offset to repair. {found.why}")
            return self._copy(path, found.seconds)
        except MediaError as error:
            why = str(error).replace(str(path), clip.path)
            raise HTTPException(409, f"{clip.path} cannot be repaired here. {why}") from error

    def _find(self, path: Path) -> FoundOffset:
        key = _key(path)
        if key in self._offsets:
            return self._offsets[key]
        with self._turn():
            found = self._reader.find(path)
        self._offsets[key] = found
        if len(self._offsets) > MAX_OFFSETS:
            self._offsets.popitem(last=False)
        return found

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Refuse who comes when many wait: each of them holds one of the server's threads."""
        if not self._asking.acquire(blocking=False):
            raise BusyError("Other clips are being read. Try again in a moment.")
        try:
            yield
        finally:
            self._asking.release()

    def _copy(self, path: Path, seconds: float) -> BinaryIO:
        key = _key(path)
        if key[1] > MAX_COPY_BYTES:
            raise MediaError(
                f"A copy may have {MAX_COPY_BYTES / 1e6:,.0f} MB here; it has "
                f"{key[1] / 1e6:,.0f} MB. earsight align -o has no such limit."
            )
        with self._turn(), self._copying:
            if key in self._copies and self._copies[key].exists():
                self._copies.move_to_end(key)
                return self._copies[key].open("rb")
            sizes = sum(size for _, size, _ in self._copies)
            while self._copies and (
                len(self._copies) >= MAX_COPIES or sizes + key[1] > MAX_COPY_BYTES
            ):
                (_, size, _), oldest = self._copies.popitem(last=False)
                shutil.rmtree(oldest.parent, ignore_errors=True)
                sizes -= size
            folder = Path(tempfile.mkdtemp(dir=self._folder.path))
            self._copies[key] = self._reader.repair(path, seconds, folder)
            return self._copies[key].open("rb")


def _key(path: Path) -> Key:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns

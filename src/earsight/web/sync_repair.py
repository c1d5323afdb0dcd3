"""Whether the sound of a clip is in step with its sight, and copies in which it is.

What was found is kept while the file is as it was; what took too long or crashed is tried again
after a while: a busy machine may have been why. Copies lie in a private folder, few and small
enough; the one that was asked for longest ago makes room, and all go with the server.
"""

import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from earsight.errors import BusyError, MediaError
from earsight.library.catalog.clips import LibraryClip
from earsight.web.media import NotServedError, file_of
from earsight.web.offset_worker import Found, OffsetReader
from earsight.web.temporary_folder import PrivateFolder

Key = tuple[str, int, int]


@dataclass(frozen=True)
class Bounds:
    """What copies may take.

    Attributes:
        copies: That lie there at a time.
        bytes: Of all of them together.
        held: Seconds in which one that was just asked for is not removed: it is being opened.
        findings: Offsets that are remembered.
        asking: Clips that are looked at or wait for it.
        again: Seconds after which a clip is looked at again that took too long, or crashed.
    """

    copies: int = 6
    bytes: int = 1_000_000_000
    held: float = 5.0
    findings: int = 10_000
    asking: int = 4
    again: float = 600.0


@dataclass
class _Copy:
    folder: Path
    path: Path
    size: int
    asked: float


class InSync:
    """Offsets and repaired copies of the clips of one library, for as long as the server runs.

    Args:
        bounds: What copies may take.
        reader: Looks at the clips.
    """

    def __init__(self, bounds: Bounds | None = None, reader: OffsetReader | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._reader = reader or OffsetReader()
        self._private = PrivateFolder()
        self._turns = threading.Semaphore(self._bounds.asking)
        self._copying = threading.Lock()
        self._lock = threading.Lock()
        self._found: OrderedDict[Key, tuple[Found, float]] = OrderedDict()
        self._copies: dict[Key, _Copy] = {}

    def close(self) -> None:
        """End what reads, and remove the copies."""
        self._reader.close()
        self._private.close()

    def offset(self, clip: LibraryClip, root: Path) -> dict[str, Any]:
        """Return by how much the sound of a clip is off, or why there is no answer.

        Raises:
            NotServedError: Its file is not served.
            BusyError: Other clips are being looked at.
        """
        path = file_of(clip, root)
        found = self._find(path, _key(path))
        return {
            "offset_ms": None if found.seconds is None else round(1000 * found.seconds, 1),
            "confidence": found.agreeing / found.of if found.of else 0.0,
            "agreeing": found.agreeing,
            "of": found.of,
            "why": found.why.replace(str(path), clip.path),
        }

    def repaired(self, clip: LibraryClip, root: Path) -> BinaryIO:
        """Return a copy of a clip whose sound is in step, opened: others may take its room.

        Raises:
            NotServedError: Its file is not served, or no copy can be made.
            BusyError: Other clips are being looked at.
        """
        path = file_of(clip, root)
        key = _key(path)
        if (kept := self._kept(key)) is not None:
            return kept
        found = self._find(path, key)
        if found.seconds is None:
            why = found.why.replace(str(path), clip.path)
            raise NotServedError(409, f"{clip.path} has no offset to repair. {why}")
        with self._turn(), self._copying:
            try:
                return self._kept(key) or self._copy(path, key, found)
            except MediaError as error:
                why = str(error).replace(str(path), clip.path)
                raise NotServedError(409, f"{clip.path} cannot be repaired here. {why}") from error

    def _find(self, path: Path, key: Key) -> Found:
        with self._lock:
            if key in self._found:
                found, when = self._found[key]
                if found.lasting or time.monotonic() - when < self._bounds.again:
                    self._found.move_to_end(key)
                    return found
        with self._turn():
            found = self._reader.find(path)
        with self._lock:
            self._found[key] = found, time.monotonic()
            self._found.move_to_end(key)
            if len(self._found) > self._bounds.findings:
                self._found.popitem(last=False)
        return found

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let few wait: each of them holds one of the server's threads."""
        if not self._turns.acquire(blocking=False):
            raise BusyError("Other clips are being looked at; try again in a moment.")
        try:
            yield
        finally:
            self._turns.release()

    def _kept(self, key: Key) -> BinaryIO | None:
        with self._lock:
            copy = self._copies.get(key)
            if copy is None:
                return None
            copy.asked = time.monotonic()
            try:
                return copy.path.open("rb")
            except FileNotFoundError:  # a cleaner of temporary files was here
                return None

    def _copy(self, path: Path, key: Key, found: Found) -> BinaryIO:
        self._make_room(key[1])
        folder = Path(tempfile.mkdtemp(dir=self._private.path()))
        try:
            made = self._reader.repair(path, found, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            copy = _Copy(folder, made, made.stat().st_size, time.monotonic())
            self._copies[key] = copy
            return made.open("rb")

    def _make_room(self, size: int) -> None:
        bounds = self._bounds
        if size > bounds.bytes:
            raise MediaError(
                f"Copies may have {bounds.bytes / 1e6:,.0f} MB here; it has {size / 1e6:,.0f} MB. "
                "earsight align -o has no such limit."
            )
        with self._lock:
            oldest = sorted(self._copies, key=lambda key: self._copies[key].asked)
            for key in oldest:
                used = sum(copy.size for copy in self._copies.values())
                if len(self._copies) < bounds.copies and used + size <= bounds.bytes:
                    return
                if time.monotonic() - self._copies[key].asked < bounds.held:
                    raise BusyError("Other copies are being opened; try again in a moment.")
                shutil.rmtree(self._copies.pop(key).folder, ignore_errors=True)


def _key(path: Path) -> Key:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns

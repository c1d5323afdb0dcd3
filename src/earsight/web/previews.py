"""Thumbnails and waveforms, kept in memory up to a limit; what was used last stays."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

from starlette.exceptions import HTTPException

from earsight.errors import BusyError, MediaError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.reports.preview import PreviewReader
from earsight.web.media import file_of

N_PEAKS = 200
MAX_BYTES = 64 << 20  # of memory, all previews together
MAX_ASKING = 14  # for each kind; each of them holds one of the server's 40 threads
WAITING = 20.0  # seconds that a request waits while another one makes the same
RETRY = 60.0  # seconds after which a clip is tried again that could not be read

_BUSY = "Many clips are being read. Try again in a moment."
Key = tuple[Any, ...]  # "thumbnail" or "waveform", the content, and at which second


class Previews:
    """Makes thumbnails and waveforms, each once, however many ask for it meanwhile."""

    def __init__(self, reader: PreviewReader | None = None) -> None:
        self._reader = reader or PreviewReader()
        kinds = ("thumbnail", "waveform")
        self._asking = {kind: threading.Semaphore(MAX_ASKING) for kind in kinds}
        self._lock = threading.Lock()
        self._making: dict[Key, Future[Any]] = {}
        self._kept: OrderedDict[Key, tuple[Any, int]] = OrderedDict()  # with its size
        self._failed: OrderedDict[Key, tuple[str, float]] = OrderedDict()  # why, and when
        self._size = 0

    def warm(self) -> None:
        """Start the processes that read clips, in the background."""
        self._reader.warm()

    def close(self) -> None:
        """End them."""
        self._reader.close()

    def thumbnail(self, clip: LibraryClip, root: Path, at: float | None) -> bytes:
        """Return a frame as a JPEG; without a time, one from near the clip's beginning."""
        if "visual" not in clip.has:
            raise HTTPException(404, f"{clip.path} has no video to show.")
        path = file_of(clip, root)
        moment = round(min(3.0, (clip.seconds or 0.0) / 2) if at is None else at, 2)

        def make() -> tuple[bytes, int]:
            made = self._reader.picture(path, moment)
            return made, len(made)

        return cast(bytes, self._get(("thumbnail", clip.content, moment), make))

    def waveform(self, clip: LibraryClip, root: Path) -> dict[str, Any]:
        """Return the peaks of a clip's sound and its duration."""
        if "audio" not in clip.has:
            raise HTTPException(404, f"{clip.path} has no sound to show.")
        path = file_of(clip, root)

        def make() -> tuple[dict[str, Any], int]:
            heights, seconds = self._reader.peaks(path, N_PEAKS)
            peaks = [round(height, 4) for height in heights]
            return {"peaks": peaks, "seconds": seconds}, 40 * N_PEAKS

        return cast(dict[str, Any], self._get(("waveform", clip.content), make))

    def _get(self, key: Key, make: Callable[[], tuple[Any, int]]) -> Any:
        """Return what is kept, or make it: once, however many ask for it meanwhile."""
        with self._lock:
            if (kept := self._find(key)) is not None:
                return kept
        if not self._asking[key[0]].acquire(blocking=False):
            raise BusyError(_BUSY)
        try:
            with self._lock:
                if (kept := self._find(key)) is not None:
                    return kept
                making = self._making.get(key)
                if making is None:
                    mine = self._making[key] = Future()
            if making is None:
                return self._make(key, make, mine)
            return making.result(WAITING)
        except TimeoutError as error:
            raise BusyError(_BUSY) from error
        finally:
            self._asking[key[0]].release()

    def _find(self, key: Key) -> Any:
        """Return what is kept, or None; raise what failed a moment ago, at any of its seconds."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        why, when = self._failed.get(key[:2], ("", 0.0))
        if why and time.monotonic() - when < RETRY:
            raise HTTPException(404, f"{why} It is tried again in a while.")
        return None

    def _make(self, key: Key, make: Callable[[], tuple[Any, int]], future: Future[Any]) -> Any:
        try:
            made, size = make()
        except MediaError as error:
            with self._lock:
                self._failed[key[:2]] = str(error), time.monotonic()
                if len(self._failed) > 10_000:
                    self._failed.popitem(last=False)
            told = HTTPException(404, str(error))
            future.set_exception(told)
            raise told from error
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            with self._lock:
                self._kept[key] = (made, size)
                self._size += size
                while self._size > MAX_BYTES:
                    self._size -= self._kept.popitem(last=False)[1][1]
            future.set_result(made)
            return made
        finally:
            with self._lock:
                del self._making[key]

"""Files of clips, by id: bytes, faces and waveforms. No name from a request becomes a path."""

import os
import re
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from earsight.errors import BusyError, InputError, LibraryError, MediaError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.folder_handle import open_directory
from earsight.library.catalog.sidecars import text_beside
from earsight.library.reports import preview
from earsight.library.reports.preview_worker import FaceReader
from earsight.web.desktop import show_folder
from earsight.web.error_handlers import is_of_a_file

N_PEAKS = 200
Key = tuple[Any, ...]  # which kind of face, the content, and what else
_TYPES = {
    **dict.fromkeys(("aac",), "audio/aac"),
    **dict.fromkeys(("ac3", "eac3"), "audio/ac3"),
    **dict.fromkeys(("aif", "aiff"), "audio/aiff"),
    "flac": "audio/flac",
    **dict.fromkeys(("m4a",), "audio/mp4"),
    **dict.fromkeys(("mp2", "mp3"), "audio/mpeg"),
    **dict.fromkeys(("oga", "ogg", "opus"), "audio/ogg"),
    **dict.fromkeys(("mka",), "audio/webm"),
    "wav": "audio/wav",
    **dict.fromkeys(("mp4", "m4v", "mov", "f4v"), "video/mp4"),
    **dict.fromkeys(("mkv", "webm"), "video/webm"),
    **dict.fromkeys(("mpg", "mpeg", "vob"), "video/mpeg"),
    **dict.fromkeys(("ts", "mts", "m2ts"), "video/mp2t"),
    "ogv": "video/ogg",
    "avi": "video/x-msvideo",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
}
_OTHER = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


_BUSY = "Many clips are being looked at; try again in a moment."


class NotServedError(InputError):
    """What was asked for is not served, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def file_of(clip: LibraryClip, root: Path) -> Path:
    """Return the file of a clip, which must lie in the clips folder itself, links followed.

    Raises:
        NotServedError: It is gone, on another machine or not known where, no file, or a link leads
            out of the folder.
    """
    if clip.root is None and not clip.file.is_absolute():
        raise NotServedError(
            404,
            f"This machine does not know where the file of {clip.path} is, so it cannot be shown "
            "or played here.",
        )
    return _inside(clip.file, clip.path, clip.root or root)


def _inside(file: Path, shown: str, root: Path) -> Path:
    try:
        real = file.resolve(strict=True)
        inside = real.is_relative_to(root.resolve(strict=True))
        regular = stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        _check_blame(error)
        raise NotServedError(404, f"{shown} is not there any more; index again.") from error
    if not inside:
        raise NotServedError(403, f"{shown} is a link out of the clips folder.")
    if not regular:
        raise NotServedError(403, f"{shown} is not a regular file.")
    return real


def _check_blame(error: Exception) -> None:
    """Raise again what the file is not to blame for, such as too many open files."""
    if isinstance(error, OSError) and not is_of_a_file(error):
        raise error


def text_of(clip: LibraryClip, root: Path, start: float | None, end: float | None) -> str:
    """Return how the text beside a clip begins, or what subtitles say in a span.

    Raises:
        NotServedError: There is none, it cannot be read, or it lies elsewhere.
    """
    file_of(clip, root)
    text = text_beside(clip.file) if clip.text else None
    if text is None:
        raise NotServedError(404, f"{clip.path} has no text beside it.")
    real = _inside(text, f"The text of {clip.path}", clip.root or root)
    try:
        return preview.words(real, start, end)
    except (OSError, ValueError) as error:
        _check_blame(error)
        why = error.strerror if isinstance(error, OSError) else error
        raise NotServedError(404, f"The text of {clip.path} cannot be read: {why}.") from error


def bytes_of(clip: LibraryClip, root: Path, request: Request) -> FileResponse:
    """Answer with a clip's file, or with the one range of it that is asked for.

    Other ranges than one are answered by the whole file, as HTTP allows. The file is opened below
    the clips folder without following links, of which `file_of` has left none in its path; so what
    is put in its place meanwhile is not served either.

    Raises:
        NotServedError: As `file_of`; or the range lies beyond the file.
    """
    real, within = file_of(clip, root), (clip.root or root).resolve()
    try:
        with open_directory(within, follow=True) as folder:
            descriptor = folder.open(os.fspath(real.relative_to(within)))
    except (OSError, ValueError, LibraryError) as error:
        _check_blame(error)
        raise NotServedError(404, f"{clip.path} is not there any more; index again.") from error
    return answer_with(os.fdopen(descriptor, "rb"), real.suffix, request)


def answer_with(file: BinaryIO, suffix: str, request: Request) -> FileResponse:
    """Answer with an open file, or with the one range of it that is asked for.

    Raises:
        NotServedError: The range lies beyond the file.
    """
    try:
        _one_range(request, os.fstat(file.fileno()).st_size)
    except NotServedError:
        file.close()
        raise
    return _OpenFile(file, _TYPES.get(suffix.lower().lstrip("."), _OTHER))


class _OpenFile(FileResponse):
    """Sends a file that is open, and closes it."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        headers = {"Cache-Control": "private, no-cache"}
        if kind == _OTHER:
            headers["Content-Disposition"] = "attachment"
        self._file, found = file, os.fstat(file.fileno())
        path = f"/dev/fd/{file.fileno()}"
        super().__init__(path, media_type=kind, headers=headers, stat_result=found)

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        """Tell size and time; a time before or after those that a date can hold is told as 1970."""
        try:
            super().set_stat_headers(stat_result)
        except (ValueError, OverflowError, OSError):
            super().set_stat_headers(os.stat_result((*stat_result[:7], 0, 0, 0)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def _one_range(request: Request, size: int) -> None:
    """Leave the Range header only where it asks for one span of the file."""
    asked = request.headers.getlist("range")
    match = _RANGE.fullmatch(asked[0].replace(" ", "")) if len(asked) == 1 else None
    first, last = match.groups() if match else ("", "")
    is_span = bool(first or last) and not (first and last and int(first) > int(last))
    if not is_span:
        kept = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
        request.scope["headers"] = kept
    elif (first and int(first) >= size) or (not first and int(last) == 0):
        raise NotServedError(416, f"The file has {size:,} bytes; {asked[0]} is beyond them.")


@dataclass(frozen=True)
class FaceBounds:
    """What faces may take.

    Attributes:
        bytes: Of memory, all that are kept together.
        asking: Requests that make or await a thumbnail, and as many a waveform: each of them holds
            one of the server's 40 threads.
        waiting: Seconds that a request waits for another one's making the same.
        again: Seconds after which a clip is looked at again that could not be read.
        failures: Clips of which it is remembered.
    """

    bytes: int = 64 << 20
    asking: int = 14
    waiting: float = 20.0
    again: float = 60.0
    failures: int = 10_000


class Faces:
    """Thumbnails and waveforms, kept in memory up to a limit; what was used last stays.

    Args:
        bounds: What they may take.
        reader: Makes them.
    """

    def __init__(self, bounds: FaceBounds | None = None, reader: FaceReader | None = None) -> None:
        self._bounds = bounds or FaceBounds()
        self._reader = reader or FaceReader()
        kinds = ("thumbnail", "waveform")
        self._asking = {kind: threading.Semaphore(self._bounds.asking) for kind in kinds}
        self._lock = threading.Lock()
        self._turns: dict[Key, tuple[threading.Lock, int]] = {}  # lock, how many ask
        self._kept: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._failed: OrderedDict[Key, tuple[str, float]] = OrderedDict()  # why, and when
        self._size = 0

    def warm(self) -> None:
        """Start what reads clips, in the background."""
        self._reader.warm()

    def close(self) -> None:
        """End what reads clips."""
        self._reader.close()

    def thumbnail(self, clip: LibraryClip, root: Path, at: float | None) -> bytes:
        """Return a frame as a JPEG; without a time, one from near the clip's beginning.

        Raises:
            NotServedError: The clip has no sight, cannot be read, or its file is not served.
            BusyError: Too many are asked for.
        """
        if "visual" not in clip.has:
            raise NotServedError(404, f"{clip.path} has no sight to show.")
        path = file_of(clip, root)
        moment = round(min(3.0, (clip.seconds or 0.0) / 2) if at is None else at, 2)

        def draw() -> tuple[bytes, int]:
            made = self._reader.picture(path, moment)
            return made, len(made)

        return cast(bytes, self._get(("thumbnail", clip.content, moment), draw))

    def waveform(self, clip: LibraryClip, root: Path) -> dict[str, Any]:
        """Return the peaks of a clip's sound and its length.

        Raises:
            NotServedError: The clip has no sound, cannot be read, or its file is not served.
            BusyError: Too many are asked for.
        """
        if "audio" not in clip.has:
            raise NotServedError(404, f"{clip.path} has no sound to show.")
        path = file_of(clip, root)

        def listen() -> tuple[dict[str, Any], int]:
            heights, seconds = self._reader.peaks(path, N_PEAKS)
            peaks = [round(height, 4) for height in heights]
            return {"peaks": peaks, "seconds": seconds}, 40 * N_PEAKS

        return cast(dict[str, Any], self._get(("waveform", clip.content), listen))

    def _get(self, key: Key, make: Callable[[], tuple[Any, int]]) -> Any:
        """Return what is kept, or make it: once, however many ask for it meanwhile."""
        if (kept := self._find(key)) is not None:
            return kept
        if not self._asking[key[0]].acquire(blocking=False):
            raise BusyError(_BUSY)
        try:
            with self._turn(key):
                kept = self._find(key)
                return self._keep(key, *make()) if kept is None else kept
        except MediaError as error:
            self._remember(key, str(error))
            raise NotServedError(404, str(error)) from error
        finally:
            self._asking[key[0]].release()

    def _remember(self, key: Key, why: str) -> None:
        with self._lock:
            self._failed[key[:2]] = why, time.monotonic()
            self._failed.move_to_end(key[:2])
            if len(self._failed) > self._bounds.failures:
                self._failed.popitem(last=False)

    @contextmanager
    def _turn(self, key: Key) -> Iterator[None]:
        """Let one at a time go on; the lock stays for as long as anybody holds or awaits it."""
        with self._lock:
            turn, asking = self._turns.get(key, (threading.Lock(), 0))
            self._turns[key] = turn, asking + 1
        try:
            if not turn.acquire(timeout=self._bounds.waiting):
                raise BusyError(_BUSY)
            try:
                yield
            finally:
                turn.release()
        finally:
            with self._lock:
                turn, asking = self._turns.pop(key)
                if asking > 1:
                    self._turns[key] = turn, asking - 1

    def _find(self, key: Key) -> Any:
        """Return what is kept; None where nothing is.

        Raises:
            NotServedError: It could not be made a moment ago, at whatever second of the clip.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            why, when = self._failed.get(key[:2], ("", 0.0))
        if why and time.monotonic() - when < self._bounds.again:
            raise NotServedError(404, f"{why} It is tried again in a while.")
        return None

    def _keep(self, key: Key, made: Any, size: int) -> Any:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (made, size)
                self._size += size
            while self._size > self._bounds.bytes:
                self._size -= self._kept.popitem(last=False)[1][1]
        return made


def open_folder(clip: LibraryClip, root: Path) -> Path:
    """Open the folder of a clip in this machine's file manager; return the folder.

    Raises:
        NotServedError: The file is not served, or there is no file manager.
    """
    path = file_of(clip, root)
    try:
        show_folder(path)
    except OSError as error:
        _check_blame(error)
        raise NotServedError(
            409,
            f"No file manager could be started ({error.filename}). The clip is in {path.parent}.",
        ) from error
    return path.parent

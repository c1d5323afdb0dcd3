"""Files of clips, by number. No name from a request becomes a path."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from earsight.errors import LibraryError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.folder_handle import open_directory
from earsight.library.catalog.sidecars import text_file_of
from earsight.library.reports import preview
from earsight.web.desktop import show_folder
from earsight.web.error_handlers import is_of_a_file

_ENDINGS = """
audio/aac aac; audio/ac3 ac3 eac3; audio/aiff aif aiff; audio/flac flac; audio/mp4 m4a;
audio/mpeg mp2 mp3; audio/ogg oga ogg opus; audio/wav wav; audio/webm mka;
image/bmp bmp; image/gif gif; image/jpeg jpg jpeg; image/png png; image/tiff tif tiff;
image/webp webp; video/mp2t ts mts m2ts; video/mp4 mp4 m4v mov f4v; video/mpeg mpg mpeg vob;
video/ogg ogv; video/webm mkv webm; video/x-msvideo avi
"""
_TYPES = {
    ending: kind for kind, *endings in map(str.split, _ENDINGS.split(";")) for ending in endings
}
_OTHER = "application/octet-stream"


def file_of(clip: LibraryClip, root: Path) -> Path:
    """Return the file of a clip; refuse one that is gone, or leads out of the clips folder."""
    if clip.root is None and not clip.file.is_absolute():
        raise HTTPException(
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
        _raise_fault_of_machine(error)
        raise _gone(shown) from error
    if not inside:
        raise HTTPException(403, f"{shown} is a link out of the clips folder.")
    if not regular:
        raise HTTPException(403, f"{shown} is not a regular file.")
    return real


def _gone(shown: str) -> HTTPException:
    return HTTPException(404, f"{shown} is not there any more; index again.")


def _raise_fault_of_machine(error: Exception) -> None:
    """Raise again what is no fault of the file, such as too many open files."""
    if isinstance(error, OSError) and not is_of_a_file(error):
        raise error


def text_of(clip: LibraryClip, root: Path, start: float | None, end: float | None) -> str:
    """Return how the text beside a clip begins, or the subtitles of a span."""
    file_of(clip, root)
    text = text_file_of(clip.file) if clip.text else None
    if text is None:
        raise HTTPException(404, f"{clip.path} has no text beside it.")
    real = _inside(text, f"The text of {clip.path}", clip.root or root)
    try:
        return preview.words(real, start, end)
    except (OSError, ValueError) as error:
        _raise_fault_of_machine(error)
        why = error.strerror if isinstance(error, OSError) else error
        raise HTTPException(404, f"The text of {clip.path} cannot be read: {why}.") from error


def file_response(clip: LibraryClip, root: Path) -> FileResponse:
    """Return a clip's file, or the ranges of it that are asked for.

    It is opened below the clips folder without following links, of which `file_of` has left none
    in its path. This stops a link that is put in its place between the check and the opening.
    """
    real, within = file_of(clip, root), (clip.root or root).resolve()
    try:
        with open_directory(within, follow=True) as folder:
            descriptor = folder.open(os.fspath(real.relative_to(within)))
    except (OSError, ValueError, LibraryError) as error:
        _raise_fault_of_machine(error)
        raise _gone(clip.path) from error
    return OpenFileResponse(os.fdopen(descriptor, "rb"), real.suffix)


class OpenFileResponse(FileResponse):
    """Sends a file that is open, and closes it."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._file = file
        kind = _TYPES.get(suffix.lower().lstrip("."), _OTHER)
        headers = {"Cache-Control": "private, no-cache"}
        if kind == _OTHER:  # stops a file of unknown kind from being opened as a page
            headers["Content-Disposition"] = "attachment"
        path = f"/dev/fd/{file.fileno()}"
        found = os.fstat(file.fileno())
        super().__init__(path, media_type=kind, headers=headers, stat_result=found)

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        """Tell size and time; a time before or after those that a date can hold is told as 1970."""
        try:
            super().set_stat_headers(stat_result)
        except (ValueError, OverflowError, OSError):
            super().set_stat_headers(os.stat_result((*stat_result[:7], 0, 0, 0)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)


def open_folder(clip: LibraryClip, root: Path) -> Path:
    """Open the folder of a clip in this machine's file manager; return the folder."""
    path = file_of(clip, root)
    try:
        show_folder(path)
    except OSError as error:
        _raise_fault_of_machine(error)
        told = f"No file manager could be started ({error.filename}). The clip is in {path.parent}."
        raise HTTPException(409, told) from error
    return path.parent

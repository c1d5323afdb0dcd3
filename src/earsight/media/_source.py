"""Opening a file safely: what it is, by its content, and what is refused.

The lock is libav's demuxer list: playlists are not on it, whatever a file is called. Behind it,
libav reads through a Python file object without a name, and no protocol may open another file.
"""

import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from earsight.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from PIL.Image import Image

MEDIA_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("aac", "ac3", "aif", "aiff", "amr", "ape", "au", "caf", "eac3", "flac", "m4a", "mka"),
        *("mp2", "mp3", "oga", "ogg", "opus", "tta", "w64", "wav", "wma", "wv"),
        *("3g2", "3gp", "asf", "avi", "dv", "f4v", "flv", "gif", "m2ts", "m4v", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "mts", "mxf", "nut", "ogv", "rm", "rmvb", "ts", "vob", "webm"),
        *("wmv", "bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp"),
    )
)
"""File name endings, in lower case, that a scan of a folder takes for media."""

MAX_PIXELS = 100_000_000
"""Pixels of a frame or picture above which it is refused before any memory is taken."""

MIN_RATE, MAX_RATE = 1000, 1_000_000
"""Sample rates in Hz between which sound is opened: at 1 Hz, 2 MB would last for weeks."""

CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dv,eac3,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,tta,w64,wav,wv"
)
"""libav's names of the demuxers that may be used; each reads the one file it is given."""

HEAD = 8192  # bytes looked at to tell what a file is

_PICTURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM.{4}\0{4}",
    "TIFF": rb"II\*\0|MM\0\*",
}
_BOM = rb"(?:\xef\xbb\xbf)?\s*"
_REFUSED = {
    "a playlist (hls), which reads other files": _BOM + rb"#EXTM3U",
    "a playlist (ffconcat), which reads other files": _BOM + rb"ffconcat\b",
    "a playlist (dash), which reads other files": rb"[^\0]*<MPD\b",
    "a playlist (smil), which reads other files": rb"[^\0]*<(?i:smil|SmoothStreamingMedia)\b",
    "a playlist (pls or asx), which reads other files": _BOM + rb"(?i:\[playlist\]|<asx\b)",
    "a playlist (asf reference), which reads other files": _BOM + rb"\[Reference\]",
    "a session description (sdp), which opens the network": rb"v=0\r?\n",
    "a HEIF or AVIF picture; save it as JPEG or PNG": rb"....ftyp(?:hei|hev|mif1|msf1|avi[fs])",
}


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, whatever bytes its name is made of.

    Raises:
        MediaError: Missing, not permitted, a folder, a pipe or a device.
    """
    try:
        if not path.is_file() and path.exists():
            raise MediaError("This is not a file but a folder, a pipe or a device.")
        return path.open("rb")
    except FileNotFoundError as error:
        if re.search(r"%\d*d|[*?]", str(path)):
            raise MediaError(
                "There is no such file. A pattern of an image sequence is not opened: it reads "
                "other files; Earsight opens self-contained media only."
            ) from error
        raise MediaError("There is no such file.") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"The file cannot be opened: {error}.") from error


def check_head(head: bytes) -> None:
    """Refuse by name what is known and not opened, by the first bytes of a file.

    Raises:
        MediaError: Empty, a playlist, a session description, or a HEIF picture.
    """
    if not head:
        raise MediaError("The file is empty.")
    for what, pattern in _REFUSED.items():
        if re.match(pattern, head, re.DOTALL):
            raise MediaError(f"This is {what}; Earsight opens self-contained media only.")


def picture_format(head: bytes) -> str | None:
    """Return Pillow's name of a still picture's format; None: not a still picture."""
    for name, pattern in _PICTURES.items():
        if re.match(pattern, head, re.DOTALL):
            return name
    return None


def open_container(file: BinaryIO) -> "InputContainer":
    """Open sound or video with libav, through `file` alone.

    Raises:
        MediaError: Not one of `CONTAINERS`, damaged at its start, without its index, or with
            tracks in other files.
    """
    import av

    lacks_index = _check_boxes(file)
    file.seek(0)
    try:
        return av.open(
            _Nameless(file),
            "r",
            buffer_size=1 << 16,
            options={"max_pixels": str(MAX_PIXELS)},
            container_options={
                "format_whitelist": CONTAINERS,
                "protocol_whitelist": "none",
                "enable_drefs": "0",
                "use_absolute_path": "0",
            },
            io_open=_refuse_other_file,
            metadata_errors="replace",
        )
    except av.error.ArgumentError as error:
        raise MediaError(
            "This is no sound or video in a format that Earsight opens (MP4, MOV, Matroska, WebM, "
            "AVI, MPEG, WAV, MP3, FLAC, Ogg and others)."
        ) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if lacks_index:
            raise MediaError(
                "Its index (moov) is missing: the file was cut off, or never finished."
            ) from error
        raise MediaError("This is no sound, video or picture, or its start is damaged.") from error


class _Nameless:
    """A file for libav without the name, by which some demuxers would find neighbours."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _refuse_other_file(url: str, flags: int, options: dict[str, str]) -> Any:
    raise MediaError(f"It wants to read another file, {url!r}; that is refused.")


def _check_boxes(file: BinaryIO) -> bool:
    """Look through the boxes of an MP4 or MOV; return whether its index is missing.

    Raises:
        MediaError: A track's data lie in another file.
    """
    at, size = 0, os.fstat(file.fileno()).st_size
    is_iso = False
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length, name = int.from_bytes(header[:4]), header[4:8]
        is_iso = is_iso or (at == 0 and name in (b"ftyp", b"moov", b"mdat", b"wide", b"free"))
        if not is_iso:
            return False
        if length == 1:
            length = int.from_bytes(header[8:])
        if name == b"moov":
            file.seek(at)
            if _has_external_track(file.read(min(length or size, _MAX_INDEX))):
                raise MediaError(
                    "Its tracks refer to other files (mov data references); Earsight opens "
                    "self-contained media only."
                )
            return False
        if length < 8:
            break
        at += length
    return is_iso


_MAX_INDEX = 1 << 26  # bytes of an MP4's index that are looked through: hours of video


_SHORTEST_ALIAS = 150  # bytes; libav takes a longer one for the way to another file


def _has_external_track(moov: bytes) -> bool:
    for match in re.finditer(rb"dref\0{4}", moov):
        at = match.end() + 4
        for _ in range(min(int.from_bytes(moov[match.end() : at]), 64)):
            size, name = int.from_bytes(moov[at : at + 4]), moov[at + 4 : at + 8]
            inside = moov[at + 8 : at + 12].endswith(b"\1")
            place = moov[at + 12 : at + size].strip(b"\0")
            if name == b"alis" and size > _SHORTEST_ALIAS:
                return True
            if name in (b"url ", b"urn ") and place and not inside:
                return True
            at += max(size, 12)
    return False


def open_picture(file: BinaryIO, kind: str) -> "Image":
    """Open a still picture of the format that Pillow calls `kind`; no pixel is decoded yet.

    Raises:
        MediaError: Its header is damaged, or states more than `MAX_PIXELS` pixels.
    """
    from PIL import Image

    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit is lower; ours is checked below
            picture = Image.open(file, formats=[kind])
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"It declares more than {MAX_PIXELS:,} pixels; that is refused."
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"The {kind} picture is damaged at its start.") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise MediaError(too_large(picture.width, picture.height))
    return picture


def decode_picture(picture: "Image") -> "Image":
    """Return a still picture upright, in RGB, on white where it is transparent.

    Raises:
        MediaError: Damaged, or cut off.
    """
    from PIL import ImageOps

    try:
        return on_white(ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise MediaError(f"The picture is damaged or cut off: {error}.") from error


def on_white(picture: "Image") -> "Image":
    """Return a picture in RGB, laid on white where it is transparent."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits; convert() would cut at 255
        picture = picture.point(lambda value: value / 257.0).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def too_large(width: int, height: int) -> str:
    """Return the message about a frame of more than `MAX_PIXELS` pixels."""
    return f"It declares {width} × {height} pixels; at most {MAX_PIXELS:,} in all are opened."


def check_rate(rate: int) -> None:
    """Let a sample rate pass that sound can have.

    Raises:
        MediaError: It is below `MIN_RATE` or above `MAX_RATE`.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise MediaError(
            f"Its sound declares {rate:,} samples a second; from {MIN_RATE:,} to {MAX_RATE:,} are "
            "opened."
        )

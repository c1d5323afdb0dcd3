"""Whether a file was cut off, where its container has a mark for it that libav does not report."""

import os
import re
from typing import BinaryIO

OGG_PAGE = 65307  # bytes of the longest page of an Ogg file
_ENDLESS = 0x7FFF0000  # sizes from here on are what a recorder writes that cannot seek back


def is_cut_off(file: BinaryIO) -> bool:
    """Return whether a RIFF, AIFF, MP3, Ogg or GIF file lacks its end.

    RIFF and AIFF state their size, and so does the Xing header of most MP3 files; an Ogg page
    states its own, and a GIF ends with a semicolon. Any other file is taken to be whole.
    """
    size = os.fstat(file.fileno()).st_size
    head = _read(file, 0, 12)
    if head[:4] in (b"RIFF", b"FORM"):
        stated = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        return stated < _ENDLESS and stated + 8 > size + 1  # a byte of padding
    if head[:4] == b"OggS":
        return _lacks_page_end(_read(file, max(size - 2 * OGG_PAGE, 0), 2 * OGG_PAGE))
    if head[:3] == b"GIF":
        return b";" not in _read(file, max(size - 16, 0), 16)
    return _lacks_mp3_end(file, head, size)


def _read(file: BinaryIO, at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n)


def _lacks_page_end(tail: bytes) -> bool:
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return at >= 0
    n_segments = tail[at + 26]
    segments = tail[at + 27 : at + 27 + n_segments]
    return len(segments) < n_segments or at + 27 + n_segments + sum(segments) > len(tail)


def _lacks_mp3_end(file: BinaryIO, head: bytes, size: int) -> bool:
    start = 0
    if head[:3] == b"ID3":  # its size is in four bytes of seven bits
        start = 10 + sum(
            byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
        )
    frame = _read(file, start, 256)
    found = re.match(rb"\xff[\xe2-\xff].{2,40}?(?:Xing|Info)\0\0\0(.)(.{8})", frame, re.DOTALL)
    if not found:
        return False
    flags, numbers = found[1][0], found[2]
    at = 4 * (flags & 1)  # the count of frames comes first, where it is there
    return bool(flags & 2) and start + int.from_bytes(numbers[at : at + 4]) > size

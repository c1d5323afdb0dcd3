"""Whether a file lacks a part, where its container has a mark for it that libav does not report."""

import os
import re
from typing import BinaryIO

OGG_PAGE = 65307  # bytes of the longest page of an Ogg file
_GIF_END = 16  # bytes at a GIF's end in which its semicolon is looked for; some are padded
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
        return b";" not in _read(file, max(size - _GIF_END, 0), _GIF_END)
    return _lacks_mp3_end(file, head, size)


def broken_at(file: BinaryIO) -> int | None:
    """Return the byte at which the chain of a GIF's blocks breaks; None where it does not.

    Of what comes after it, libav reads nothing, and reports nothing. Any other file: None.
    """
    size = os.fstat(file.fileno()).st_size
    head = _read(file, 0, 13)
    if head[:3] != b"GIF":
        return None
    if len(head) < 13:
        return len(head)
    file.seek(_palette(head[10]), os.SEEK_CUR)
    while True:
        at = file.tell()
        kind = file.read(1)
        if kind == b";" and size - at <= _GIF_END:
            return None
        if kind == b"!":  # an extension: its label, then blocks
            file.seek(1, os.SEEK_CUR)
        elif kind == b"," and len(frame := file.read(9)) == 9:  # then a code size and blocks
            file.seek(_palette(frame[8]) + 1, os.SEEK_CUR)
        else:
            return at
        while length := int.from_bytes(file.read(1)):  # of a block; 0 ends them, as does the file
            file.seek(length, os.SEEK_CUR)


def _palette(flags: int) -> int:
    """Return the bytes of the palette that a GIF's flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


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

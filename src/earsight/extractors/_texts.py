"""Text files: their encoding, and subtitles without their numbers and times."""

import codecs
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

MAX_BYTES = 4 * 2**20  # a longer text is none that somebody wrote beside a clip
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})(?:[,.](\d{1,3}))?"
_TIMES = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
_TAGS = re.compile(r"</?(?:i|b|u|s|font)\b[^>]*>|\{\\[^}]*\}", re.IGNORECASE)


@dataclass(frozen=True)
class Cue:
    """One subtitle: what is said from `start` to `end` seconds."""

    start: float
    end: float
    text: str


def read_text(path: Path) -> str:
    """Return what a text file says; of subtitles (.srt), the words alone.

    The encoding is UTF-8, or what a byte order mark says. No other one is guessed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large, or of another encoding; or subtitles without any times.
    """
    if path.suffix.lower() == ".srt":
        return " ".join(cue.text for cue in read_cues(path))
    return _decoded(path)


def read_cues(path: Path) -> list[Cue]:
    """Return the subtitles of a .srt file that say something, in the file's order.

    Raises:
        OSError, ValueError: As `read_text`.
    """
    cues = parse_srt(_decoded(path))
    if not cues:
        raise ValueError("it holds no subtitle, a line such as 00:00:01,000 --> 00:00:04,000")
    return cues


def parse_srt(text: str) -> list[Cue]:
    r"""Split subtitles into cues: numbers, times and marks of style are not text.

    >>> parse_srt("1\n00:00:01,500 --> 00:00:04,000\n<i>A dog</i>\nbarks.\n")
    [Cue(start=1.5, end=4.0, text='A dog barks.')]
    """
    lines = text.splitlines()
    where = [i for i, line in enumerate(lines) if _TIMES.match(line)]
    cues = []
    for i, following in pairwise([*where, len(lines)]):
        said = lines[i + 1 : following]
        if following < len(lines) and said and said[-1].strip().isdigit():
            said = said[:-1]  # the number of the next one
        words = " ".join(_TAGS.sub("", " ".join(said)).split())
        found = _TIMES.match(lines[i])
        if words and found:
            cues.append(Cue(_seconds(*found.groups()[:4]), _seconds(*found.groups()[4:]), words))
    return cues


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + float(f"0.{fraction or 0}")


def _decoded(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes; at most {MAX_BYTES} are read")
    blob = path.read_bytes()
    encoding = next((name for bom, name in _BOMS.items() if blob.startswith(bom)), "utf-8")
    text = blob.decode(encoding)
    if "\0" in text:
        raise ValueError("it holds NUL, as UTF-16 without a byte order mark does")
    return text

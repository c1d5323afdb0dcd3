"""Text files: their encoding, and subtitles without their numbers and times."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

MAX_BYTES = 4 * 2**20  # a longer text is none that somebody wrote beside a clip
MAX_HOURS = 24  # nor are later subtitles
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})(?:[,.](\d{1,3}))?"
_TIMES = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
_TAGS = re.compile(
    r"</?(?:i|b|u|s|font)\b[^<>]{0,200}>|\{\\[^{}]{0,200}\}", re.IGNORECASE
)  # bounded, or many that do not end would take the square of their number


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


def read_beginning(path: Path, characters: int) -> str:
    """Return how a text without times begins, of at least so many characters where it has them.

    Raises:
        OSError, ValueError: As `read_text`, for the part that is read.
    """
    with path.open("rb") as file:
        blob = file.read(4 * (characters + 1))  # no encoding takes more bytes for a character
    return _without_nul(codecs.getincrementaldecoder(_encoding(blob))().decode(blob))


def read_cues(path: Path) -> Iterator[Cue]:
    """Yield the subtitles of a .srt file that say something, in the file's order.

    Raises:
        OSError, ValueError: As `read_text`; or a subtitle comes after `MAX_HOURS`.
    """
    cues = parse_srt(_decoded(path))
    first = next(cues, None)
    if first is None:
        raise ValueError("it holds no subtitle, a line such as 00:00:01,000 --> 00:00:04,000")
    yield first
    yield from cues


def parse_srt(text: str) -> Iterator[Cue]:
    r"""Split subtitles into cues: numbers, times and marks of style are not text.

    Raises:
        ValueError: A subtitle comes after `MAX_HOURS`.

    >>> list(parse_srt("1\n00:00:01,500 --> 00:00:04,000\n<i>A dog</i>\nbarks.\n"))
    [Cue(start=1.5, end=4.0, text='A dog barks.')]
    """
    lines = text.splitlines()
    where = [i for i, line in enumerate(lines) if _TIMES.match(line)]
    for i, following in pairwise([*where, len(lines)]):
        said = lines[i + 1 : following]
        if following < len(lines) and said and said[-1].strip().isdigit():
            said = said[:-1]  # the number of the next one
        words = " ".join(_TAGS.sub("", " ".join(said)).split())
        found = _TIMES.match(lines[i])
        if words and found:
            yield Cue(_seconds(*found.groups()[:4]), _seconds(*found.groups()[4:]), words)


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    if len(hours or "") <= 9:  # a number of a million digits is not made
        whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
        if whole < 3600 * MAX_HOURS:
            return whole + float(f"0.{fraction or 0}")
    raise ValueError(
        f"it has a subtitle at {(hours or '')[:20]}:{minutes}:{seconds}; "
        f"only those before {MAX_HOURS} hours are read"
    )


def _decoded(path: Path) -> str:
    blob = _blob(path)
    return _without_nul(blob.decode(_encoding(blob)))


def _blob(path: Path) -> bytes:
    with path.open("rb") as file:
        blob = file.read(MAX_BYTES + 1)
    if len(blob) > MAX_BYTES:
        size = max(path.stat().st_size, len(blob))
        raise ValueError(f"it has {size} bytes; at most {MAX_BYTES} are read")
    return blob


def _encoding(blob: bytes) -> str:
    return next((name for bom, name in _BOMS.items() if blob.startswith(bom)), "utf-8")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds NUL, as UTF-16 without a byte order mark does")
    return text

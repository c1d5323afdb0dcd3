"""What a library stores of the text beside a clip: one row, or one for each window of subtitles."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.extractors import FeatureExtractor, extract_text
from earsight.extractors.preprocessing import text_files
from earsight.library.embedding.extraction import (
    TEXT,
    Extracted,
    Sources,
    Window,
    spans,
    zero_shot_role,
)
from earsight.media import Report, Status

MOST_SAID = 10_000  # characters of subtitles in a window, far more than an extractor takes


def read_text(path: Path, sources: Sources) -> Extracted:
    """Read the text beside a clip: one row, or a row for each window where it has times.

    Args:
        path: A .txt file (UTF-8, or with a byte order mark), or .srt subtitles.
        sources: The library's extractors.
    """
    if sources.text is None:  # known, so that it is not new each time, and no trouble
        return Extracted(Report(Status.OK, message=f"{sources.zero_shot} has no text."), [], {})
    try:
        windows = _text_windows(path, sources.text, zero_shot_role(sources.zero_shot, TEXT))
    except InputError as error:
        return _unread(str(error))
    except ValueError as error:
        return _unread(f"It cannot be read as text: {error}.")
    return Extracted(Report(Status.OK, windows[-1].end), windows, {})


def _text_windows(path: Path, reader: FeatureExtractor, role: str) -> list[Window]:
    """Return a window for each piece of a text; what is said on and on is read once."""
    windows: list[Window] = []
    last = ""
    vectors: dict[str, FloatArray] = {}
    for start, end, said in _pieces(path):
        if said != last or not vectors:
            last, vectors = said, {role: extract_text(said, reader).mean()}
        windows.append(Window(len(windows), start, end, vectors))
    if not windows:
        raise ValueError("none of its subtitles stays for any time")
    return windows


def _pieces(path: Path) -> Iterator[tuple[float, float, str]]:
    """Yield (start, end, text); what has no times is one piece from 0 to 0 s."""
    if path.suffix.lower() != ".srt":
        yield 0.0, 0.0, text_files.read_text(path)
        return
    cues = list(text_files.read_cues(path))
    later = deque(sorted(range(len(cues)), key=lambda i: cues[i].start))
    shown: list[int] = []
    for start, end in spans(max(cue.end for cue in cues)):
        while later and cues[later[0]].start < end:
            shown.append(later.popleft())
        shown = sorted(i for i in shown if cues[i].end > start)  # as the file has them
        if shown:
            yield start, end, _together([cues[i].text for i in shown], start, end)


def _together(said: list[str], start: float, end: float) -> str:
    """Return what is said in one window.

    Raises:
        ValueError: It is more than anyone says.
    """
    length = sum(len(text) + 1 for text in said)
    if length > MOST_SAID:
        raise ValueError(
            f"its subtitles from {start:g} to {end:g} s have {length} characters; at most "
            f"{MOST_SAID} are read of a window"
        )
    return " ".join(said)


def _unread(message: str) -> Extracted:
    return Extracted(Report(message=message), [], {})

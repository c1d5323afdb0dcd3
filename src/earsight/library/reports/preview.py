"""A glimpse of a clip, for people: one frame, or its sound."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earsight.errors import MediaError
from earsight.extractors.preprocessing import text_files
from earsight.media import AudioBlock, Decoder, FrameBlock, FrameRequest, still

RATE = 16_000
_SHORT_SIDE = 240
_PEAK_RATE = 8000
_WORDS = 400  # characters of a text
_MOST_PEAKS = 1 << 16  # kept at a time; beyond it two become one


def frame(clip: Path, at: float) -> npt.NDArray[np.uint8]:
    """Return the frame nearest to `at` seconds: (height, width, 3) RGB, its short side 240.

    Raises:
        MediaError: The clip has no frames.
    """
    best: tuple[float, npt.NDArray[np.uint8]] | None = None
    for block in Decoder(clip, frames=[FrameRequest(4.0, _SHORT_SIDE)]):
        if not isinstance(block, FrameBlock):
            continue
        nearest = int(np.argmin(np.abs(block.times - at)))
        distance = abs(float(block.times[nearest]) - at)
        if best is None or distance < best[0]:
            best = (distance, block.frames[nearest])
        if block.times[-1] > at:
            break
    if best is None:
        raise MediaError(f"{clip} has no frame to show.")
    return best[1]


def loudest(clip: Path) -> float:
    """Return the second just after the clip is loudest: something is to be seen there.

    Raises:
        MediaError: The clip has no sound.
    """
    samples = sound(clip)
    hop = RATE // 10
    whole = samples[: max(1, len(samples) // hop) * hop]
    power = np.array(
        [np.mean(part**2) for part in np.array_split(whole, max(1, len(whole) // hop))]
    )
    return float(power.argmax() + 2) * hop / RATE  # what was heard is seen a moment later


def sound(clip: Path) -> npt.NDArray[np.float32]:
    """Return the whole sound, mono at 16 kHz: (n,) in [−1, 1].

    Raises:
        MediaError: The clip has no sound.
    """
    blocks = [b.samples for b in Decoder(clip, audio=[RATE]) if isinstance(b, AudioBlock)]
    if not blocks:
        raise MediaError(f"{clip} has no sound to show.")
    return np.concatenate(blocks)


def picture(clip: Path, at: float) -> bytes:
    """Return the frame at `at` seconds as a JPEG whose short side is 240; it is found by seeking.

    Raises:
        MediaError: The clip has no frames, or cannot be read.
    """
    import io

    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(still(clip, at, _SHORT_SIDE)).save(made, "JPEG", quality=82)
    return made.getvalue()


def peaks(clip: Path, n: int) -> tuple[npt.NDArray[np.float64], float]:
    """Return how loud a clip is in `n` stretches of it: (n,), the loudest 1; and its seconds.

    Memory does not grow with the clip. Silence, and a stretch without a sample, is 0.

    Raises:
        MediaError: The clip has no sound.
    """
    hop = _PEAK_RATE // 100
    decoder = Decoder(clip, audio=[_PEAK_RATE])
    found: list[float] = []  # the peak of each hundredth of a second, or of two, of four, …
    for block in decoder:
        if isinstance(block, AudioBlock):
            loud = np.abs(block.samples)
            found += np.maximum.reduceat(loud, np.arange(0, len(loud), hop)).tolist()
            while len(found) > _MOST_PEAKS:
                found = [max(found[i : i + 2]) for i in range(0, len(found), 2)]
                hop *= 2
    if not found:
        raise MediaError(f"It has no sound to show. {decoder.report.message}".strip())
    edges = np.linspace(0, len(found), n + 1)
    parts = [found[int(a) : max(int(b), int(a) + 1)] for a, b in pairwise(edges)]
    heights = np.array([max(part, default=0.0) for part in parts])
    return heights / max(heights.max(), 1e-9), decoder.report.duration


def words(text: Path, start: float | None = None, end: float | None = None) -> str:
    """Return how a text begins, 400 characters at most; of subtitles, those from start to end.

    Raises:
        OSError, ValueError: It cannot be read.
    """
    if text.suffix.lower() == ".srt":
        said = _said(text, start or 0.0, end or math.inf)
    else:
        said = " ".join(text_files.read_beginning(text, 10 * _WORDS).split())
    return said if len(said) <= _WORDS else said[: _WORDS - 1] + "…"


def _said(subtitles: Path, start: float, end: float) -> str:
    """Return what is said from start to end, no further than it is shown."""
    said = ""
    for cue in text_files.read_cues(subtitles):
        if cue.start < end and (cue.end > start or end == math.inf):
            said = f"{said} {cue.text[: _WORDS + 1]}".strip()
        if len(said) > _WORDS:
            break
    return said

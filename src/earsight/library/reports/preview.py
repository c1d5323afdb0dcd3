"""A preview of a clip, for people: one frame, its sound, or how its text begins.

`PreviewReader` makes previews of untrusted files in the sandbox.
"""

import importlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import MediaError
from earsight.extractors.preprocessing import text_files
from earsight.library.search.sandbox import Sandbox, busy
from earsight.media import AudioBlock, Decoder, still

RATE = 16_000
_SHORT_SIDE = 240
_PEAK_RATE = 8000
_WORDS = 400  # characters of a text
_MOST_PEAKS = 1 << 16  # kept at a time; beyond it two become one


def frame(clip: Path, at: float) -> npt.NDArray[np.uint8]:
    """Return the frame at `at` seconds: (height, width, 3) RGB, its short side 240.

    Raises:
        MediaError: The clip has no frames, or cannot be read.
    """
    return still(clip, at, _SHORT_SIDE)


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
    Image.fromarray(frame(clip, at)).save(made, "JPEG", quality=82)
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


@dataclass(frozen=True)
class PreviewLimits:
    """How long previews may take.

    Attributes:
        frame: Seconds after which reading a frame is ended.
        sound: Seconds after which reading a whole sound is ended.
        waiting: Seconds that one waits for those before it.
    """

    frame: float = 10.0
    sound: float = 60.0
    waiting: float = 20.0


class PreviewReader:
    """Makes previews in two processes; one sound at a time, so that frames never wait for long.

    Args:
        limits: How long they may take.
    """

    def __init__(self, limits: PreviewLimits | None = None) -> None:
        self._limits = limits or PreviewLimits()
        self._sandbox = Sandbox(2, self._limits.waiting)
        self._one_sound = threading.Lock()

    def picture(self, clip: Path, at: float) -> bytes:
        """Return the frame at `at` seconds as a JPEG (see the function `picture`).

        Raises:
            MediaError: It cannot be read, took too long, or crashed its reader.
            BusyError: Those before it are still being read.
        """
        job = picture, (clip, at)
        made: bytes = self._sandbox.call(_call, job, clip.name, seconds=self._limits.frame)
        return made

    def peaks(self, clip: Path, n: int) -> tuple[list[float], float]:
        """Return how loud a clip is in `n` stretches, and its seconds (see the function `peaks`).

        Raises:
            MediaError, BusyError: As `picture`.
        """
        job, begun = (peaks, (clip, n)), time.monotonic()
        if not self._one_sound.acquire(timeout=self._limits.waiting):
            raise busy(clip.name, self._limits.waiting)
        try:
            heights, seconds = self._sandbox.call(
                _call, job, clip.name, seconds=self._limits.sound, waited=time.monotonic() - begun
            )
        finally:
            self._one_sound.release()
        return heights.tolist(), seconds

    def warm(self) -> None:
        """Start a process now, in the background, so that the first preview need not wait."""
        self._sandbox.warm(_load, None, self._limits.sound)

    def close(self) -> None:
        """End the processes."""
        self._sandbox.close()


def _call(job: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    work, arguments = job
    return work(*arguments)


def _load(_: None) -> None:
    """Import what reads clips."""
    for name in ("av", "av.video.reformatter", "PIL.Image", "PIL.JpegImagePlugin"):
        importlib.import_module(name)

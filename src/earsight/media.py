"""Decoding with PyAV: mono sound at any rate, frames at any rate, a status for every clip.

A file is opened once and read once, as a stream; what is in memory is a block, never the clip.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Status(StrEnum):
    """What a clip turned out to be once it was read to its end."""

    OK = "ok"                  # sound and sight, all of it
    PARTIAL = "partial"        # something was lost; what could be read was read
    NO_AUDIO = "no_audio"      # sight alone (a silent clip, a picture)
    NO_VIDEO = "no_video"      # sound alone (a sound file, or with a cover picture)
    UNREADABLE = "unreadable"  # nothing could be read, or the file is refused


@dataclass(frozen=True)
class FrameRequest:
    """Frames wanted from a clip: `fps` a second (None: every one), the short side scaled to
    `short_side` pixels (None: as it is), rotation applied, RGB."""

    fps: float | None = 1.0
    short_side: int | None = 256


@dataclass(frozen=True)
class AudioBlock:
    """Consecutive mono samples in [−1, 1]: (n,) float32 at `rate` Hz, the first at `start` s."""

    rate: int
    start: float
    samples: npt.NDArray[np.float32]


@dataclass(frozen=True)
class FrameBlock:
    """Frames for one request: (n, height, width, 3) uint8 RGB with their `times` (n,) in s."""

    request: FrameRequest
    times: npt.NDArray[np.float64]
    frames: npt.NDArray[np.uint8]


@dataclass
class Report:
    """How reading went. Complete once the decoder is exhausted."""

    status: Status = Status.UNREADABLE
    duration: float = 0.0        # seconds, as far as could be read (0 for a picture)
    audio_seconds: float = 0.0   # seconds of sound read
    visual_seconds: float = 0.0  # seconds of sight read
    n_frames: int = 0            # frames decoded (not only those delivered)
    n_errors: int = 0            # packets or frames that could not be decoded
    width: int = 0
    height: int = 0
    message: str = ""            # for people: what was wrong, empty where nothing was
    details: dict[str, Any] = field(default_factory=dict)


class Decoder:
    """One pass over one file that serves every request at once.

    >>> decoder = Decoder(path, audio=[16000], frames=[FrameRequest(2.0, 256)])  # doctest: +SKIP
    >>> for block in decoder: ...                                                # doctest: +SKIP
    >>> decoder.report.status                                                    # doctest: +SKIP
    """

    report: Report

    def __init__(
        self, path: Path, *, audio: Sequence[int] = (), frames: Sequence[FrameRequest] = ()
    ) -> None: ...

    def __iter__(self) -> Iterator[AudioBlock | FrameBlock]: ...

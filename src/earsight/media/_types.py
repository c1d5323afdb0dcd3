"""What goes in and out of a decoder: requests, blocks, and the report of how it went."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import InputError


class Status(StrEnum):
    """What a clip turned out to be once it was read to its end."""

    OK = "ok"  # sound and sight, all of it
    PARTIAL = "partial"  # something was lost; what could be read was read
    NO_AUDIO = "no_audio"  # sight alone (a silent clip, a picture)
    NO_VIDEO = "no_video"  # sound alone (a sound file, or with a cover picture)
    UNREADABLE = "unreadable"  # nothing could be read, or the file is refused


@dataclass(frozen=True)
class FrameRequest:
    """The frames wanted from a clip, upright and in RGB.

    Frame k of a request is the one on screen at k / fps seconds.

    Attributes:
        fps: Frames a second; None: every frame of the clip, once.
        short_side: Pixels of the shorter side after scaling (bilinear, areas averaged when
            shrinking); None: as stored. Pixels that are not square become so either way.

    Raises:
        InputError: `fps` not above 0, or `short_side` below 1.
    """

    fps: float | None = 1.0
    short_side: int | None = 256

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise InputError(
                f"`fps` must be above 0 and finite, or None for every frame; got {self.fps}."
            )
        if self.short_side is not None and self.short_side < 1:
            raise InputError(
                f"`short_side` must be at least 1 pixel, or None; got {self.short_side}."
            )


@dataclass(frozen=True)
class AudioBlock:
    """Consecutive mono samples in [−1, 1]: (n,) float32 at `rate` Hz, the first at `start` s."""

    rate: int
    start: float
    samples: npt.NDArray[np.float32]


@dataclass(frozen=True)
class FrameBlock:
    """Frames for one request: (n, height, width, 3) uint8 RGB with their `times` (n,) in s.

    A time is the frame's own timestamp, at most 1 ms after the grid time it answers (containers
    round to a millisecond); but the first frame also answers the grid time just before it. A
    frame that stays on screen over several grid times comes as often, with the same timestamp.
    """

    request: FrameRequest
    times: npt.NDArray[np.float64]
    frames: npt.NDArray[np.uint8]


@dataclass
class Report:
    """How reading went. Complete once the decoder is exhausted."""

    status: Status = Status.UNREADABLE
    duration: float = 0.0  # seconds, as far as could be read (0 for a picture)
    audio_seconds: float = 0.0  # seconds of sound read, if sound was asked for
    visual_seconds: float = 0.0  # seconds of sight read, if frames were asked for
    n_frames: int = 0  # frames decoded (not only those delivered)
    n_errors: int = 0  # packets, frames or timestamps that were damaged
    width: int = 0  # of the clip as shown: upright, square pixels
    height: int = 0
    message: str = ""  # for people: what was wrong, empty where nothing was
    details: dict[str, Any] = field(default_factory=dict)  # container, codecs, what was declared

"""A glimpse of a clip, for people: one frame, or its sound."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from earsight.errors import MediaError
from earsight.media import AudioBlock, Decoder, FrameBlock, FrameRequest

RATE = 16_000
_SHORT_SIDE = 240


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

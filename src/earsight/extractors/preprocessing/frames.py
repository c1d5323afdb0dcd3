"""The frames that an extractor with eyes asks for, and their way through a network."""

from collections.abc import Callable

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.extractors.runtime.onnx import Array, Batches, Heads
from earsight.features import FeatureSequence
from earsight.media import FrameBlock, FrameRequest

MOST = 1000


def frames_at(fps: float, short_side: int | None) -> FrameRequest:
    """Return a request for `fps` frames a second; "every frame" is none of an extractor's rates.

    Raises:
        InputError: `fps` is no number above 0, or above 1000, more than any camera gives.
    """
    if not isinstance(fps, int | float) or not 0 < fps <= MOST:
        raise InputError(f"`fps` must be above 0 and at most {MOST}, frames a second; got {fps}.")
    return FrameRequest(fps, short_side)


def centre(frames: Array, side: int) -> Array:
    """Return the middle (…, side, side, 3) of frames (…, height, width, 3), as a view.

    >>> centre(np.arange(12).reshape(2, 6, 1), 2)[..., 0]
    array([[2, 3],
           [8, 9]])
    """
    height, width = frames.shape[-3:-1]
    top, left = (height - side) // 2, (width - side) // 2
    return frames[..., top : top + side, left : left + side, :]


class FrameSession:
    """One clip's frames, each by itself, through a network in batches.

    Args:
        prepare: What the network sees of a frame (height, width, 3).
        network: Maps a batch of that to one array (n, dim) for each head.
        batch: Frames in a batch.
    """

    def __init__(
        self, prepare: Callable[[Array], Array], network: Callable[[Array], Heads], batch: int
    ) -> None:
        self._prepare = prepare
        self._times: list[FloatArray] = []
        self._batches = Batches(network, batch)

    def feed(self, block: FrameBlock) -> None:
        """Take the next frames."""
        for frame in block.frames:
            self._batches.add(self._prepare(frame))
        self._times.append(block.times)

    def close(self) -> dict[str, FeatureSequence]:
        """Return a sequence for each head; none where there was no frame."""
        return {
            head: FeatureSequence(values, np.concatenate(self._times))
            for head, values in self._batches.close().items()
        }

"""Colour and edge histograms: sight without any pretrained weights, for tests and the impatient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.frames import frames_at
from earsight.features import FeatureSequence
from earsight.media import FrameBlock, FrameRequest

LEVELS = 4  # of each of red, green and blue
ORIENTATIONS = 16  # of edges, over half a turn
SHORT_SIDE = 64  # pixels


@dataclass(kw_only=True)
class ColourEdges(FeatureExtractor):
    """The shares of 64 colours and of 16 edge orientations in a frame.

    Edges are central differences of grey, counted by their strength. The shares' square roots are
    kept, so that the product of two frames is the Bhattacharyya coefficient of colours plus that of
    edges. A frame of one colour has no edges: zeros.

    Args:
        fps: Frames a second.
    """

    name: ClassVar[str] = "colour_edges"
    modality: ClassVar[str] = "visual"
    dims: ClassVar[Mapping[str, int]] = {"embedding": LEVELS**3 + ORIENTATIONS}

    fps: float = 2.0

    def __post_init__(self) -> None:
        _ = self.needs  # refuses what is no rate

    @property
    def needs(self) -> FrameRequest:
        """Small frames at `fps`."""
        return frames_at(self.fps, SHORT_SIDE)

    def _session(self) -> "_Session":
        return _Session()


class _Session:
    def __init__(self) -> None:
        self._times: list[FloatArray] = []
        self._steps: list[FloatArray] = []

    def feed(self, block: FrameBlock) -> None:
        self._times.append(block.times)
        self._steps += map(histograms, block.frames)

    def close(self) -> dict[str, FeatureSequence]:
        if not self._steps:
            return {}
        times = np.concatenate(self._times)
        return {"embedding": FeatureSequence(np.stack(self._steps), times)}


def histograms(frame: npt.NDArray[np.uint8]) -> FloatArray:
    """Return the square roots of colour and orientation shares, (80,) float32.

    Args:
        frame: (height, width, 3) RGB.

    >>> flat = np.zeros((8, 8, 3), dtype=np.uint8)
    >>> float(histograms(flat)[0]), float(histograms(flat).sum())
    (1.0, 1.0)
    """
    red, green, blue = np.moveaxis(frame.astype(np.intp) * LEVELS // 256, 2, 0)
    colours = np.bincount(((red * LEVELS + green) * LEVELS + blue).ravel(), minlength=LEVELS**3)
    down, right = np.gradient(frame.mean(axis=2))
    strength = np.hypot(down, right).ravel()
    turn = (np.arctan2(down, right).ravel() / np.pi) % 1.0  # an edge and its opposite are alike
    bins = (turn * ORIENTATIONS).astype(np.intp) % ORIENTATIONS
    edges = np.bincount(bins, weights=strength, minlength=ORIENTATIONS)
    shares = np.concatenate([colours / colours.sum(), edges / (edges.sum() or 1.0)])
    return np.asarray(np.sqrt(shares), dtype=np.float32)

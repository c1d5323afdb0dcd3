"""Inception of 2015-12-05: sight as YouTube-8M's features begin, and their PCA."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.frames import FrameSession, frames_at
from earsight.extractors.preprocessing.pca import dequantise, fit_pca, quantise, read_pca
from earsight.extractors.runtime import onnx
from earsight.features import FeatureSequence
from earsight.media import FrameRequest

__all__ = ["Inception", "dequantise", "fit_pca", "quantise"]

DIM = 2048
SIDE = 299  # pixels
BATCH = 8  # frames
CONVERSION = 2  # raised whenever `convert` changes
ORIGINAL = "default_1.pt"
PREFIX = "net.layers."  # of the original's names: two modules that only wrap


@dataclass(kw_only=True)
class Inception(FeatureExtractor):
    """Sight as Google's Inception graph of 2015-12-05 sees it: 2048 numbers for each frame.

    The backbone of YouTube-8M's features; other weights of the same architecture give other
    numbers. A frame, whole and as stored, is scaled to 299 × 299 as the graph itself does it
    (bilinear between neighbouring pixels, also when shrinking), and seen as (x − 128)/128.

    With `pca` the 2048 become fewer, whitened: y = (x − mean) Eᵀ / √(λ + 10⁻⁴). `quantise` gives
    YouTube-8M's 8-bit form, `dequantise` reads it.

    Args:
        fps: Frames a second. YouTube-8M has one.
        pca: None; or the folder with YouTube-8M's own matrices (mean.npy, eigenvals.npy,
            eigenvecs.npy; 1024 components); or a file that `fit_pca` wrote. The key says which:
            "inception", "inception.yt8m", "inception.pca-" and the beginning of its checksum.

    Raises:
        InputError: `fps` is no rate; or `pca` is not there, or not for 2048 numbers.
        WeightsError: `pca` is damaged.

    Reference:
        Szegedy et al., Rethinking the Inception Architecture (CVPR 2016); Abu-El-Haija et al.,
        YouTube-8M (2016), https://github.com/google/youtube-8m/tree/master/feature_extractor
    """

    name: ClassVar[str] = "inception"
    modality: ClassVar[str] = "visual"
    version: ClassVar[int] = 2
    pretrained: ClassVar[tuple[str, ...]] = ("inception",)

    fps: float = 1.0
    pca: str | None = None

    def __post_init__(self) -> None:
        _ = frames_at(self.fps, None)  # refuses what is no rate
        self._pca = None if self.pca is None else read_pca(Path(self.pca), DIM)

    @property
    def dims(self) -> Mapping[str, int]:
        """2048, or the number of components."""
        return {"embedding": DIM if self._pca is None else len(self._pca.eigenvalues)}

    @property
    def variant(self) -> str:
        """The PCA's name, so that features of two are never mixed."""
        return "" if self._pca is None else self._pca.name

    @property
    def needs(self) -> FrameRequest | None:
        """Frames at `fps`, as stored; none with a PCA, which reads what the network gives."""
        return frames_at(self.fps, None) if self._pca is None else None

    @property
    def source(self) -> tuple[FeatureExtractor, str] | None:
        """The network alone, where there is a PCA: both forms share one run of it."""
        return None if self._pca is None else (Inception(fps=self.fps), "embedding")

    def _session(self) -> FrameSession:
        return FrameSession(resize, _network, BATCH)

    def _derive(self, sequence: FeatureSequence) -> FeatureSequence:
        if self._pca is None:
            return sequence
        return FeatureSequence(self._pca.apply(sequence.values), sequence.times, sequence.span)

    def _recipe(self) -> dict[str, object]:
        # What the matrices are counts, not where they lie.
        checksum = None if self._pca is None else self._pca.checksum
        parameters = self._fields() | {"pca": checksum}
        return super()._recipe() | {"parameters": parameters}


def resize(frame: onnx.Array) -> FloatArray:
    """Scale a frame to (299, 299, 3) float32 as TensorFlow 1 does: pixel i of n lies at i·size/n.

    Between its neighbours it is interpolated linearly; nothing is averaged when shrinking.

    Args:
        frame: (height, width, 3), of any size.
    """
    height, width = frame.shape[:2]
    above, below, down = _neighbours(height)
    left, right, along = _neighbours(width)

    def scaled(lines: onnx.Array) -> FloatArray:  # (299,) -> (299, 299, 3)
        row = frame[lines]  # (299, width, 3)
        start, end = row[:, left].astype(np.float32), row[:, right].astype(np.float32)
        return start + (end - start) * along[:, None]

    upper, lower = scaled(above), scaled(below)
    return np.asarray(upper + (lower - upper) * down[:, None, None], dtype=np.float32)


@cache
def _neighbours(size: int) -> tuple[onnx.Array, onnx.Array, FloatArray]:
    """Return for each of 299 places the pixel before, the one after, and how far it is between."""
    place = np.arange(SIDE, dtype=np.float32) * np.float32(size / SIDE)
    before = place.astype(np.intp)
    return before, np.minimum(before + 1, size - 1), place - before.astype(np.float32)


def _network(frames: onnx.Array) -> onnx.Heads:
    return onnx.run(_model(), frames=frames)  # (n, 299, 299, 3) -> (n, 2048)


def _model() -> Path:
    from earsight import weights

    return weights.converted("inception", CONVERSION, convert) / "model.onnx"


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` from the tensors of the original TorchScript archive, whose code stays off.

    Raises:
        WeightsError: The original is another file; no other has been met and checked so far.
    """
    from earsight.extractors.networks import inception
    from earsight.weights.torchscript import read_torchscript

    if set(originals) != {ORIGINAL}:
        raise WeightsError(
            f"Inception is converted from {ORIGINAL}; got {', '.join(sorted(originals))}. Other "
            "originals can't be converted yet: remove them, and `earsight weights pull inception` "
            "brings the one that can."
        )
    tensors = read_torchscript(originals[ORIGINAL])
    arrays = {name.removeprefix(PREFIX): array for name, array in tensors.items()}
    try:
        inception.write(arrays, folder / "model.onnx")
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{originals[ORIGINAL]} is no Inception of 2015-12-05: {error}."
        ) from error

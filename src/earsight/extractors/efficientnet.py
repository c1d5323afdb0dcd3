"""EfficientNet-lite0: what a picture shows, by a small network trained on ImageNet's classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from earsight.errors import WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.frames import FrameSession, centre, frames_at
from earsight.extractors.runtime import onnx
from earsight.media import FrameRequest

SIDE, SHORT_SIDE = 224, 256  # pixels: what the network sees, and the scaled frame it is cut from
BATCH = 4  # frames; larger ones are no faster and need more memory
CONVERSION = 2  # raised whenever `convert` changes


@dataclass(kw_only=True)
class EfficientNet(FeatureExtractor):
    """Sight as EfficientNet-lite0 sees it: a vector of 1280, and 1000 ImageNet class logits.

    A frame is scaled to a short side of 256, and its centre of 224 × 224 is seen as (x − 127)/128.

    Args:
        fps: Frames a second. The default is about one for each hop of YAMNet.

    Reference:
        Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (ICML
        2019); lite variants: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    name: ClassVar[str] = "efficientnet"
    modality: ClassVar[str] = "visual"
    heads: ClassVar[tuple[str, ...]] = ("embedding", "scores")
    dims: ClassVar[Mapping[str, int]] = {"embedding": 1280, "scores": 1000}
    version: ClassVar[int] = 2
    pretrained: ClassVar[tuple[str, ...]] = ("efficientnet_lite0",)

    fps: float = 2.0

    def __post_init__(self) -> None:
        _ = self.needs  # refuses what is no rate

    @property
    def needs(self) -> FrameRequest:
        """Frames at `fps`, scaled."""
        return frames_at(self.fps, SHORT_SIDE)

    def _session(self) -> FrameSession:
        return FrameSession(lambda frame: centre(frame, SIDE), _network, BATCH)


def _network(frames: onnx.Array) -> onnx.Heads:
    return onnx.run(_model(), frames=frames)  # (n, 224, 224, 3) uint8 -> (n, 1280), (n, 1000)


def _model() -> Path:
    from earsight import weights

    return weights.converted("efficientnet_lite0", CONVERSION, convert) / "model.onnx"


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` from the original state dict.

    Raises:
        WeightsError: The file is damaged, holds more than tensors, or is of another network.
    """
    from earsight.extractors.networks import efficientnet_lite0
    from earsight.weights import read_state_dict

    (original,) = originals.values()
    try:
        efficientnet_lite0.write(read_state_dict(original), folder / "model.onnx")
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{original} is no EfficientNet-lite0: {error}.") from error

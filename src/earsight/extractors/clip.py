"""CLIP: what a picture shows and what a text says, in one space."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from earsight.extractors._base import Session, TextBlock
from earsight.extractors.preprocessing.frames import FrameSession, frames_at
from earsight.extractors.runtime import hub
from earsight.extractors.runtime.foundation import Foundation, Pixels, one_of
from earsight.extractors.runtime.onnx import Heads
from earsight.extractors.runtime.text_encoders import TextSession
from earsight.media import FrameRequest

BATCH = 8  # frames; as many prepared pictures are in memory at once
Modality = Literal["visual", "text"]


@dataclass(kw_only=True)
class Clip(Foundation):
    """Sight and text as a CLIP model of the `transformers` package maps them: unit vectors.

    Frames are prepared as the model's own settings say (for the default: the shorter side to 224,
    bicubic, and the centre of 224 × 224), by Pillow. A text has at most 77 tokens.

    Args:
        modality: What is mapped.
        model: A folder with config.json and safetensors; or a name on the Hugging Face hub, with
            @revision where one is meant.
        fps: Frames a second.

    Reference:
        Radford et al., Learning Transferable Visual Models From Natural Language Supervision
        (ICML 2021). https://huggingface.co/openai/clip-vit-large-patch14
    """

    name: ClassVar[str] = "clip"
    model_type: ClassVar[str] = "clip"
    architecture: ClassVar[str] = "CLIPModel"
    licence: ClassVar[str] = "MIT"
    size: ClassVar[int] = 1_710_000_000

    modality: Modality = "visual"
    # The smaller models of the same authors have no safetensors in their main revisions.
    model: str = "openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41"
    fps: float = 1.0

    def __post_init__(self) -> None:
        one_of(self.name, "modality", self.modality, get_args(Modality))
        _ = self.needs  # refuses what is no rate

    @property
    def dims(self) -> Mapping[str, int]:
        """Width of the space."""
        return {"embedding": hub.stated(self.folder, "projection_dim")}

    @property
    def needs(self) -> FrameRequest | type[TextBlock]:
        """Frames at `fps`, as they are stored; or text."""
        return frames_at(self.fps, None) if self.modality == "visual" else TextBlock

    def _session(self) -> Session:
        return (
            TextSession(self)
            if self.modality == "text"
            else FrameSession(self._prepare, self._see, BATCH)
        )

    def _prepare(self, frame: npt.NDArray[np.uint8]) -> Pixels:
        """Scale, cut and centre one frame: (height, width, 3) uint8 -> (3, h, w) float32."""
        prepared = hub.part("CLIPImageProcessorPil", self.folder)(frame)["pixel_values"][0]
        return np.asarray(prepared, dtype=np.float32)

    def _see(self, pixels: npt.NDArray[Any]) -> Heads:  # (n, 3, h, w) -> (n, dim)
        import torch

        features = partial(self._network.get_image_features, pixel_values=torch.from_numpy(pixels))
        return {"embedding": self._run(lambda: _unit(features().pooler_output))}

    def _read(self, tokens: Any) -> Any:
        return _unit(self._network.get_text_features(input_ids=tokens).pooler_output)


def _unit(vectors: Any) -> Any:
    return vectors / vectors.norm(dim=1, keepdim=True)

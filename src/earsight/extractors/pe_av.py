"""PE-AV: sound, sight and text in one space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import WeightsError
from earsight.extractors._base import Need, Session, TextBlock
from earsight.extractors.preprocessing.frames import frames_at
from earsight.extractors.runtime import hub
from earsight.extractors.runtime.foundation import (
    Foundation,
    Pixels,
    SightWindows,
    SoundWindows,
    one_of,
    seconds,
)
from earsight.extractors.runtime.text_encoders import TextSession

RATE = 48_000  # Hz
BILINEAR = 2  # Pillow's number
Modality = Literal["audio", "visual", "text"]
Text = Literal["both", "audio", "visual"]


@dataclass(kw_only=True)
class PeAv(Foundation):
    """Sound, sight and text as a PE-AV model of the `transformers` package maps them.

    Sound and sight are cut into windows, one after another, a vector to each; the last counts by
    its length in the mean. A window of sight is window · fps frames, at the default 16 in 10 s, as
    the default model was trained; where the original takes 16 frames from a clip of any length,
    the rate is fixed here, so that a stream can be read once. Frames are prepared by Pillow, as
    the model's settings say. The vectors are as the model gives them, not of unit length: it
    compares them by their inner product.

    Args:
        modality: What is mapped.
        model: A folder with config.json and safetensors; or a name on the Hugging Face hub, with
            @revision where one is meant. Models with a `timm` tower need the package timm, and
            the torchvision that belongs to the torch that is installed.
        window: Seconds to each vector.
        fps: Frames a second.
        text: What texts are to be compared with; the model reads them with a head for each.

    Reference:
        Vyas et al., Pushing the Frontier of Audiovisual Perception with Large-Scale Multimodal
        Correspondence Learning (2025). https://huggingface.co/facebook/pe-av-base-16-frame
    """

    name: ClassVar[str] = "pe_av"
    model_type: ClassVar[str] = "pe_audio_video"
    architecture: ClassVar[str] = "PeAudioVideoModel"
    licence: ClassVar[str] = "Apache-2.0"
    size: ClassVar[int | None] = None

    modality: Modality = "audio"
    model: str = "facebook/pe-av-base-16-frame"
    window: float = 10.0
    fps: float = 1.6
    text: Text = "both"

    def __post_init__(self) -> None:
        one_of(self.name, "modality", self.modality, get_args(Modality))
        one_of(self.name, "text", self.text, get_args(Text))
        seconds(self.name, self.window)
        frames_at(self.fps, None)

    @property
    def dims(self) -> Mapping[str, int]:
        """Width of the space."""
        return {"embedding": hub.stated(self.folder, "text_config", "hidden_size")}

    @property
    def hop(self) -> float | None:
        """A window; a text has one step."""
        return None if self.modality == "text" else self.window

    @property
    def needs(self) -> Need:
        """Sound at 48 kHz, frames at `fps` as they are stored, or text."""
        match self.modality:
            case "audio":
                return RATE
            case "visual":
                return frames_at(self.fps, None)
            case "text":
                return TextBlock

    def _session(self) -> Session:
        match self.modality:
            case "audio":
                return SoundWindows(RATE, self.window, self._hear)
            case "visual":
                size = max(1, round(self.window * self.fps))
                return SightWindows(size, self.window, self._prepare, self._see)
            case "text":
                return TextSession(self)

    def _hear(self, samples: FloatArray) -> FloatArray:
        front = hub.part("PeAudioFeatureExtractor", self.folder)
        made = front(samples, sampling_rate=RATE, return_tensors="pt")
        model = self._network.audio_model
        return self._run_one(
            lambda: model.audio_head(
                model.audio_encoder(
                    input_values=made["input_values"], padding_mask=made["padding_mask"]
                ).pooler_output
            )
        )

    def _see(self, pixels: Pixels) -> FloatArray:  # (n, 3, h, w) -> (dim,)
        import torch

        model = self._network.video_model
        window = torch.from_numpy(pixels)[None]
        return self._run_one(
            lambda: model.video_head(model.video_encoder(pixel_values_videos=window).pooler_output)
        )

    def _read(self, tokens: Any) -> Any:
        model = self._network
        heads = {
            "both": model.text_audio_video_head,
            "audio": model.audio_model.text_audio_head,
            "visual": model.video_model.text_video_head,
        }
        found = model.text_model(input_ids=tokens, output_hidden_states=True)
        return heads[self.text](found.hidden_states[-1][:, 0])  # (n, dim)

    def _prepare(self, frame: npt.NDArray[np.uint8]) -> Pixels:
        """Scale one frame to the model's size: (height, width, 3) uint8 -> (3, h, w) float32."""
        from PIL import Image

        asked = hub.settings(self.folder, "video_preprocessor_config.json")
        if set(asked.get("size", ())) != {"height", "width"}:
            raise WeightsError(
                f"{self.folder} must say in video_preprocessor_config.json to what height and "
                "width frames are scaled; it does not."
            )
        size = (asked["size"]["width"], asked["size"]["height"])
        scaled = Image.fromarray(frame).resize(size, asked.get("resample", BILINEAR))
        mean, deviation = (np.asarray(asked[f"image_{what}"]) for what in ("mean", "std"))
        pixels = (np.asarray(scaled) / 255 - mean) / deviation  # (h, w, 3)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)

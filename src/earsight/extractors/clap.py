"""CLAP: what a sound is and what a text says, in one space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.extractors._base import Session, TextBlock
from earsight.extractors.runtime import hub
from earsight.extractors.runtime.foundation import Foundation, SoundWindows, one_of, seconds
from earsight.extractors.runtime.text_encoders import TextSession

RATE = 48_000  # Hz
LONGEST = 10.0  # seconds; what is longer the model cuts at random
Modality = Literal["audio", "text"]


@dataclass(kw_only=True)
class Clap(Foundation):
    """Sound and text as a CLAP model of the `transformers` package maps them: unit vectors.

    Sound is cut into windows, one after another; a shorter one, such as the last, is repeated to
    10 s by the model's own front end, and counts by its length in the mean. Models with feature
    fusion are run as for sounds that are not longer than the model hears at once: the fusion
    branch, which transformers takes for one sound of each batch drawn by lot, is never taken.

    Args:
        modality: What is mapped.
        model: A folder with config.json and safetensors; or a name on the Hugging Face hub, with
            @revision where one is meant.
        window: Seconds to each vector, at most 10.

    Reference:
        Wu et al., Large-Scale Contrastive Language-Audio Pretraining with Feature Fusion and
        Keyword-to-Caption Augmentation (ICASSP 2023).
        https://huggingface.co/laion/larger_clap_general
    """

    name: ClassVar[str] = "clap"
    model_type: ClassVar[str] = "clap"
    architecture: ClassVar[str] = "ClapModel"
    licence: ClassVar[str] = "Apache-2.0"
    size: ClassVar[int] = 780_000_000

    modality: Modality = "audio"
    # The older clap-htsat-unfused has no safetensors in its main revision.
    model: str = "laion/larger_clap_general"
    window: float = LONGEST

    def __post_init__(self) -> None:
        one_of(self.name, "modality", self.modality, get_args(Modality))
        seconds(self.name, self.window)
        if self.window > LONGEST:
            raise InputError(f"`window` of clap must be at most {LONGEST:g} s; got {self.window}.")

    @property
    def dims(self) -> Mapping[str, int]:
        """Width of the space."""
        return {"embedding": hub.stated(self.folder, "projection_dim")}

    @property
    def hop(self) -> float | None:
        """A window; a text has one step."""
        return self.window if self.modality == "audio" else None

    @property
    def needs(self) -> int | type[TextBlock]:
        """Sound at 48 kHz, or text."""
        return RATE if self.modality == "audio" else TextBlock

    def _session(self) -> Session:
        if self.modality == "text":
            return TextSession(self)
        return SoundWindows(RATE, self.window, self._hear)

    def _hear(self, samples: FloatArray) -> FloatArray:
        import torch

        front = hub.part("ClapFeatureExtractor", self.folder)
        made = front(samples, sampling_rate=RATE, return_tensors="pt")
        longer = torch.zeros_like(made["is_longer"])
        heard = {"input_features": made["input_features"].float(), "is_longer": longer}
        return self._run_one(lambda: self._network.get_audio_features(**heard).pooler_output)

    def _read(self, tokens: Any) -> Any:
        return self._network.get_text_features(input_ids=tokens).pooler_output

"""Words as a bridge: sound, sight and typed text in one space, with nothing fitted."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from earsight.arrays import FloatArray
from earsight.data import audioset_names, imagenet_names
from earsight.errors import InputError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.efficientnet import EfficientNet
from earsight.extractors.minilm import DIM, MiniLM, artefacts
from earsight.extractors.yamnet import YAMNet
from earsight.features import FeatureSequence

# Parents that are heard in almost everything; their children still carry the meaning.
GENERIC = (
    "Speech",
    "Music",
    "Animal",
    "Vehicle",
    "Musical instrument",
    "Domestic animals, pets",
    "Wild animals",
)
Modality = Literal["audio", "visual", "text"]
TEMPERATURE = 2.5  # 2 to 4 is the same within noise


@dataclass(kw_only=True)
class Words(FeatureExtractor):
    """The names of what is heard or seen, as vectors of MiniLM's text space.

    At step t, with class weights pₜ (they sum to 1), class-name vectors N, and mass wₜ:

        value = pₜ N,  and so the sequence's mean is Σ wₜ pₜ N / Σ wₜ

    - audio: from YAMNet's scores s, generic parents set to zero: pₜ ∝ sₜ, wₜ = Σ sₜ · max sₜ.
      A window in which something is heard clearly counts more.
    - visual: from EfficientNet's logits z: pₜ = softmax(zₜ/2.5), all wₜ alike.
    - text: the text's own vector.

    Means of one modality lie close together, so centre each before taking cosines, on `prior`
    where there is nothing else to centre on.

    Args:
        modality: What is turned into words.
    """

    name: ClassVar[str] = "words"
    dims: ClassVar[Mapping[str, int]] = {"embedding": DIM}
    pretrained: ClassVar[tuple[str, ...]] = ("minilm",)

    modality: Modality = "audio"

    def __post_init__(self) -> None:
        if self.modality not in get_args(Modality):
            raise InputError(
                f"`modality` of words must be one of {', '.join(get_args(Modality))}; "
                f"got {self.modality!r}."
            )

    @property
    def space(self) -> str:
        """The text space, the same for all three modalities."""
        return MiniLM().space

    @property
    def source(self) -> tuple[FeatureExtractor, str]:
        """The network that names what it perceives, and its head."""
        match self.modality:
            case "audio":
                return YAMNet(), "scores"
            case "visual":
                return EfficientNet(), "scores"
            case "text":
                return MiniLM(), "embedding"

    @property
    def prior(self) -> FloatArray:
        """Where a clip of this modality lies before anything is known of it, (384,) float32.

        The mean of the class-name vectors; for text, midway between sound's and sight's.
        """
        modalities = ("audio", "visual") if self.modality == "text" else (self.modality,)
        means = [name_vectors(modality).mean(axis=0) for modality in modalities]
        return np.asarray(np.mean(means, axis=0), dtype=np.float32)

    def _derive(self, sequence: FeatureSequence) -> FeatureSequence:
        if self.modality == "text":
            return sequence
        weigh = heard if self.modality == "audio" else seen
        classes, mass = weigh(sequence.values)
        values = classes @ name_vectors(self.modality)  # (n_steps, 384)
        return FeatureSequence(values, sequence.times, sequence.span, mass)

    def _recipe(self) -> dict[str, object]:
        prompts = "" if self.modality == "text" else _digest(PROMPTED[self.modality]())
        return super()._recipe() | {"prompts": prompts}


def heard(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return class weights (n_steps, 521), rows summing to 1, and mass (n_steps,), both float32.

    Args:
        scores: (n_steps, 521) YAMNet's probabilities.
    """
    s = scores.copy()
    s[:, [audioset_names().index(name) for name in GENERIC]] = 0.0
    total = s.sum(axis=1)
    classes = np.divide(s, total[:, None], out=np.zeros_like(s), where=total[:, None] > 0)
    return classes, total * s.max(axis=1, initial=0.0)


def seen(logits: FloatArray) -> tuple[FloatArray, None]:
    """Return class weights (n_steps, 1000) float32, rows summing to 1; no step counts more.

    Args:
        logits: (n_steps, 1000) EfficientNet's.

    >>> seen(np.zeros((1, 4), dtype=np.float32))[0]
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    z = np.exp((logits - logits.max(axis=1, keepdims=True)) / np.float32(TEMPERATURE))
    return z / z.sum(axis=1, keepdims=True), None


def prompted_sounds() -> tuple[str, ...]:
    """Return what is embedded for each AudioSet class."""
    return tuple(f"the sound of {name}" for name in audioset_names())


def prompted_sights() -> tuple[str, ...]:
    """Return what is embedded for each ImageNet class: its first synonym, the common name."""
    return tuple(f"a photo of a {names.split(',')[0]}" for names in imagenet_names())


PROMPTED: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "audio": prompted_sounds,
    "visual": prompted_sights,
}


@cache
def name_vectors(modality: Literal["audio", "visual"]) -> FloatArray:
    """Return MiniLM's vectors of the prompted class names: (521 or 1000, 384) float32.

    They are made once and kept beside MiniLM, which is not loaded again to index a clip.
    """
    from safetensors.numpy import load_file, save_file

    from earsight import weights

    texts = PROMPTED[modality]()

    def embed(_: Mapping[str, Path], folder: Path) -> None:
        save_file({"vectors": MiniLM().embed(texts)}, folder / "names.safetensors")

    artefacts()  # before, as making one thing waits for others of the same weights
    # Another list of texts is another version.
    folder = weights.converted("minilm", int(_digest(texts)[:12], 16), embed)
    return np.asarray(load_file(folder / "names.safetensors")["vectors"])


def _digest(texts: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()

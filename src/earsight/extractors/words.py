"""Words as a bridge: sound, sight and typed text in one space, with nothing fitted."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from earsight.arrays import FloatArray
from earsight.data import audioset_names, imagenet_names, kinetics_names, places_names
from earsight.errors import InputError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.efficientnet import EfficientNet
from earsight.extractors.i3d import I3D
from earsight.extractors.minilm import DIM, MiniLM, artefacts
from earsight.extractors.soundnet import SoundNet
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
Ears = Literal["yamnet", "soundnet_scenes", "soundnet_objects"]
Eyes = Literal["efficientnet", "i3d", "i3d_kinetics"]
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

    Other ears and eyes name other things; all of them pₜ = softmax(zₜ), all wₜ alike but for a
    window that is cut short. Whether one is better than the default is not known: the ten real
    clips of `benchmarks/zero_shot.py` are too few to tell.

    Args:
        modality: What is turned into words.
        ears: Who names what is heard: "yamnet" (521 sounds), or SoundNet, which guesses what
            would be seen: "soundnet_scenes" (401 places) or "soundnet_objects" (1000 things).
        eyes: Who names what is seen: "efficientnet" (1000 things), or I3D (400 actions) by its
            default weights, "i3d", or by those of Kinetics alone, "i3d_kinetics".

    Raises:
        InputError: A name that is not listed; or `ears` for sights, `eyes` for sounds.
    """

    name: ClassVar[str] = "words"
    dims: ClassVar[Mapping[str, int]] = {"embedding": DIM}
    pretrained: ClassVar[tuple[str, ...]] = ("minilm",)

    modality: Modality = "audio"
    ears: Ears = "yamnet"
    eyes: Eyes = "efficientnet"

    def __post_init__(self) -> None:
        allowed = {"modality": Modality, "ears": Ears, "eyes": Eyes}
        for field, names in allowed.items():
            if (value := getattr(self, field)) not in get_args(names):
                raise InputError(
                    f"`{field}` of words must be one of {', '.join(get_args(names))}; "
                    f"got {value!r}."
                )
        for field, idle, default in (
            ("ears", "visual", "yamnet"),
            ("eyes", "audio", "efficientnet"),
        ):
            if self.modality == idle and getattr(self, field) != default:
                raise InputError(
                    f"`{field}` of words has no part in modality {idle!r}; got "
                    f"{getattr(self, field)!r}. Leave it out there."
                )

    @property
    def variant(self) -> str:
        """The modality, and who names it if that is not the default."""
        if self._namer in (None, "yamnet", "efficientnet"):
            return self.modality
        return f"{self.modality}.{self._namer}"

    @property
    def space(self) -> str:
        """The text space, the same for all three modalities."""
        return MiniLM().space

    @property
    def source(self) -> tuple[FeatureExtractor, str]:
        """The network that names what it perceives, and its head."""
        if self._namer is None:
            return MiniLM(), "embedding"
        return NAMERS[self._namer].source()

    @property
    def prior(self) -> FloatArray:
        """Where a clip of this modality lies before anything is known of it, (384,) float32.

        The mean of the class-name vectors; for text, midway between sound's and sight's.
        """
        namers = (self.ears, self.eyes) if self._namer is None else (self._namer,)
        means = [name_vectors(namer).mean(axis=0) for namer in namers]
        return np.asarray(np.mean(means, axis=0), dtype=np.float32)

    @property
    def _namer(self) -> str | None:
        """Who names what this modality perceives; a text is its own name."""
        return {"audio": self.ears, "visual": self.eyes}.get(self.modality)

    def _derive(self, sequence: FeatureSequence) -> FeatureSequence:
        if self._namer is None:
            return sequence
        classes, mass = NAMERS[self._namer].weigh(sequence.values)
        values = classes @ name_vectors(self._namer)  # (n_steps, 384)
        mass = sequence.weights if mass is None else mass
        return FeatureSequence(values, sequence.times, sequence.span, mass)

    def _recipe(self) -> dict[str, object]:
        prompts = "" if self._namer is None else _digest(NAMERS[self._namer].prompted())
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


def seen(logits: FloatArray, temperature: float = TEMPERATURE) -> tuple[FloatArray, None]:
    """Return class weights (n_steps, classes) float32, rows summing to 1; no step counts more.

    Args:
        logits: (n_steps, classes).
        temperature: What they are divided by before the softmax; the default is EfficientNet's.

    >>> seen(np.zeros((1, 4), dtype=np.float32))[0]
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    z = np.exp((logits - logits.max(axis=1, keepdims=True)) / np.float32(temperature))
    return z / z.sum(axis=1, keepdims=True), None


def prompted_sounds() -> tuple[str, ...]:
    """Return what is embedded for each AudioSet class."""
    return tuple(f"the sound of {name}" for name in audioset_names())


def prompted_sights() -> tuple[str, ...]:
    """Return what is embedded for each ImageNet class: its first synonym, the common name."""
    return tuple(f"a photo of a {names.split(',')[0]}" for names in imagenet_names())


def prompted_places() -> tuple[str, ...]:
    """Return what is embedded for each scene of Places."""
    words = (name.replace("_", " ").replace("/", ", ") for name in places_names())
    return tuple(f"a photo of a {name}" for name in words)


def prompted_actions() -> tuple[str, ...]:
    """Return what is embedded for each action of Kinetics."""
    return tuple(f"a video of {name}" for name in kinetics_names())


@dataclass(frozen=True)
class Namer:
    """A network that names what it perceives.

    Attributes:
        source: Makes the extractor; and its head with the class scores.
        prompted: What is embedded for each class.
        weigh: Maps scores (n_steps, classes) to class weights and mass.
    """

    source: Callable[[], tuple[FeatureExtractor, str]]
    prompted: Callable[[], tuple[str, ...]]
    weigh: Callable[[FloatArray], tuple[FloatArray, FloatArray | None]]


_plainly = partial(seen, temperature=1.0)
NAMERS: Mapping[str, Namer] = {
    "yamnet": Namer(lambda: (YAMNet(), "scores"), prompted_sounds, heard),
    "soundnet_scenes": Namer(
        lambda: (SoundNet(layer="scenes"), "embedding"), prompted_places, _plainly
    ),
    "soundnet_objects": Namer(
        lambda: (SoundNet(layer="objects"), "embedding"), prompted_sights, _plainly
    ),
    "efficientnet": Namer(lambda: (EfficientNet(), "scores"), prompted_sights, seen),
    "i3d": Namer(lambda: (I3D(), "scores"), prompted_actions, _plainly),
    "i3d_kinetics": Namer(lambda: (I3D(weights="kinetics"), "scores"), prompted_actions, _plainly),
}


def name_vectors(namer: str) -> FloatArray:
    """Return MiniLM's vectors of one namer's prompted class names: (classes, 384) float32.

    They are made once and kept beside MiniLM, which is not loaded again to index a clip.
    """
    from safetensors.numpy import save_file

    from earsight import weights

    texts = NAMERS[namer].prompted()

    def embed(_: Mapping[str, Path], folder: Path) -> None:
        save_file({"vectors": MiniLM().embed(texts)}, folder / "names.safetensors")

    artefacts()  # before, as making one thing waits for others of the same weights
    # Another list of texts is another version.
    folder = weights.converted("minilm", int(_digest(texts)[:12], 16), embed)
    return _vectors(folder / "names.safetensors")


@cache
def _vectors(file: Path) -> FloatArray:
    from safetensors.numpy import load_file

    return np.asarray(load_file(file)["vectors"])


def _digest(texts: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()

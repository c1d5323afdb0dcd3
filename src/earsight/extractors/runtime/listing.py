"""The extractors that are there: what each says of itself, and how fast it is here."""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args, get_type_hints

from earsight.discovery import load, make, names
from earsight.extractors import FeatureExtractor, extract_all
from earsight.media import Decoder, FrameRequest


@dataclass(frozen=True)
class Kind:
    """One extractor for one modality, with its default hyper-parameters.

    Attributes:
        name, modality: Which.
        about: Its first sentence.
        dim: Width of its vectors; None where only its weights tell, and they are not here.
        hop: Seconds from one step to the next; None for a text.
        weights: Names in the catalogue of weights.
        licence, size: Of weights that are in no catalogue; bytes.
        here: Whether all it needs is on this machine.
        extra: Whether it needs an extra of the package.
    """

    name: str
    modality: str
    about: str
    dim: int | None
    hop: float | None
    weights: tuple[str, ...]
    licence: str | None
    size: int | None
    here: bool
    extra: bool


def kinds() -> list[Kind]:
    """Return every extractor that is discovered, once for each modality that it serves."""
    return [
        _described(name, extractor) for name in names("extractors") for extractor in _served(name)
    ]


def _served(name: str) -> list[FeatureExtractor]:
    """Return one extractor for each modality that a kind lists; its default where it lists none."""
    kind = load("extractors", name)
    named = "modality" in [field.name for field in fields(kind)]
    choice = get_args(get_type_hints(kind)["modality"]) if named else ()
    if not choice:
        return [make("extractors", name, {})]
    return [make("extractors", name, {"modality": one}) for one in choice]


def _described(name: str, extractor: FeatureExtractor) -> Kind:
    network = extractor.source[0] if extractor.source else extractor
    catalogued = tuple(dict.fromkeys((*extractor.pretrained, *network.pretrained)))
    extra = hasattr(extractor, "model_type")
    here = extractor.at_hand
    return Kind(
        name,
        extractor.modality,
        (type(extractor).__doc__ or "").partition("\n")[0],
        extractor.dim if here or not extra else None,
        extractor.hop,
        catalogued,
        getattr(extractor, "licence", None),
        getattr(extractor, "size", None),
        here,
        extra,
    )


def speed(name: str, modality: str, clip: Path) -> dict[str, float]:
    """Return seconds of clip per second: of an extractor, and of decoding what it asks for.

    Args:
        name, modality: The extractor.
        clip: A file that has what it reads.

    Returns:
        "speed" and "decoding".
    """
    extractor = next(one for one in _served(name) if one.modality == modality)
    extract_all(clip, [extractor])  # the network is loaded, and the file is in memory
    began = time.perf_counter()
    _, report = extract_all(clip, [extractor])
    whole = time.perf_counter() - began
    return {
        "speed": report.duration / whole,
        "decoding": report.duration / _decoding(extractor, clip),
    }


def _decoding(extractor: FeatureExtractor, clip: Path) -> float:
    """Return the seconds that decoding alone takes."""
    needs = (extractor.source[0] if extractor.source else extractor).needs
    sound = [needs] if isinstance(needs, int) else []
    sight = [needs] if isinstance(needs, FrameRequest) else []
    began = time.perf_counter()
    for _ in Decoder(clip, audio=sound, frames=sight):
        pass
    return time.perf_counter() - began

"""Feature extractors, one file each: from a clip to sequences of vectors.

Every class can be imported from here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earsight.extractors._base import FeatureExtractor, extract_all, extract_text
    from earsight.extractors.clap import Clap
    from earsight.extractors.clip import Clip
    from earsight.extractors.colour_edges import ColourEdges
    from earsight.extractors.efficientnet import EfficientNet
    from earsight.extractors.i3d import I3D
    from earsight.extractors.inception import Inception
    from earsight.extractors.log_mel import LogMel
    from earsight.extractors.minilm import MiniLM
    from earsight.extractors.motion import Motion
    from earsight.extractors.onsets import Onsets
    from earsight.extractors.pe_av import PeAv
    from earsight.extractors.soundnet import SoundNet
    from earsight.extractors.vggish import VGGish
    from earsight.extractors.words import Words
    from earsight.extractors.yamnet import YAMNet

__all__ = [
    "I3D",
    "Clap",
    "Clip",
    "ColourEdges",
    "EfficientNet",
    "FeatureExtractor",
    "Inception",
    "LogMel",
    "MiniLM",
    "Motion",
    "Onsets",
    "PeAv",
    "SoundNet",
    "VGGish",
    "Words",
    "YAMNet",
    "extract_all",
    "extract_text",
]
_NOT_EXTRACTORS = dict.fromkeys(("FeatureExtractor", "extract_all", "extract_text"), "_base")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that listing the extractors stays light."""
    from earsight import discovery

    return discovery.exported("extractors", name, _NOT_EXTRACTORS)


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)

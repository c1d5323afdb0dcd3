"""Feature extractors, one file each: from a clip to sequences of vectors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earsight.extractors._base import FeatureExtractor, extract_all, extract_text

__all__ = ["FeatureExtractor", "extract_all", "extract_text"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that listing the kinds stays light."""
    if name not in __all__:
        raise AttributeError(f"module 'earsight.extractors' has no attribute {name!r}")
    from earsight.extractors import _base

    return getattr(_base, name)

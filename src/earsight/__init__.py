"""Earsight: find video by sound, and sound by video."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earsight.extractors import FeatureExtractor
    from earsight.library.client import Library
    from earsight.library.embedding.settings import trust_library
    from earsight.methods import JointEmbedding, load_model
    from earsight.retrieval import evaluate

__version__ = "0.1.0"
__all__ = [
    "Library",
    "__version__",
    "evaluate",
    "extractor",
    "load_model",
    "method",
    "trust_library",
]

_LAZY = {
    "Library": "earsight.library.client",
    "evaluate": "earsight.retrieval",
    "load_model": "earsight.methods",
    "trust_library": "earsight.library.embedding.settings",
}


def method(name: str, **hyperparameters: Any) -> "JointEmbedding":
    """Return a method by its name, such as "cca" or "auto", with its hyper-parameters.

    Raises:
        UnknownNameError: No such method; the names are listed.
        InputError: An unknown hyper-parameter, or a value that breaks its rule.

    >>> method("cca", n_components=5)
    CCA(seed=0, n_components=5, ridge='auto', standardize=True, weighting='correlation')
    """
    from earsight import discovery

    model: JointEmbedding = discovery.make("methods", name, hyperparameters)
    return model


def extractor(name: str, **hyperparameters: Any) -> "FeatureExtractor":
    """Return a feature extractor by its name, such as "yamnet", with its hyper-parameters.

    Raises:
        UnknownNameError: No such extractor; the names are listed.
        InputError: An unknown hyper-parameter, or a value that breaks its rule.
    """
    from earsight import discovery

    kind: FeatureExtractor = discovery.make("extractors", name, hyperparameters)
    return kind


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import earsight` stays light."""
    if name not in _LAZY:
        raise AttributeError(f"module 'earsight' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)

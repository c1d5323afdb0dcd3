"""Learners of a joint embedding, one file each."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earsight.methods._base import JointEmbedding, Rows

__all__ = ["JointEmbedding", "Rows"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that listing the kinds stays light."""
    if name not in __all__:
        raise AttributeError(f"module 'earsight.methods' has no attribute {name!r}")
    from earsight.methods import _base

    return getattr(_base, name)

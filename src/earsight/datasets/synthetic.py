"""Paired features drawn at random, of VEGAS's shape."""

import numpy as np

from earsight.errors import InputError
from earsight.features import PairedFeatures

_BLOCK = 4096  # rows made at a time


def synthetic(
    n: int = 28_103, dims: tuple[int, int] = (128, 1024), classes: int = 10, seed: int = 0
) -> PairedFeatures:
    """Draw paired features of VEGAS's shape, for timing and for trying things out.

    x = (s + b)·Sₘ + 3 z·Zₘ + e: the shared code s is half the clip's class (8 dimensions, 1.5
    times the rest), half the clip itself (8). What each modality adds of its own is a blur b of
    that code, a strong nuisance z of 32 dimensions and noise e. All are standard normal, as are
    the maps S and Z. So plain CCA finds pairs and class alike, and no method can be perfect.

    Args:
        n: Clips; classes are drawn with equal chance.
        dims: Features of "audio" and of "visual".
        classes: Number of classes.
        seed: The same seed gives the same numbers, and n more clips leave earlier blocks alone.

    Returns:
        Views "audio" (n, dims[0]) and "visual" (n, dims[1]), float32, with labels (n,).

    >>> synthetic(n=100, dims=(4, 6)).views["visual"].shape
    (100, 6)
    """
    if n < 1 or classes < 1 or min(dims) < 1:
        raise InputError(
            f"`n`, `dims` and `classes` must be at least 1; got {n}, {dims}, {classes}."
        )
    fixed = np.random.default_rng([seed, 0])
    centres = 1.5 * fixed.standard_normal((classes, 8), dtype=np.float32)
    names = ("audio", "visual")
    # One map for each modality: 16 rows for the shared code, 32 for the nuisance.
    maps = [fixed.standard_normal((48, dim), dtype=np.float32) for dim in dims]
    views = {m: np.empty((n, dim), np.float32) for m, dim in zip(names, dims, strict=True)}
    labels = np.empty(n, np.int64)
    for number, first in enumerate(range(0, n, _BLOCK)):
        rng = np.random.default_rng([seed, 1, number])
        rows = slice(first, first + _BLOCK)
        drawn = rng.integers(0, classes, _BLOCK)
        shared = np.hstack([centres[drawn], rng.standard_normal((_BLOCK, 8), dtype=np.float32)])
        labels[rows] = drawn[: n - first]
        for view, mix in zip(views.values(), maps, strict=True):
            blurred = shared + rng.standard_normal((_BLOCK, 16), dtype=np.float32)
            nuisance = 3 * rng.standard_normal((_BLOCK, 32), dtype=np.float32)
            noise = rng.standard_normal((_BLOCK, view.shape[1]), dtype=np.float32)
            view[rows] = (np.hstack([blurred, nuisance]) @ mix + noise)[: n - first]
    return PairedFeatures(views, labels)

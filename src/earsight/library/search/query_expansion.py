"""A query, drawn to what goes with its like in this library.

What the networks cannot name on both sides they often tell apart on one: all hammers sound alike,
whatever they are taken for. And what sounds alike is seen together with its sights, in the very
recordings that are searched. So a sound that asks for sights is moved towards the sights of what
sounds like it, as far as those are alike themselves.
"""

import numpy as np

from earsight.arrays import FloatArray

FEW = 10  # moments like the query that are asked what goes with them
PULL = 4.0  # the weight of what they agree on; the query's own is 1


def drawn_to(vector: FloatArray, weights: FloatArray, points: FloatArray) -> FloatArray:
    """Return the query with what goes with its like added to it.

        q′ ∝ q + 4·ρ·u/‖u‖,  u = Σ wᵢxᵢ,  ρ = Σ wᵢwⱼ xᵢ·xⱼ / Σ wᵢwⱼ over i ≠ j, at least 0

    Points that have nothing in common, as with music laid over pictures, have a ρ around 0, and the
    query stays where it is.

    Args:
        vector: (k,) of unit length, the query.
        weights: (m,) above 0, how much each moment is like it.
        points: (m, k) of unit length, what goes with them, in the modality that is asked for.

    Returns:
        (k,) float32 of unit length.

    >>> drawn_to(np.array([1.0, 0.0]), np.ones(2), np.array([[0.0, 1.0], [0.0, 1.0]])).round(2)
    array([0.24, 0.97], dtype=float32)
    >>> drawn_to(np.array([1.0, 0.0]), np.ones(2), np.array([[0.0, 1.0], [0.0, -1.0]]))
    array([1., 0.], dtype=float32)
    """
    pairs = weights.sum() ** 2 - (weights**2).sum()
    if pairs <= 0:  # none, or one: nothing to agree with
        return vector.astype(np.float32)
    x = points.astype(np.float64)
    common = weights @ x  # (k,)
    alike = (common @ common - weights**2 @ (x * x).sum(axis=1)) / pairs
    if alike <= 0:
        return vector.astype(np.float32)
    moved = vector + PULL * alike * common / np.linalg.norm(common)
    return np.asarray(moved / np.linalg.norm(moved), dtype=np.float32)

"""Cosine similarities as whole numbers, which depend on the two vectors alone.

A matrix product gives last bits that depend on where a vector stands. Similarities are therefore
rounded to multiples of 2⁻²⁰, exactly, so that equal vectors tie and no order depends on a block.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from earsight.arrays import ArrayLike, FloatArray, IntArray, as_matrix
from earsight.errors import InputError
from earsight.metrics import Distances

GRID = 2.0**20  # similarities are whole multiples of 1/GRID
_FAR = 400  # exponents up to this have squares, and sums of them, within the range of float64
_BLOCK = 1 << 17  # similarities held at a time: they stay in the cache from product to score
_CACHED = 1 << 16  # numbers brought to unit length at a time, 512 KiB


def distance_blocks(queries: FloatArray, items: FloatArray) -> Iterator[tuple[slice, Distances]]:
    """Yield −2²⁰ times the cosine similarities, as whole numbers, some queries at a time.

    Rows are of unit length in float64 (or zero, which gives 0 with everything). What lies within
    the error of a product from a rounding border is summed again exactly.
    """
    step = max(1, _BLOCK // len(items))
    border = near_border(queries.shape[1])
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        scaled = queries[rows] @ items.T  # (rows, gallery)
        scaled *= -GRID
        rounded = np.rint(scaled)
        distance = rounded.astype(np.int32)
        scaled -= rounded
        doubtful = np.abs(scaled, out=scaled) > border
        for i, j in np.argwhere(doubtful) if doubtful.any() else ():
            distance[i, j] = round(-GRID * math.fsum(queries[start + i] * items[j]))
        yield rows, distance


def near_border(width: int) -> float:
    """Return how far from a whole number 2²⁰ times a cosine may lie and be rounded as it is."""
    return 0.5 - GRID * 2 * (width + 2) * float(np.finfo(np.float64).eps)


def to_unit(x: FloatArray) -> FloatArray:
    """Return rows of length 1 in float64, whatever their length was; zeros stay zeros."""
    rows: FloatArray = np.empty(x.shape)
    few = max(1, _CACHED // rows.shape[1])
    for start in range(0, len(rows), few):  # in the processor's cache from first to last
        part = rows[start : start + few]
        part[...] = x[start : start + few]
        _, exponent = np.frexp(np.maximum(part.max(axis=1), -part.min(axis=1)))
        if np.abs(exponent).max() > _FAR:
            # A power of two brings each row near 1: its squares neither overflow nor vanish.
            np.ldexp(part, -exponent[:, None], out=part)
        norm = np.linalg.norm(part, axis=1, keepdims=True)
        norm[norm == 0] = 1.0
        part /= norm
    return rows


def pair_distances(x: FloatArray, y: FloatArray) -> npt.NDArray[np.int64]:
    """Return −2²⁰ times the cosine of row i of x with row i of y, as `distance_blocks` rounds it.

    Args:
        x: (n, d) rows of length 1 (or 0) in float64.
        y: (n, d), likewise.
    """
    scaled = np.einsum("ij,ij->i", x, y) * -GRID
    rounded = np.rint(scaled)
    distances: npt.NDArray[np.int64] = rounded.astype(np.int64)
    for i in np.flatnonzero(np.abs(scaled - rounded) > near_border(x.shape[1])):
        distances[i] = round(-GRID * math.fsum(x[i] * y[i]))
    return distances


def rounding(width: int) -> float:
    """Return how far single precision, and rounding to 2⁻²⁰, can move a cosine.

    (d + 5)·2⁻²⁴ + 2⁻¹⁹, for vectors that are brought to length 1, or divided by it afterwards.
    """
    return (width + 5) * 2.0**-24 + 2 / GRID


def top(query: ArrayLike, gallery: ArrayLike, k: int) -> tuple[IntArray, FloatArray]:
    """Find the k gallery items most similar to each query.

    Args:
        query: (n, d) vectors.
        gallery: (N, d) vectors of the same space.
        k: How many, 1 to N.

    Returns:
        (n, k) row numbers of the gallery, best first, and (n, k) cosine similarities, rounded to
        multiples of 2⁻²⁰. Of equally similar items the one earlier in the gallery comes first.

    Raises:
        InputError: Vectors that are not finite or of different widths, or k out of range.

    >>> top([[1.0, 0.0]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], k=2)[0]
    array([[1, 2]])
    """
    queries, items = as_matrix(query, "query"), as_matrix(gallery, "gallery")
    if queries.shape[1] != items.shape[1]:
        raise InputError(
            "`query` and `gallery` must be vectors of one space, of one width; "
            f"got {queries.shape[1]} and {items.shape[1]}."
        )
    if not 1 <= k <= len(items):
        raise InputError(f"`k` must be from 1 to {len(items)}, the gallery's size; got {k}.")
    found: IntArray = np.empty((len(queries), k), dtype=np.intp)
    best: FloatArray = np.empty((len(queries), k))
    for rows, distance in distance_blocks(to_unit(queries), to_unit(items)):
        # Distance above, row number below: one number that is never tied.
        keys = (distance.astype(np.int64) << 32) + np.arange(len(items))
        if k < len(items):
            keys = np.partition(keys, k - 1, axis=1)[:, :k]
        keys.sort(axis=1)
        found[rows], best[rows] = keys & 0xFFFFFFFF, (keys >> 32) / -GRID
    return found, best + 0.0  # no negative zeros

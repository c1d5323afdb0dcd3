"""The k most similar items of a gallery, exactly, without ranking the others."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from earsight.arrays import ArrayLike, FloatArray, IntArray, as_matrix
from earsight.errors import InputError
from earsight.retrieval import GRID, distance_blocks, near_border, to_unit

_ITEMS, _QUERIES = 8192, 1024  # of one block of similarities, 32 MiB
_SPAN = 256  # items of which the best alone is looked at for a first bound
_PAIRS = 1 << 16  # numbers of single pairs held at a time
_FEW = 16  # a k below a sixteenth of the gallery is found by a threshold
_Distances = npt.NDArray[np.int64]


def top(query: ArrayLike, gallery: ArrayLike, k: int) -> tuple[IntArray, FloatArray]:
    """Find the k gallery items most similar to each query.

    Single precision passes over every item: what may be among the k best by the bound of its error,
    |fl(x·y) − x·y| ≤ (d + 5)·2⁻²⁴ for vectors of length 1, is computed exactly. So the answer is
    that of exact arithmetic, for the price of a product and a comparison. Memory: a block of both.

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
    find = _few if _FEW * k < len(items) else _many
    found, distances = find(to_unit(queries), items, k)
    return found, distances / -GRID + 0.0  # no negative zeros


def _many(units: FloatArray, items: FloatArray, k: int) -> tuple[IntArray, _Distances]:
    """Compare every pair exactly, and sort."""
    found = np.empty((len(units), k), dtype=np.intp)
    best = np.empty((len(units), k), dtype=np.int64)
    for rows, distance in distance_blocks(units, to_unit(items)):
        # Distance above, row number below: one number that is never tied.
        keys = (distance.astype(np.int64) << 32) + np.arange(len(items))
        if k < len(items):
            keys = np.partition(keys, k - 1, axis=1)[:, :k]
        keys.sort(axis=1)
        found[rows], best[rows] = keys & 0xFFFFFFFF, keys >> 32
    return found, best


def _few(units: FloatArray, items: FloatArray, k: int) -> tuple[IntArray, _Distances]:
    """Keep the k best of each query while the gallery passes by, block after block."""
    found = np.full((len(units), k), len(items), dtype=np.intp)
    best = np.full((len(units), k), np.iinfo(np.int64).max, dtype=np.int64)
    floors = np.full(len(units), -np.inf, dtype=np.float32)
    slack = np.float32(rounding(units.shape[1]))
    rough = units.astype(np.float32)
    size = min(_QUERIES, len(units)) * min(_ITEMS, len(items))
    room, marks = np.empty(size, dtype=np.float32), np.empty(size, dtype=bool)
    for start in range(0, len(items), _ITEMS):
        block = to_unit(items[start : start + _ITEMS])
        columns = block.astype(np.float32).T
        for first in range(0, len(units), _QUERIES):
            rows = slice(first, min(first + _QUERIES, len(units)))
            shape = (rows.stop - first, len(block))
            similar = np.matmul(rough[rows], columns, out=room[: math.prod(shape)].reshape(shape))
            if start == 0 and k <= len(block):
                floors[rows] = _kth(similar, k) - 2 * slack
            near_enough = marks[: similar.size].reshape(shape)
            np.greater_equal(similar, floors[rows, None], out=near_enough)
            row, column = np.divmod(np.flatnonzero(near_enough), len(block))
            if not len(row):
                continue
            near = np.concatenate(
                [
                    pair_distances(units[first + row[part]], block[column[part]])
                    for part in parts(len(row), _PAIRS // units.shape[1])
                ]
            )
            own, which = np.unique(row, return_inverse=True)
            own += first
            known = found[own], best[own]
            found[own], best[own] = _merged(known, (which, start + column, near), k)
            floors[own] = best[own, -1] / -GRID - slack
    return found, best


def _kth(similar: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
    """Return what at least k numbers of each row reach, (n,): the k-th best, or little less."""
    n_spans = similar.shape[1] // _SPAN
    if k <= n_spans:  # the best of k spans are k numbers
        similar = similar[:, : n_spans * _SPAN].reshape(len(similar), n_spans, _SPAN).max(axis=2)
    kth: npt.NDArray[np.float32] = np.partition(similar, -k, axis=1)[:, -k]
    return kth


def pair_distances(x: FloatArray, y: FloatArray) -> _Distances:
    """Return −2²⁰ times the cosine of row i of x with row i of y, as `distance_blocks` rounds it.

    Args:
        x: (n, d) rows of length 1 (or 0) in float64.
        y: (n, d), likewise.
    """
    scaled = np.einsum("ij,ij->i", x, y) * -GRID
    rounded = np.rint(scaled)
    distances: _Distances = rounded.astype(np.int64)
    for i in np.flatnonzero(np.abs(scaled - rounded) > near_border(x.shape[1])):
        distances[i] = round(-GRID * math.fsum(x[i] * y[i]))
    return distances


def parts(n: int, step: int) -> Iterator[slice]:
    """Yield slices of at most `step` that cover n."""
    for start in range(0, n, max(1, step)):
        yield slice(start, start + max(1, step))


def rounding(width: int) -> float:
    """Return how far single precision, and rounding to 2⁻²⁰, can move a cosine.

    (d + 5)·2⁻²⁴ + 2⁻¹⁹, for vectors that are brought to length 1, or divided by it afterwards.
    """
    return (width + 5) * 2.0**-24 + 2 / GRID


def _merged(
    known: tuple[IntArray, _Distances], new: tuple[IntArray, IntArray, _Distances], k: int
) -> tuple[IntArray, _Distances]:
    """Return the k best of each row of `known` (rows, k) and of new ones (row, item, distance)."""
    n = len(known[0])
    row = np.concatenate([np.repeat(np.arange(n), k), new[0]])
    item = np.concatenate([known[0].ravel(), new[1]])
    distance = np.concatenate([known[1].ravel(), new[2]])
    order = np.lexsort((item, distance, row))
    starts = np.searchsorted(row[order], np.arange(n))
    kept = order[starts[:, None] + np.arange(k)]
    return item[kept], distance[kept]

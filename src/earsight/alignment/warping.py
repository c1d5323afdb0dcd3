"""Dynamic time warping in a band: the cheapest way through a matrix of costs, many at a time.

Cells are walked diagonal by diagonal, all pairs at once, so that numpy sees long vectors:
D[i, j] = cost[i, j] + min(D[i−1, j], D[i, j−1], D[i−1, j−1]).
"""

import numpy as np

from earsight.arrays import FloatArray, IntArray
from earsight.errors import InputError


def warp(costs: FloatArray, *, band: float | None = None) -> FloatArray:
    """Return the cost of the cheapest monotone path from corner to corner, for each matrix.

        min over paths Σ cost[i, j],  steps (1, 0), (0, 1), (1, 1)

    Args:
        costs: (pairs, n, m).
        band: Share of the longer side that a path may stray from the straight line between the
            corners (Sakoe and Chiba); None: anywhere. Cells outside cost infinity.

    Returns:
        (pairs,) float64. For the mean cost of a step, divide by the length of the path.

    Raises:
        InputError: `costs` is not three-dimensional or empty, or `band` is not above 0.

    Reference: Sakoe, Chiba, Dynamic programming algorithm optimization for spoken word
    recognition, 1978.

    >>> float(warp(np.array([[[0.0, 1.0], [1.0, 0.0]]]))[0])
    0.0
    """
    costs = np.ascontiguousarray(_checked(costs))
    pairs, n, m = costs.shape
    flat = costs.reshape(pairs, n * m)
    inside = _inside(n, m, band)
    # Columns i + 1 of three diagonals in turn: the one before last, the last, the current.
    before, last, current = (np.full((n + 1, pairs), np.inf) for _ in range(3))
    for diagonal in range(n + m - 1):
        top, bottom = max(0, diagonal - m + 1), min(n, diagonal + 1)
        allowed = np.flatnonzero(inside[range(top, bottom), diagonal - np.arange(top, bottom)])
        current[:] = np.inf
        if len(allowed):
            top, bottom = top + int(allowed[0]), top + int(allowed[-1]) + 1
            start = top * m + diagonal - top
            step = max(m - 1, 1)
            cells = flat[:, start : start + (bottom - top - 1) * step + 1 : step].T
            reached = np.minimum(last[top:bottom], last[top + 1 : bottom + 1])
            np.minimum(reached, before[top:bottom], out=reached)
            if diagonal == 0:
                reached[:] = 0.0
            np.add(reached, cells, out=current[top + 1 : bottom + 1])
        before, last, current = last, current, before
    return np.asarray(last[n])


def path(cost: FloatArray, *, band: float | None = None) -> IntArray:
    """Return the cheapest path through one matrix (n, m): (steps, 2) pairs of row and column.

    Raises:
        InputError: As for `warp`.

    >>> path(np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])).tolist()
    [[0, 0], [1, 1], [1, 2]]
    """
    (cost,) = _checked(cost[None])
    n, m = cost.shape
    allowed = np.where(_inside(n, m, band), cost, np.inf)
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            total[i + 1, j + 1] = allowed[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    steps = [(n - 1, m - 1)]
    while steps[-1] != (0, 0):
        i, j = steps[-1]
        ways = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]  # the straight way first where they tie
        steps.append(min(ways, key=lambda way: total[way[0] + 1, way[1] + 1]))
    return np.array(steps[::-1])


def _inside(n: int, m: int, band: float | None) -> np.ndarray:
    """Return which cells lie in the band: (n, m)."""
    if band is None:
        return np.ones((n, m), dtype=bool)
    if not band > 0:
        raise InputError(f"`band` must be above 0, as a share of the longer side; got {band}.")
    i = np.arange(n)[:, None] / max(n - 1, 1)
    j = np.arange(m)[None, :] / max(m - 1, 1)
    width = max(band, 1.0 / max(min(n, m) - 1, 1))  # at least a cell, or there is no way through
    return np.asarray(np.abs(i - j) <= width)


def _checked(costs: FloatArray) -> FloatArray:
    costs = np.asarray(costs)
    if costs.ndim != 3 or 0 in costs.shape:
        raise InputError(f"`costs` must be (pairs, n, m) with n, m ≥ 1; got shape {costs.shape}.")
    return costs

"""Moments: the peaks of many curves, and the run around each.

A moment is a peak p of a curve s with all around it that stands at least half as high above what is
usual:

    [start, end) = the longest run around p with s ≥ (s_p + u) / 2,    s_p ≥ u,
    u = min(median of the curve, median of all curves)

A second peak is another moment only if the curve falls below half its height between them: p must
be the highest of its run. So the moments of a curve never overlap, and none need be merged.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray

_CANDIDATES = 64  # peaks looked at for each moment wanted, before there are more

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Peak:
    """A moment of curve number `curve`: its first second, one past its last, its score."""

    curve: int
    start: int
    end: int
    score: float


def best_peaks(scores: FloatArray, bounds: Indices, top: int) -> list[Peak]:
    """Return the `top` highest moments of many curves, best first; equal ones in their order.

    Args:
        scores: (n,) the curves, one after another; −∞ where there is nothing.
        bounds: (m + 1,); curve i has scores[bounds[i]:bounds[i + 1]], at least one.
        top: How many, at least 1.

    >>> curve = np.array([0.0, 0.1, 0.8, 1.0, 0.2, 0.0, 0.1, 0.6, 0.0, 0.0])
    >>> [(peak.start, peak.end) for peak in best_peaks(curve, np.array([0, 10]), 5)][:2]
    [(2, 4), (7, 8)]
    """
    candidates = _summits(scores, bounds)
    if not len(candidates):
        return []
    overall = float(np.median(scores[np.isfinite(scores)]))
    wanted = _CANDIDATES * top
    while True:
        highest = _highest(scores, candidates, wanted)
        found = _moments(scores, bounds, highest, overall=overall, top=top)
        if len(found) >= top or wanted >= len(candidates):
            return found[:top]
        wanted *= 8


def _summits(scores: FloatArray, bounds: Indices) -> Indices:
    """Return where a curve is higher than before and no lower than after."""
    before, after = np.full_like(scores, -np.inf), np.full_like(scores, -np.inf)
    before[1:], after[:-1] = scores[:-1], scores[1:]
    before[bounds[:-1]] = after[bounds[1:] - 1] = -np.inf
    return np.flatnonzero((scores > before) & (scores >= after))


def _highest(scores: FloatArray, candidates: Indices, wanted: int) -> Indices:
    """Return at least the `wanted` highest candidates, best first; equal ones in their order."""
    heights = scores[candidates]
    if wanted < len(candidates):
        least = np.partition(heights, len(heights) - wanted)[len(heights) - wanted]
        candidates, heights = candidates[heights >= least], heights[heights >= least]
    return candidates[np.argsort(-heights, kind="stable")]


def _moments(
    scores: FloatArray, bounds: Indices, candidates: Indices, *, overall: float, top: int
) -> list[Peak]:
    """Go down the candidates until there are `top` moments.

    Whatever lies in the run of a candidate that was looked at, moment or not, is no moment: its own
    run would reach further, and hold something higher.
    """
    found: list[Peak] = []
    done = np.zeros(len(scores), dtype=bool)
    usual: dict[int, float] = {}
    curves = np.searchsorted(bounds, candidates, "right") - 1
    for place, number in zip(candidates.tolist(), curves.tolist(), strict=True):
        if done[place]:
            continue
        begin = int(bounds[number])
        curve = scores[begin : bounds[number + 1]]
        if number not in usual:
            usual[number] = min(float(np.median(curve[np.isfinite(curve)])), overall)
        at, height = place - begin, scores[place]
        if height < usual[number]:
            continue
        low = np.flatnonzero(curve < (height + usual[number]) / 2)
        split = int(np.searchsorted(low, at))
        start = int(low[split - 1]) + 1 if split else 0
        end = int(low[split]) if split < len(low) else len(curve)
        done[begin + start : begin + end] = True
        if int(curve[start:end].argmax()) + start == at:
            found.append(Peak(number, start, end, float(height)))
            if len(found) == top:
                break
    return found

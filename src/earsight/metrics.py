"""How good ranked lists are: average precision, recall@k, reciprocal rank, curves, and chance.

Conventions, where definitions differ:

* A tied block is scored as one. By class, every item of the block has the precision at the block's
  end, as in scikit-learn's `average_precision_score`. By rank, figures are expectations over a
  random order within the block. So the gallery's order can never matter.
* AP runs over the whole ranking and is divided by the number of relevant items in the gallery. A
  query with no relevant item scores 0 and is counted.
* precision@k and recall@k are for k up to the gallery's size, never beyond.

Functions that take many queries get `distance`, (queries, gallery) whole numbers, small is near.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RECALL_LEVELS = 11  # the curve is read at recall 0, .1, …, 1

FloatVector = npt.NDArray[np.float64]
IntVector = npt.NDArray[np.int64]
Distances = npt.NDArray[np.int32]
Relevance = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """Figures by class of a number of queries.

    Attributes:
        ap: (n,) average precision.
        precision: (n, len(ks)) precision@k.
        curve: (n, 11) interpolated precision at recall 0, .1, …, 1: the best precision at that
            recall or a higher one.
        n_relevant: (n,) relevant items in the gallery.
    """

    ap: FloatVector
    precision: FloatVector
    curve: FloatVector
    n_relevant: IntVector


def class_figures(distance: Distances, relevant: Relevance, ks: Sequence[int]) -> ClassFigures:
    """Score rankings by which items are relevant, all figures from one sort.

        AP = (1/R) Σ_{i relevant} (relevant items as near as i or nearer) / (items likewise)

    Args:
        distance: (n, gallery) whole numbers below 2³⁰ in size.
        relevant: (n, gallery) truth values.
        ks: Ranks to cut at, each from 1 to the gallery's size.

    >>> distance = np.array([[0, 1, 2, 3]], dtype=np.int32)
    >>> class_figures(distance, np.array([[True, False, True, False]]), [2]).ap
    array([0.83333333])
    """
    n, gallery = distance.shape
    keys = distance << 1  # one number holds distance and relevance: a plain sort keeps both
    keys |= relevant
    keys.sort(axis=1)
    hit = (keys & 1).astype(bool)
    n_relevant = np.count_nonzero(hit, axis=1)
    positions = np.flatnonzero(hit)  # (total relevant,) row by row, nearest first
    starts = np.cumsum(n_relevant) - n_relevant
    precision = _precision_at_hits(keys.reshape(-1)[positions] >> 1, positions, n_relevant, gallery)
    ap, curve = np.zeros(n), np.zeros((n, RECALL_LEVELS))
    has = np.flatnonzero(n_relevant)
    if len(has):
        ap[has] = np.add.reduceat(precision, starts[has]) / n_relevant[has]
        levels = np.arange(RECALL_LEVELS)
        needed = -(-levels * n_relevant[has, None] // (RECALL_LEVELS - 1))  # hits at each level
        cuts = starts[has, None] + np.maximum(needed, 1) - 1  # (n, levels)
        best = np.maximum.reduceat(precision, cuts.reshape(-1)).reshape(cuts.shape)
        curve[has] = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
    at_k = [_hits_at(keys, k) / k for k in ks]
    return ClassFigures(
        ap=ap,
        precision=np.array(at_k).reshape(len(at_k), n).T,
        curve=curve,
        n_relevant=n_relevant,
    )


def _precision_at_hits(
    distance: Distances, positions: IntVector, n_relevant: IntVector, gallery: int
) -> FloatVector:
    """Return the precision at each relevant item's tied block, (total relevant,).

    Within a block relevant items were sorted last, so the block's last one is at its end.
    """
    rows = np.repeat(np.arange(len(n_relevant)), n_relevant)
    starts = np.cumsum(n_relevant) - n_relevant
    precision: FloatVector = (np.arange(1, len(positions) + 1) - starts[rows]) / (
        positions - rows * gallery + 1
    )
    tied = (distance[1:] == distance[:-1]) & (rows[1:] == rows[:-1])
    if tied.any():
        last = np.append(np.flatnonzero(~tied), len(positions) - 1)
        block = np.cumsum(np.append(0, ~tied))
        precision = precision[last[block]]
    return precision


def _hits_at(keys: Distances, k: int) -> FloatVector:
    """Return the relevant items expected among the first k of sorted keys, (n,)."""
    hits: FloatVector = (keys[:, :k] & 1).sum(axis=1, dtype=np.float64)
    if k < keys.shape[1]:
        for row in np.flatnonzero(keys[:, k - 1] >> 1 == keys[:, k] >> 1):
            distance = keys[row] >> 1
            first, end = np.searchsorted(distance, distance[k - 1] + np.array([0, 1]))
            inside = np.count_nonzero(keys[row, first:end] & 1)
            before = np.count_nonzero(keys[row, :first] & 1)
            hits[row] = before + inside * (k - first) / (end - first)
    return hits


@dataclass(frozen=True, kw_only=True)
class PairedRanks:
    """Where each query's paired item stands.

    Attributes:
        nearer: (n,) items nearer than the paired item.
        tied: (n,) items as near as it, itself included.
    """

    nearer: IntVector
    tied: IntVector

    def rank(self) -> FloatVector:
        """Mean rank within the tied block, (n,), best 1."""
        return self.nearer + (self.tied + 1) / 2

    def reciprocal(self) -> FloatVector:
        """Expected 1/rank, (n,): the mean of 1/r over the block's ranks."""
        last = self.nearer + self.tied
        harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, last.max(initial=0) + 1)))
        # A rank that is not shared is inverted as it is: differences of sums would round it.
        return np.where(
            self.tied == 1, 1 / last, (harmonic[last] - harmonic[self.nearer]) / self.tied
        )

    def recall(self, k: int) -> FloatVector:
        """Probability that the paired item is among the first k, (n,)."""
        return np.clip((k - self.nearer) / self.tied, 0.0, 1.0)


def paired_ranks(distance: Distances, own: IntVector) -> PairedRanks:
    """Find where item `own[i]` stands in the ranking of query i.

    >>> ranks = paired_ranks(np.array([[5, 0, 5, 9]], dtype=np.int32), np.array([2]))
    >>> ranks.rank(), ranks.recall(2)
    (array([2.5]), array([0.5]))
    """
    reference = np.take_along_axis(distance, own[:, None], axis=1)
    nearer = np.count_nonzero(distance < reference, axis=1)
    return PairedRanks(nearer=nearer, tied=np.count_nonzero(distance == reference, axis=1))


def chance_average_precision(n_relevant: npt.ArrayLike, n_gallery: int) -> FloatVector:
    """Return the expected AP of a random order of this very gallery.

        E[AP] = (1/N)·(H_N + (R − 1)/(N − 1)·(N − H_N)),    H_N = Σ_{i ≤ N} 1/i

    since a relevant item at rank i has R − 1 others spread evenly over N − 1 places.

    Args:
        n_relevant: R, any shape; 0 gives 0.
        n_gallery: N ≥ 1.

    >>> chance_average_precision([0, 1, 2], 2)
    array([0.  , 0.75, 1.  ])
    """
    relevant = np.asarray(n_relevant, dtype=np.float64)
    harmonic = float(np.sum(1 / np.arange(1, n_gallery + 1)))
    others = (relevant - 1) / max(n_gallery - 1, 1)
    expected = (harmonic + others * (n_gallery - harmonic)) / n_gallery
    return np.where(relevant > 0, expected, 0.0)


def paired_bootstrap(
    better: npt.ArrayLike,
    worse: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    n: int = 10_000,
    seed: int = 0,
) -> float:
    """Return how likely `better` has the higher mean by luck alone: a one-sided paired bootstrap.

        p = (1 + number of resamples with mean(better − worse) ≤ 0) / (n + 1)

    Args:
        better, worse: (items,) figures of the same items, such as AP.
        groups: (items,) what is drawn: all items of a group (a clip) together; None: each alone.
        n: Resamples.
        seed: Fixes them.

    Raises:
        ValueError: `better` and `worse` are not of one length, or empty.

    Reference: Efron, Tibshirani, An introduction to the bootstrap, 1993, chapters 8 and 16.

    >>> paired_bootstrap([0.9, 0.8, 0.7], [0.1, 0.2, 0.3], n=99)
    0.01
    >>> paired_bootstrap([0.5, 0.5], [0.5, 0.5])
    1.0
    """
    first, second = (np.asarray(x, dtype=np.float64) for x in (better, worse))
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            "`better` and `worse` must be figures of the same items, (items,) each; "
            f"got shapes {first.shape} and {second.shape}."
        )
    difference = first - second
    if groups is not None:
        _, codes = np.unique(np.asarray(groups), return_inverse=True)
        difference = np.bincount(codes, weights=difference).astype(np.float64)
    # The sign of a mean is that of its sum, so the sizes of the groups need not be carried.
    rng = np.random.default_rng(seed)
    draws_at_once = max(1, 2**20 // len(difference))
    not_better = 0
    for start in range(0, n, draws_at_once):
        shape = (min(draws_at_once, n - start), len(difference))
        drawn = difference[rng.integers(0, len(difference), shape)]
        not_better += int(np.count_nonzero(drawn.sum(axis=1) <= 0))
    return (1 + not_better) / (n + 1)

"""What methods with posteriors share: heads, folds of whole groups, and mixtures of posteriors.

A posterior is p (n, C), the probability of each class for each row; its rows sum to 1.
"""

import hashlib
from typing import Literal

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.datasets import folds
from earsight.methods._base import Rows
from earsight.methods._linear.class_sums import common_classes
from earsight.methods._linear.streaming import Tally

Head = Literal["cosine", "centred", "probability"]
HEADS = ("cosine", "centred", "probability")
MAX_FOLDS = 5
EM_ROUNDS = 400


def with_head(p: FloatArray, head: Head, mean: FloatArray, place: int) -> FloatArray:
    """Turn posteriors into points that cosine similarity ranks.

    - "cosine": p, so that p·q/(|p||q|) ranks.
    - "centred": p − p̄, with p̄ the mean posterior of the training rows, for its cosine.
    - "probability": p beside `padding`, so that p·q ranks: the probability that two rows, seen
      in different modalities, have one class. The cosine divides by |q| and so ranks uncertain
      items of a gallery too high.

    Args:
        p: (n, C) posteriors.
        head: One of the three.
        mean: (C,) p̄ of this modality.
        place: 0 for the first modality, 1 for the second.
    """
    if head == "probability":
        return np.hstack([p, padding(p, place)])
    return p - mean if head == "centred" else p


def padding(vectors: FloatArray, place: int) -> FloatArray:
    """Return (n, 2): √(1 − |v|²) in the modality's own column, 0 in the other's.

    Beside it a vector has unit length, and since no two modalities share a column, the cosine
    between two of them is the inner product of the vectors themselves. Within one modality the
    cosine has √(1 − |v|²)·√(1 − |w|²) on top: an item is nearest to itself, and two items of which
    nothing is known are near. To rank by v·w there, leave the last two columns out.

    >>> padding(np.array([[0.6, 0.0], [0.0, 0.0]]), place=1)
    array([[0. , 0.8],
           [0. , 1. ]])
    """
    columns = np.zeros((len(vectors), 2))
    columns[:, place] = np.sqrt(np.maximum(1 - (vectors**2).sum(axis=1), 0.0))
    return columns


def head_width(head: Head, n_classes: int) -> int:
    """Return the width of the joint space that a head gives."""
    return n_classes + 2 * (head == "probability")


def class_codes(kind: str, rows: Rows) -> tuple[Labels, dict[str, IntArray]]:
    """Return the classes, sorted, and modality → (n,) the number of each row's class.

    Raises:
        LabelError: Fewer than two classes, or one that a modality lacks.
    """
    classes, _, _ = common_classes(kind, Tally.of(rows))
    labels = rows.labels or {}
    return classes, {name: np.searchsorted(classes, labels[name]) for name in rows.views}


def softmax(scores: FloatArray) -> FloatArray:
    """Return exp(s)/Σ exp(s) along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return np.asarray(shifted)


def log_loss(p: FloatArray, codes: IntArray) -> float:
    """Return the mean of −log p of each row's own class."""
    own = p[np.arange(len(codes)), codes]
    return -float(np.log(np.maximum(own, 1e-12)).mean())


def mixture_weights(
    likelihoods: FloatArray, pseudo_counts: float = 5.0, rounds: int = EM_ROUNDS
) -> FloatArray:
    """Return (K,) weights w of a linear mixture of K posteriors, by expectation-maximisation.

        rᵢₖ = wₖ Lᵢₖ / Σₗ wₗ Lᵢₗ,    wₖ ∝ a + Σᵢ rᵢₖ

    from a uniform start. Each round raises Σᵢ log Σₖ wₖ Lᵢₖ + a Σₖ log wₖ, which has one maximum.

    Args:
        likelihoods: (n, K) L, what each posterior gives to each row's own class.
        pseudo_counts: a, rows that each posterior is given for nothing.
        rounds: How often.

    >>> mixture_weights(np.array([[0.9, 0.1], [0.8, 0.3]]), pseudo_counts=0).round(2)
    array([1., 0.])
    """
    likelihoods = np.maximum(likelihoods, 1e-12)
    weights = np.full(likelihoods.shape[1], 1 / likelihoods.shape[1])
    for _ in range(rounds):
        # Σᵢ rᵢₖ = wₖ Σᵢ Lᵢₖ / (L w)ᵢ: two products, and nothing of (n, K) is made.
        weights = weights * ((1 / (likelihoods @ weights)) @ likelihoods) + pseudo_counts
        weights = weights / weights.sum()
    return np.asarray(weights)


def content_keys(views: dict[str, FloatArray], seed: int) -> Labels:
    """Return one key a row, drawn from what it holds: its order is random but not the rows'.

    So whatever is dealt out by these keys is the same for the same rows in any order.
    """
    keys = []
    for row in zip(*views.values(), strict=True):
        digest = hashlib.blake2b(seed.to_bytes(8, "little", signed=False), digest_size=8)
        for part in row:
            digest.update(np.ascontiguousarray(part).tobytes())
        keys.append(int.from_bytes(digest.digest(), "little"))
    return np.array(keys, dtype=np.uint64)


def inner_folds(codes: IntArray, groups: Labels | None, keys: Labels) -> list[IntArray]:
    """Split rows into at most five folds, stratified by class, each group whole in one fold.

    Rows are dealt in the order of their keys. With one group alone, its rows are dealt: there is
    nothing better to predict, though what is learned from them is then too hopeful.

    Args:
        codes: (n,) class of each row.
        groups: (n,) group of each row, or None: each row is its own.
        keys: (n,) from `content_keys`.

    Returns:
        Row numbers of each fold; together all rows, once.
    """
    if groups is not None and len(np.unique(groups)) < 2:
        groups = None
    n_units = len(codes) if groups is None else len(np.unique(groups))
    order = np.argsort(keys, kind="stable")
    own = None if groups is None else groups[order]
    return [np.sort(order[test]) for _, test in folds(codes[order], own, min(MAX_FOLDS, n_units))]

"""Folds of whole groups, stratified by class."""

import numpy as np

from earsight.arrays import ArrayLike, IntArray, as_labels
from earsight.errors import InputError

_MIN_TEST_CLIPS = 10
_MAX_FOLDS = 5


def n_folds_for(n_units: int) -> int | None:
    """Return how many folds leave at least 10 clips in each test fold, at most 5.

    Args:
        n_units: Clips (independent units, never windows or seconds).

    Returns:
        2 to 5; None below 20 clips, where nothing should be fitted.

    >>> [n_folds_for(n) for n in (19, 20, 35, 1000)]
    [None, 2, 3, 5]
    """
    n_folds = min(n_units // _MIN_TEST_CLIPS, _MAX_FOLDS)
    return n_folds if n_folds >= 2 else None


def folds(
    labels: ArrayLike | None, groups: ArrayLike | None, n_folds: int, seed: int = 0
) -> list[tuple[IntArray, IntArray]]:
    """Split rows into folds, stratified by class, each group whole in one fold.

    Groups, shuffled, are ordered by class and dealt out in turn like cards: the numbers of groups
    in two folds differ by one at most, in each class and in all. scikit-learn's
    StratifiedGroupKFold balances rows instead, and then a fold can hold fewer clips than asked.

    Args:
        labels: (n,) class of each row, or None: not stratified. A group of several classes counts
            as its most frequent one.
        groups: (n,) group of each row, or None: each row is its own.
        n_folds: At least 2.
        seed: Shuffles.

    Returns:
        (train rows, test rows) for each fold, sorted; every row is tested once.

    Raises:
        InputError: Neither labels nor groups, or fewer groups than folds.

    >>> folds(["a", "a", "b", "b"], None, 2)[0][1].tolist() in ([0, 2], [0, 3], [1, 2], [1, 3])
    True
    """
    given = groups if groups is not None else labels
    if given is None:
        raise InputError("`folds` needs labels or groups to know the rows; got neither.")
    n = len(np.asarray(given))
    rows_of = np.arange(n) if groups is None else as_labels(groups, "groups", n=n)
    names, group = np.unique(rows_of, return_inverse=True)  # group: (n,) numbers
    if not 2 <= n_folds <= len(names):
        raise InputError(
            f"`n_folds` must be from 2 to {len(names)}, the number of groups; got {n_folds}."
        )
    strata = np.zeros(len(names), int)
    if labels is not None:
        _, code = np.unique(as_labels(labels, "labels", n=n), return_inverse=True)
        votes = np.zeros((len(names), code.max() + 1), int)
        np.add.at(votes, (group, code), 1)
        strata = votes.argmax(axis=1)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    dealt = shuffled[np.argsort(strata[shuffled], kind="stable")]
    fold_of = np.empty(len(names), int)
    fold_of[dealt] = np.arange(len(names)) % n_folds
    fold = fold_of[group]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]

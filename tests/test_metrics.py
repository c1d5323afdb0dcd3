"""Every figure against a slow, obvious second implementation, and chance against enumeration."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earsight import metrics


def rankings(seed: int, n: int = 6, gallery: int = 15, levels: int = 5):
    """Few distances, so that most items tie; one query without a relevant item."""
    rng = np.random.default_rng(seed)
    distance = rng.integers(-levels, levels, (n, gallery)).astype(np.int32)
    relevant = rng.random((n, gallery)) < 0.4
    relevant[0] = False
    return distance, relevant


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 1000]))
@settings(max_examples=60, deadline=None)
def test_average_precision_is_that_of_scikit_learn(seed: int, levels: int) -> None:
    from sklearn.metrics import average_precision_score

    distance, relevant = rankings(seed, levels=levels)
    found = metrics.class_figures(distance, relevant, []).ap
    for row in range(1, len(distance)):
        expected = 0.0
        if relevant[row].any():
            expected = average_precision_score(relevant[row], -distance[row])
        assert found[row] == pytest.approx(expected, abs=1e-12)
    assert found[0] == 0


def slow_curve(distance: np.ndarray, relevant: np.ndarray) -> list[float]:
    """Interpolated precision of one query at 11 levels of recall, threshold by threshold."""
    points = []
    for threshold in np.unique(distance):
        taken = distance <= threshold
        hits = (taken & relevant).sum()
        points.append((hits / relevant.sum(), hits / taken.sum()))
    return [max(p for r, p in points if r >= level / 10 - 1e-12) for level in range(11)]


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 1000]))
@settings(max_examples=40, deadline=None)
def test_the_curve_is_the_best_precision_at_each_recall_or_above(seed: int, levels: int) -> None:
    distance, relevant = rankings(seed, levels=levels)
    found = metrics.class_figures(distance, relevant, []).curve
    for row in range(1, len(distance)):
        if relevant[row].any():
            expected = slow_curve(distance[row], relevant[row])
            np.testing.assert_allclose(found[row], expected, atol=1e-12)
    assert not found[0].any()


def random_orders(distance: np.ndarray) -> list[np.ndarray]:
    """All orders of a small gallery in which nearer items come first."""
    orders = [np.array(order) for order in permutations(range(len(distance)))]
    return [order for order in orders if (np.diff(distance[order]) >= 0).all()]


@pytest.mark.parametrize("seed", range(8))
def test_ranks_and_precision_are_expectations_over_the_orders_of_ties(seed: int) -> None:
    distance, relevant = rankings(seed, n=3, gallery=6, levels=2)
    own = np.array([0, 3, 5])
    ks = [1, 2, 4, 6]
    precision = metrics.class_figures(distance, relevant, ks).precision
    ranks = metrics.paired_ranks(distance, own)
    for row in range(3):
        orders = random_orders(distance[row])
        positions = np.array([np.flatnonzero(order == own[row])[0] + 1 for order in orders])
        assert ranks.rank()[row] == pytest.approx(positions.mean())
        assert ranks.reciprocal()[row] == pytest.approx((1 / positions).mean())
        for column, k in enumerate(ks):
            assert ranks.recall(k)[row] == pytest.approx((positions <= k).mean())
            hits = np.mean([relevant[row][order[:k]].mean() for order in orders])
            assert precision[row, column] == pytest.approx(hits)


def test_a_rank_that_is_not_shared_is_inverted_exactly() -> None:
    distance = np.arange(1000, dtype=np.int32)[None]
    for own in (0, 2, 999):
        assert metrics.paired_ranks(distance, np.array([own])).reciprocal()[0] == 1 / (own + 1)


@pytest.mark.parametrize(("n_relevant", "n_gallery"), [(0, 4), (1, 1), (1, 5), (2, 5), (5, 5)])
def test_chance_is_the_mean_over_all_orders(n_relevant: int, n_gallery: int) -> None:
    relevant = np.arange(n_gallery) < n_relevant
    orders = np.array(list(permutations(range(n_gallery))), dtype=np.int32)
    ap = metrics.class_figures(orders, np.tile(relevant, (len(orders), 1)), []).ap
    assert metrics.chance_average_precision(n_relevant, n_gallery) == pytest.approx(ap.mean())


def test_the_bootstrap_is_even_handed_and_sees_a_difference() -> None:
    rng = np.random.default_rng(0)
    worse = rng.random(200)
    p = [
        metrics.paired_bootstrap(worse + 0.1 * rng.normal(size=200), worse, n=500)
        for _ in range(200)
    ]
    assert 0.4 < np.mean(p) < 0.6 and 0.01 < np.mean(np.array(p) < 0.05) < 0.12
    assert metrics.paired_bootstrap(worse + 0.1, worse, n=500) == 1 / 501
    assert metrics.paired_bootstrap(worse, worse + 0.1, n=500) == 1
    first, again = (metrics.paired_bootstrap(worse, worse[::-1], n=500, seed=7) for _ in "ab")
    assert first == again


def test_the_bootstrap_draws_whole_groups() -> None:
    rng = np.random.default_rng(1)
    difference = rng.normal(0.3, 1, size=12)
    rows, groups = np.repeat(difference, 50), np.repeat(np.arange(12), 50)
    alone = metrics.paired_bootstrap(rows, np.zeros(600))
    grouped = metrics.paired_bootstrap(rows, np.zeros(600), groups=groups)
    clips = metrics.paired_bootstrap(difference, np.zeros(12))
    assert grouped == pytest.approx(clips, abs=0.02)
    assert alone < grouped / 5


def test_the_bootstrap_compares_the_same_items() -> None:
    for better, worse in (([0.1, 0.2], [0.1]), ([], []), (0.5, 0.5)):
        with pytest.raises(ValueError, match="figures of the same items"):
            metrics.paired_bootstrap(better, worse)

"""Sums over rows: near exact however rows are cut, merged and moved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earsight.covariance import ClassMoments, Moments
from earsight.errors import InputError

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


def summed(views: list[np.ndarray], cuts: list[int]) -> Moments:
    """Add the rows between the cuts as batches."""
    moments = Moments()
    for start, stop in zip([0, *cuts], [*cuts, len(views[0])], strict=True):
        moments.add([x[start:stop] for x in views])
    return moments


def drawn(dtype: type, offset: float, n: int = 9000) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    y = x[:, :3] + rng.normal(size=(n, 3))
    return [(view + offset).astype(dtype) for view in (x, y)]


def assert_exact(moments: Moments, views: list[np.ndarray], tolerance: float) -> None:
    rows = np.hstack(views).astype(np.longdouble)
    centred = rows - rows.mean(axis=0)
    exact = (centred.T @ centred / len(rows)).astype(np.float64)
    np.testing.assert_allclose(moments.covariance(), exact, atol=tolerance * exact.max())
    np.testing.assert_allclose(
        moments.mean(), rows.mean(axis=0).astype(float), tolerance, tolerance
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("offset", [0.0, 100.0, 1e6])
def test_a_common_offset_costs_no_precision(dtype: type, offset: float) -> None:
    views = drawn(dtype, offset)
    assert_exact(summed(views, []), views, TOLERANCE[dtype])
    rows = np.hstack(views).astype(np.float64)
    if offset == 1e6 and dtype == np.float64:
        plain = rows.T @ rows / len(rows) - np.outer(*[rows.mean(axis=0)] * 2)
        assert np.abs(plain - np.cov(rows.T, bias=True)).max() > 1e-6, "the trap that is avoided"


@given(st.lists(st.integers(0, 9000), max_size=6).map(sorted), st.sampled_from([*TOLERANCE]))
@settings(max_examples=20, deadline=None)
def test_batches_of_any_size_agree(cuts: list[int], dtype: type) -> None:
    views = drawn(dtype, 100.0)
    assert_exact(summed(views, cuts), views, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_passes_over_parts_that_differ_are_merged_in_any_grouping(dtype: type) -> None:
    views = drawn(dtype, 50.0)
    order = np.argsort(views[0][:, 0])  # so that each part has a mean of its own
    views = [x[order] for x in views]
    a, b, c = ([x[i : i + 3000] for x in views] for i in (0, 3000, 6000))
    for pair, other in (((a, b), c), ((c, a), b)):
        left, middle, right, empty = (summed(x, []) for x in (*pair, other, [v[:0] for v in a]))
        empty.merge(left)
        empty.merge(summed([v[:0] for v in a], []))
        right.merge(middle)
        empty.merge(right)
        assert empty.n == 9000
        assert_exact(empty, views, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_class_moments_are_sums_with_a_weight_for_each_class(dtype: type) -> None:
    rng = np.random.default_rng(5)
    x, codes = (rng.normal(size=(500, 4)) + 30).astype(dtype), np.sort(rng.integers(0, 3, 500))
    weights = np.array([2.0, 0.5, 7.0, 1.0])
    whole, left, right = (ClassMoments(4, weights) for _ in range(3))
    whole.add(x, codes)
    left.add(x[:200], codes[:200])
    right.add(x[200:], codes[200:])
    left.merge(right)
    for moments in (whole, left):
        shifted = x.astype(np.float64) - moments.shift
        second = (shifted * weights[codes, None]).T @ shifted
        sums = np.array([shifted[codes == c].sum(axis=0) for c in range(4)])
        scale = np.abs(second).max()
        np.testing.assert_allclose(moments.second(), second, atol=TOLERANCE[dtype] * scale)
        np.testing.assert_allclose(moments.sums, sums, atol=TOLERANCE[dtype] * scale)
        assert moments.counts.tolist() == np.bincount(codes, minlength=4).tolist()


def test_products_that_overflow_are_refused() -> None:
    with pytest.raises(InputError, match="squared in float32; their products overflow"):
        summed([np.array([[1e25], [-1e25]], np.float32)], [])

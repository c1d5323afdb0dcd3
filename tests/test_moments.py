"""Sums over rows: the same bits however the rows come, and as precise as float64 allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earsight.covariance import Blocks, ClassMoments, Moments, Total
from earsight.errors import InputError


def whole(x: np.ndarray, y: np.ndarray, sizes: list[int], size: int = 8) -> Moments:
    """One pass over the rows, handed over in batches of the given sizes."""
    cut, moments, start = Blocks(size), Moments(), 0
    blocks = []
    for n in [*sizes, len(x)]:
        blocks += cut.push(x[start : start + n], y[start : start + n])
        start += n
    for bx, by in [*blocks, *cut.rest()]:
        moments.add({"x": bx, "y": by})
    return moments


def same(a: Moments, b: Moments) -> bool:
    pairs = [("x", "x"), ("x", "y"), ("y", "y")]
    return (
        a.n == b.n
        and all(
            np.array_equal(f(*pair), g(*pair))
            for f, g in [(a.covariance, b.covariance)]
            for pair in pairs
        )
        and all(np.array_equal(a.mean(name), b.mean(name)) for name in "xy")
    )


@given(st.lists(st.integers(1, 20), max_size=8), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=40, deadline=None)
def test_batches_of_any_size_give_the_same_bits(sizes, dtype) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(53, 4)).astype(dtype), rng.normal(size=(53, 3)).astype(dtype)
    assert same(whole(x, y, sizes), whole(x, y, [53]))


def test_the_memory_layout_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 40)), rng.normal(size=(300, 30))
    assert same(whole(np.asfortranarray(x), y[:, ::-1][:, ::-1], [7], 64), whole(x, y, [300], 64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_passes_merged_at_a_block_border_are_one_pass(dtype) -> None:
    rng = np.random.default_rng(2)
    x, y = (5 + rng.normal(size=(61, d)).astype(dtype) ** 3 for d in (6, 5))
    single = whole(x, y, [61])
    for border in range(8, 61, 8):
        left, right = Moments(single.shifts), Moments(single.shifts)
        for start in range(0, 61, 8):
            block = {"x": x[start : start + 8], "y": y[start : start + 8]}
            (left if start < border else right).add(block)
        left.merge(right)
        assert same(left, single)


def test_passes_with_other_shifts_cannot_be_merged() -> None:
    a, b = Moments({"x": np.zeros(2)}), Moments({"x": np.ones(2)})
    with pytest.raises(InputError, match="same shifts"):
        a.merge(b)


def test_float32_rows_with_a_mean_of_100_lose_nothing() -> None:
    rng = np.random.default_rng(3)
    x = (100 + rng.normal(size=(20_000, 6))).astype(np.float32)
    moments, cut = Moments(), Blocks()
    for (block,) in [*cut.push(x), *cut.rest()]:
        moments.add({"x": block})
    exact = np.cov(x.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(moments.covariance("x", "x"), exact, atol=1e-6)
    np.testing.assert_allclose(moments.mean("x"), x.mean(axis=0, dtype=np.float64), rtol=1e-9)
    plain = (x.T @ x).astype(np.float64) / len(x) - np.outer(*[x.mean(axis=0)] * 2)
    assert np.abs(plain - exact).max() > 1e-4, "the trap that the shift avoids"


@given(st.permutations(range(12)), st.integers(1, 11))
@settings(max_examples=30, deadline=None)
def test_a_total_does_not_depend_on_order_or_grouping(order, border) -> None:
    rng = np.random.default_rng(4)
    terms = rng.normal(size=(12, 3, 5)) * 10.0 ** rng.integers(-8, 9, (12, 1, 1))
    straight, left, right = Total((3, 5)), Total((3, 5)), Total((3, 5))
    for term in terms:
        straight.add(term)
    for i, j in enumerate(order):
        (left if i < border else right).add(terms[j])
    left.merge(right)
    assert np.array_equal(left.value(), straight.value())


def test_class_moments_are_sums_with_a_weight_for_each_class() -> None:
    rng = np.random.default_rng(5)
    x, codes = rng.normal(size=(50, 4)) + 3, rng.integers(0, 3, 50)
    weights = np.array([2.0, 0.5, 7.0])
    moments, cut = ClassMoments(4, np.append(weights, 1.0)), Blocks(16)
    for block in [*cut.push(x, codes), *cut.rest()]:
        moments.add(*block)
    shifted = x - moments.shift
    second = sum(weights[c] * np.outer(row, row) for row, c in zip(shifted, codes, strict=True))
    np.testing.assert_allclose(moments.second(), second, rtol=1e-13)
    for c in range(3):
        np.testing.assert_allclose(moments.sums()[c], shifted[codes == c].sum(axis=0), atol=1e-13)
    assert moments.counts.tolist() == [*np.bincount(codes).tolist(), 0]
    assert not moments.sums()[3].any()


def test_class_moments_merge_at_a_block_border() -> None:
    rng = np.random.default_rng(6)
    x, codes = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 3, 40)
    weights, shift = np.array([3.0, 1.0, 2.0]), np.full(3, 0.25, dtype=np.float32)
    single, left, right = (ClassMoments(3, weights, shift) for _ in range(3))
    for start in range(0, 40, 8):
        part = slice(start, start + 8)
        single.add(x[part], codes[part])
        (left if start < 16 else right).add(x[part], codes[part])
    left.merge(right)
    assert np.array_equal(left.second(), single.second())
    assert np.array_equal(left.sums(), single.sums())
    assert np.array_equal(left.counts, single.counts)
    with pytest.raises(InputError, match="same classes and weights"):
        left.merge(ClassMoments(3, None, shift))

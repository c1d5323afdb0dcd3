"""`top` against a sort of exact similarities."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earsight import similarity
from earsight.similarity import top


def slowly(query: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """One pair at a time, in exact sums, sorted by score and then by place."""

    def unit(x: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(x)
        return x / length if length else x

    items = [unit(x) for x in gallery]
    found, scores = [], []
    for q in map(unit, query):
        own = [round(2**20 * math.fsum(q * x)) for x in items]
        order = sorted(range(len(own)), key=lambda i: (-own[i], i))[:k]
        found.append(order)
        scores.append([own[i] / 2**20 for i in order])
    return np.array(found), np.array(scores)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(40, 300),
    d=st.integers(1, 6),
    k=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["any", "copies", "few values", "zeros", "one item"]),
)
def test_many_blocks_are_one_sort(n: int, d: int, k: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = rng.normal(size=(9, d)), rng.normal(size=(n, d))
    if kind == "copies":
        gallery = gallery[rng.integers(0, 5, n)]
    elif kind == "few values":
        query, gallery = np.rint(query), np.rint(gallery)
    elif kind == "zeros":
        gallery[rng.random(n) < 0.9] = 0.0
    elif kind == "one item":
        gallery[:] = gallery[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_BLOCK", 500)
        found, scores = top(query, gallery, k)
    expected, exact = slowly(query, gallery, k)
    np.testing.assert_array_equal(scores, exact)
    np.testing.assert_array_equal(found, expected)


def test_what_single_precision_cannot_tell_apart_is_told_apart() -> None:
    """Thousands of items that differ in the last bits of single precision, better ones later."""
    rng = np.random.default_rng(0)
    axis = rng.normal(size=64)
    query = axis / np.linalg.norm(axis)
    aside = rng.normal(size=64)
    aside -= (aside @ query) * query
    gallery = query + np.linspace(3e-3, 1e-3, 5_000)[:, None] * aside / np.linalg.norm(aside)
    found, scores = top(query[None], gallery, 10)
    expected, exact = slowly(query[None], gallery, 10)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, exact)

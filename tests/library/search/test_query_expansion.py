"""A query among its like: what goes with them, and where it stays as it is."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from earsight.library.search import query_expansion
from earsight.library.search.query import EmbeddedQuery
from earsight.library.search.query_expansion import (
    FEEDBACK_WEIGHT,
    expand_from_library,
    expand_query,
    similar_seconds,
)
from earsight.library.search.time_points import Block, TimePoints

KINDS = 4  # of things, each heard and seen for two seconds after a second of nothing
NAMED = {"audio": [0, 1, 2, 3], "visual": [0, 1, 3, 2]}  # two are taken for each other, seen


def drawn_slowly(q: np.ndarray, weights: list[float], points: list[np.ndarray]) -> np.ndarray:
    top = bottom = 0.0
    common = np.zeros(len(q))
    for i, (w, x) in enumerate(zip(weights, points, strict=True)):
        common += w * x
        for j, (other, y) in enumerate(zip(weights, points, strict=True)):
            if i != j:
                top += w * other * float(x @ y)
                bottom += w * other
    rho = max(0.0, top / bottom)
    moved = q + FEEDBACK_WEIGHT * rho * common / math.sqrt(float(common @ common))
    return moved / math.sqrt(float(moved @ moved))


@pytest.mark.parametrize("seed", range(6))
def test_a_query_is_drawn_as_the_formula_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(7, 5)) + rng.normal(size=5) * (seed % 3)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    query, weights = np.eye(5)[0], rng.random(7)
    found = expand_query(query, weights, points.astype(np.float32))
    assert np.allclose(found, drawn_slowly(query, weights.tolist(), [*points]), atol=1e-6)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "points", [np.zeros((0, 2)), [[0.0, 1.0]], [[0.0, 1.0], [0.0, -1.0]]],
    ids=["nothing", "one alone", "no agreement"],
)  # fmt: skip
def test_without_agreement_a_query_stays(points: object) -> None:
    at = np.array(points)
    assert expand_query(np.array([1.0, 0.0]), np.ones(len(at)), at).tolist() == [1.0, 0.0]


class Library:
    """An opened library of two recordings in which each kind comes up twice."""

    def __init__(self, lost: str = "") -> None:
        clip = SimpleNamespace(seconds=3.0 * 2 * KINDS, has=("audio", "visual"))
        deaf = SimpleNamespace(seconds=3.0, has=("visual",))
        self.by_content = {"a": [clip], "b": [clip], "deaf": [deaf]}
        self.time_points = self
        self.space = SimpleNamespace(scale=lambda by, for_: 1.0)
        self._lost = lost

    def some(self, modality: str, durations: dict[str, float]) -> dict[str, Block]:
        there = [content for content in durations if content != self._lost]
        return {content: self.of(modality, content) for content in there}

    def of(self, modality: str, content: str) -> Block:
        points = np.zeros((6 * KINDS, KINDS), np.float32)
        for second in range(6 * KINDS):
            if second % 3:
                points[second, NAMED[modality][second // 3 % KINDS]] = 1
        present = np.arange(6 * KINDS) % 3 > 0
        return Block([content], np.array([0, 6 * KINDS]), points, present)

    score = TimePoints.score

    def blocks(self, modality, durations, only):  # type: ignore[no-untyped-def]
        for content in [one for one in "ab" if one in durations and one in only]:
            yield self.of(modality, content)


def asks(kind: int, by: str = "audio", content: str | None = None) -> EmbeddedQuery:
    vector = np.eye(KINDS, dtype=np.float32)[NAMED[by][kind]]
    for_ = {"audio": "visual", "visual": "audio"}[by]
    return EmbeddedQuery(name="", by=by, for_=for_, vector=vector, content=content)


@pytest.mark.parametrize("by", ["audio", "visual"])
@pytest.mark.parametrize("kind", range(KINDS))
def test_what_is_misnamed_is_found_by_what_goes_with_its_like(by: str, kind: int) -> None:
    other = {"audio": "visual", "visual": "audio"}[by]
    library = Library()
    points = library.of(other, "a").points
    right = np.arange(6 * KINDS) // 3 % KINDS == kind
    alone = points @ asks(kind, by).vector
    assert right[alone.argmax()] == (kind < 2)
    assert right[(points @ expand_from_library(library, asks(kind, by)).vector).argmax()]


def test_what_the_query_itself_says_is_not_asked() -> None:
    library, query = Library(), asks(2)
    everything = expand_from_library(library, query).vector
    assert not np.allclose(everything, query.vector)
    for known in ("a", "b"):  # the other recording agrees
        own = expand_from_library(library, replace(query, content=known)).vector
        assert np.allclose(own, everything, atol=1e-6)
    only = Library(lost="b")
    assert np.allclose(expand_from_library(only, query).vector, everything, atol=1e-6)
    for own in (("a", 0.0, 99.0), ("a", 6.0, 9.0)):  # of what is left, none or one is like it
        left = expand_from_library(only, query, own).vector
        assert np.array_equal(left, query.vector)
    elsewhere = expand_from_library(only, query, ("a", 9.0, 12.0)).vector
    assert np.allclose(elsewhere, everything, atol=1e-6)


def test_words_and_the_same_side_are_asked_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    for query in (replace(asks(2), for_="audio"), replace(asks(2), by="text")):
        assert expand_from_library(library, query) is query
    monkeypatch.setattr(query_expansion, "MAX_SECONDS", 47)
    query = asks(2)
    assert expand_from_library(library, query) is query
    assert query.notes == [
        "The library is too long to look through for what goes with the like of this query; the "
        "query was not expanded."
    ]


def test_the_like_of_a_query_are_the_heights_of_its_moments() -> None:
    scores = np.array([0.1, 0.7, 0.9, 0.1, 0.0, -0.5, -0.9, 0.4, -0.5, -np.inf])
    assert similar_seconds(scores, np.array([0, 5, 10])) == [(0, 2, 0.9), (1, 2, 0.4)]

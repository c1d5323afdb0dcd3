"""Into how many parts of LanceDB's index a question looks: as many as the vectors need."""

import numpy as np
import pytest

from _rows import make_rows
from earsight.vectors import LanceIndex, _probes, lance

N, DIM = 24_000, 16


def drawn(rng: np.random.Generator, centres: np.ndarray, n: int) -> np.ndarray:
    near = centres[rng.integers(0, len(centres), n)]
    return (near + rng.normal(size=(n, DIM))).astype("f4")


def recalls(index: LanceIndex, queries: np.ndarray) -> float:
    where = {"modality": "audio"}
    exact = index._search_all(queries, 10, where)
    found = index.search(queries, 10, where)
    return float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, exact, strict=True)]))


@pytest.fixture
def fewest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_probes, "_FEWEST", 1)
    monkeypatch.setattr(_probes, "_GROWTH", 2)
    monkeypatch.setattr(lance, "EXACT_ROWS", 100)


def test_vectors_without_groups_take_more_parts_than_those_with(tmp_path, fewest):
    needed = {}
    for name, spread in (("groups", 50.0), ("none", 0.0)):
        rng = np.random.default_rng(0)
        centres = spread * rng.normal(size=(30, DIM))
        index = LanceIndex(tmp_path, name)
        index.create(DIM)
        index.upsert(make_rows(N), drawn(rng, centres, N))
        index.optimize()
        needed[name] = lance.probes(index._open().schema)
        assert recalls(index, drawn(rng, centres, 100)) >= 0.97
    assert needed["groups"] < needed["none"]


def test_a_filter_that_leaves_far_rows_alone_finds_them(tmp_path, fewest):
    rng = np.random.default_rng(2)
    centres = 50.0 * rng.normal(size=(30, DIM))
    near = np.sort(rng.integers(0, 30, N))  # a group's contents follow one another
    index = LanceIndex(tmp_path, "t")
    index.create(DIM)
    index.upsert(rows := make_rows(N), (centres[near] + rng.normal(size=(N, DIM))).astype("f4"))
    index.optimize()
    for group in range(1, 30, 7):
        far = sorted({rows[i].content for i in np.flatnonzero(near == group)})
        asked = centres[:1]
        for where in ({"content": far}, {"content": far, "modality": "audio"}):
            assert index.search(asked, 20, where) == index._search_all(asked, 20, where)
    assert [len(hits) for hits in index.search(centres[:2], N)] == [N, N]


def test_what_is_written_is_used(tmp_path, fewest):
    rng = np.random.default_rng(1)
    index = LanceIndex(tmp_path, "t")
    index.create(DIM)
    index.upsert(make_rows(N), drawn(rng, np.zeros((1, DIM)), N))
    index.optimize()
    queries = drawn(rng, np.zeros((1, DIM)), 50)
    assert recalls(index, queries) >= 0.97
    one = {"path": "vector", "metadata": {lance._PROBES: "1"}}
    index._open().update_field_metadata(one)
    assert recalls(index, queries) < 0.9
    index.optimize()  # the index stands, and what is known of it
    assert lance.probes(index._open().schema) == 1

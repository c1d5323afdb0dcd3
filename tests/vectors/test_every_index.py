"""What every vector index promises, whatever engine is behind it."""

import uuid
from functools import cache

import numpy as np
import pytest

from _rows import found, make_rows, slow_search
from earsight.errors import InputError, LibraryError
from earsight.vectors import EMBEDDED, LanceIndex, Row, VectorIndex, lance, open_index
from earsight.vectors import milvus as milvus_engine


def make_index(engine, folder, request):
    address = EMBEDDED
    if engine != EMBEDDED:
        address = request.getfixturevalue("milvus").address
    made = open_index(address, folder, f"t{uuid.uuid4().hex}")
    made.create(5)
    return made


@pytest.fixture(scope="module")
def standing(request, tmp_path_factory):
    """Give one table of each engine, made once, because a server takes half a second for it."""
    return cache(lambda engine: make_index(engine, tmp_path_factory.mktemp("vectors"), request))


@pytest.fixture(params=[EMBEDDED, "milvus"])
def index(request, standing):
    """Give an empty table."""
    made = standing(request.param)
    made.delete({row.content for row in made.rows()})
    return made


@pytest.fixture(params=[EMBEDDED, "milvus"])
def own_index(request, tmp_path):
    """Give an empty table that a test may spoil."""
    made = make_index(request.param, tmp_path, request)
    yield made
    made.drop()


def test_rows_come_back_as_written(index):
    rows, vectors = make_rows(30), np.random.default_rng(0).normal(size=(30, 5)).astype("f4")
    index.upsert(rows, vectors)
    read_rows, read_vectors = zip(*index.read(), strict=True)
    back = dict(
        zip((r for part in read_rows for r in part), np.concatenate(read_vectors), strict=True)
    )
    assert set(back) == set(rows)
    assert all(np.array_equal(back[row], vector) for row, vector in zip(rows, vectors, strict=True))
    assert index.rows() == rows
    assert index.rows({"window": 1, "modality": "visual"}) == [
        row for row in rows if row.window == 1 and row.modality == "visual"
    ]


def test_it_is_a_vector_index(index):
    standing: VectorIndex = index
    assert standing.count() == 0
    assert standing.search(np.ones((2, 5)), 3) == [[], []]


@pytest.mark.parametrize("seed", range(3))
def test_search_is_the_slow_search(index, seed):
    rng = np.random.default_rng(seed)
    # Few whole numbers: many equal vectors, equal scores, zeros.
    rows, vectors = make_rows(60), rng.integers(-1, 2, size=(60, 5)).astype("f4")
    order = rng.permutation(60)
    for part in np.array_split(order, 4):  # written in any order, in any batches
        index.upsert([rows[i] for i in part], vectors[part])
    queries = np.concatenate([rng.integers(-1, 2, size=(6, 5)), np.zeros((1, 5))])
    for k in (1, 7, 100):
        got = index.search(queries, k)
        assert [found(hits) for hits in got] == [
            slow_search(rows, vectors, query, k) for query in queries
        ]


def test_scores_do_not_depend_on_where_a_row_stands(index):
    rng = np.random.default_rng(7)
    vectors = np.repeat(rng.normal(size=(300, 5)), 2, axis=0)[rng.permutation(600)].astype("f4")
    index.upsert(make_rows(600), vectors)
    score_of = {}
    for hit in index.search(vectors[:1], 600)[0]:
        score_of.setdefault(vectors[int(hit.row.key[1:])].tobytes(), set()).add(hit.score)
    assert len(score_of) == 300
    assert all(len(scores) == 1 for scores in score_of.values())


def test_blocks_do_not_change_the_ranking(index, monkeypatch):
    rng = np.random.default_rng(4)
    rows, vectors = make_rows(200), rng.integers(-1, 2, size=(200, 5)).astype("f4")
    index.upsert(rows, vectors)
    whole = index.search(vectors[:5], 9)
    monkeypatch.setattr(lance, "_BLOCK", 7)
    monkeypatch.setattr(milvus_engine, "_MESSAGE", 7 * 4 * 5)
    assert index.search(vectors[:5], 9) == whole


def test_search_within_a_filter(index):
    rng = np.random.default_rng(5)
    rows, vectors = make_rows(40), rng.normal(size=(40, 5)).astype("f4")
    index.upsert(rows, vectors)
    kept = [i for i, row in enumerate(rows) if row.modality == "audio" and row.content != "c0"]
    where = {"modality": "audio", "content": [f"c{i}" for i in range(1, 20)]}
    got = index.search(vectors[:1], 5, where)[0]
    assert found(got) == slow_search([rows[i] for i in kept], vectors[kept], vectors[0], 5)
    assert index.count(where) == len(kept)
    assert index.search(vectors[:1], 5, {"content": []}) == [[]]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_large_table_is_searched_by_the_engine_with_the_same_order(
    own_index, monkeypatch, indexed
):
    rng = np.random.default_rng(6)
    rows, vectors = make_rows(600), rng.normal(size=(600, 5)).astype("f4")
    vectors[10] = vectors[20] = vectors[30]
    own_index.upsert(rows, vectors)
    queries = np.concatenate([vectors[:8], vectors[10:11], np.zeros((1, 5), "f4")])
    exact = own_index.search(queries, 10, {"modality": "audio"})
    monkeypatch.setattr(lance, "EXACT_ROWS", 100)
    monkeypatch.setattr(milvus_engine, "EXACT_ROWS", 100)
    if indexed:
        own_index.optimize()
        indexed = isinstance(own_index, LanceIndex) and own_index._open().list_indices()
        assert indexed or not own_index._is_exact
    assert own_index.search(queries, 10, {"modality": "audio"}) == exact
    assert own_index.search(queries[:-1], 10, {"modality": "audio"}) == exact[:-1]


def test_a_key_that_stands_is_replaced(index):
    rows = make_rows(4)
    index.upsert(rows, np.eye(4, 5))
    index.upsert(rows[1:2], np.full((1, 5), 9.0))
    assert index.count() == 4
    ((_, vectors),) = index.read({"key": rows[1].key})
    assert vectors.tolist() == [[9.0] * 5]


def test_delete_by_content(index):
    index.upsert(make_rows(9), np.ones((9, 5)))
    assert index.delete(["c0", "c2", "not there"]) == 6
    assert {row.content for row in index.rows()} == {"c1"}
    assert index.delete([]) == 0


@pytest.mark.parametrize("evil", ["o'b", "x') OR true --", "a\\'b", '"; DROP', "é\n%"])
def test_no_value_of_a_filter_is_read_as_sql(index, evil):
    rows = [Row("k1", evil, "audio", 0, 0.0, 1.0), Row("k2", "plain", "audio", 0, 0.0, 1.0)]
    index.upsert(rows, np.ones((2, 5)))
    assert index.count({"content": evil}) == 1
    assert index.delete([evil]) == 1
    assert [row.key for row in index.rows()] == ["k2"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.create(6), "width 5; got 6"),
        (lambda i: i.create(0), "`dim` must be at least 1"),
        (lambda i: i.search(np.ones((1, 4)), 1), "must have 5 features, as the index has; got 4"),
        (lambda i: i.search(np.ones((1, 5)), 0), "`k` must be at least 1; got 0"),
        (lambda i: i.search(np.ones((1, 5)), 1, {"colour": "red"}), "must name columns .*'colour'"),
        (lambda i: i.count({"window": 1.5}), "strings or whole numbers; got 1.5"),
        (lambda i: i.upsert(make_rows(2), np.ones((3, 5))), r"shape \(2, 5\)"),
        (lambda i: i.upsert([], np.ones((3, 5))), r"shape \(0, 5\)"),
        (lambda i: i.upsert(make_rows(1), np.full((1, 5), np.nan)), "must be finite"),
        (lambda i: i.upsert(make_rows(1) * 2, np.ones((2, 5))), "'k0000' twice"),
    ],
)
def test_mistakes_are_named_and_change_nothing(index, call, message):
    index.upsert(make_rows(3), np.ones((3, 5)))
    with pytest.raises(InputError, match=message):
        call(index)
    assert index.rows() == make_rows(3)


def test_create_keeps_what_stands_and_drop_removes_it(own_index):
    own_index.upsert(make_rows(3), np.ones((3, 5)))
    own_index.create(5)
    assert (own_index.exists, own_index.count(), own_index.dim) == (True, 3, 5)
    own_index.drop()
    own_index.drop()
    assert not own_index.exists
    with pytest.raises(LibraryError, match=r"is not there|There is no table"):
        own_index.count()
    own_index.create(6)
    assert (own_index.count(), own_index.dim) == (0, 6)

"""The vector store: exact ranking, filters, and what happens when the machine fails."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earsight.errors import InputError, LibraryError
from earsight.features import FeatureSequence
from earsight.vectors import (
    LanceIndex,
    Row,
    SequenceStore,
    StoredSequence,
    VectorIndex,
    lance,
    table_names,
)


def make_rows(n, first=0):
    return [
        Row(f"k{i:04d}", f"c{i // 3}", ("audio", "visual")[i % 2], i % 3, i * 0.5, i * 0.5 + 1)
        for i in range(first, first + n)
    ]


def slow_search(rows, vectors, query, k):
    """Score one pair at a time in float64, sort by score and key."""
    scored = []
    for row, vector in zip(rows, vectors, strict=True):
        a, b = query.astype(float), vector.astype(float)
        norms = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
        cosine = float((a * b).sum() / norms) if norms > 0 else 0.0
        scored.append((-round(cosine * 2**20) / 2**20, row.key))
    return [(key, -score) for score, key in sorted(scored)[:k]]


def found(hits):
    return [(hit.row.key, hit.score) for hit in hits]


@pytest.fixture
def index(tmp_path):
    made = LanceIndex(tmp_path / "vectors", "clips")
    made.create(5)
    return made


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
def test_a_large_table_is_searched_by_the_engine_with_the_same_order(index, monkeypatch, indexed):
    rng = np.random.default_rng(6)
    rows, vectors = make_rows(600), rng.normal(size=(600, 5)).astype("f4")
    vectors[10] = vectors[20] = vectors[30]
    index.upsert(rows, vectors)
    queries = np.concatenate([vectors[:8], vectors[10:11], np.zeros((1, 5), "f4")])
    exact = index.search(queries, 10, {"modality": "audio"})
    monkeypatch.setattr(lance, "EXACT_ROWS", 100)
    if indexed:
        index.optimize()
        assert index._open().list_indices()
    assert index.search(queries, 10, {"modality": "audio"}) == exact
    assert index.search(queries[:-1], 10, {"modality": "audio"}) == exact[:-1]


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


def test_create_keeps_what_stands_and_drop_removes_it(tmp_path):
    folder = tmp_path / "vectors"
    assert table_names(folder) == []
    index = LanceIndex(folder, "a")
    with pytest.raises(LibraryError, match=r"There is no table 'a' in .*index first"):
        index.count()
    index.create(5)
    index.upsert(make_rows(3), np.ones((3, 5)))
    index.create(5)
    assert (index.count(), index.dim, table_names(folder)) == (3, 5, ["a"])
    index.drop()
    index.drop()
    assert table_names(folder) == []


def test_a_table_killed_while_it_was_made_is_made_again(tmp_path):
    (tmp_path / "a.lance" / "data").mkdir(parents=True)
    (tmp_path / "a.lance" / "data" / "half.lance").write_bytes(b"half")
    assert table_names(tmp_path) == []
    index = LanceIndex(tmp_path, "a")
    index.create(5)
    index.upsert(make_rows(3), np.ones((3, 5)))
    assert index.count() == 3


def test_optimize_keeps_the_rows_and_removes_versions(index):
    for i in range(12):
        index.upsert(make_rows(3, 3 * i), np.ones((3, 5)))
    versions = len(list(index.folder.rglob("*.manifest")))
    index.optimize(keep=timedelta(milliseconds=1))
    assert index.rows() == make_rows(36)
    assert len(list(index.folder.rglob("*.manifest"))) < versions


# Sequences


@st.composite
def sequences(draw):
    n, dim = draw(st.integers(0, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.random(n).astype("f4") if draw(st.booleans()) else None
    times = rng.random(n) * 1e4
    return FeatureSequence(
        rng.normal(size=(n, dim)).astype("f4"), times, draw(st.floats(0, 9)), weights
    )


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(sequences(), min_size=1, max_size=6))
def test_sequences_come_back_bit_for_bit(tmp_path, some):
    store = SequenceStore(tmp_path, "sequences")
    store.drop()
    store.create()
    stored = [StoredSequence(f"k{i}", f"c{i}", "yamnet", s) for i, s in enumerate(some)]
    store.upsert(stored)
    back = store.get([*store.keys(), "not there"])
    assert list(store.keys()) == [item.key for item in stored]
    for item in stored:
        got, given = back[item.key].sequence, item.sequence
        assert (back[item.key].content, back[item.key].source) == (item.content, "yamnet")
        assert got.values.dtype == np.float32 and np.array_equal(got.values, given.values)
        assert got.values.flags.writeable
        assert np.array_equal(got.times, given.times) and got.span == given.span
        if given.weights is None:
            assert got.weights is None
        else:
            assert np.array_equal(got.weights, given.weights)


def test_sequences_are_replaced_and_deleted(tmp_path):
    store = SequenceStore(tmp_path, "s")
    store.create()
    store.upsert([])
    sequence = FeatureSequence(np.ones((2, 3), "f4"), np.arange(2.0))
    store.upsert([StoredSequence(key, key[0], "x", sequence) for key in ("a1", "a2", "b1")])
    store.upsert([StoredSequence("b1", "b", "y", sequence)])
    assert [item.source for item in store.read({"content": "b"})] == ["y"]
    assert store.delete(["a"]) == 2
    assert store.keys() == ["b1"]
    with pytest.raises(InputError, match="'b1' twice"):
        store.upsert([StoredSequence("b1", "b", "y", sequence)] * 2)


# Faults


WRITER = """
    import sys
    import numpy as np
    from earsight.vectors import LanceIndex, Row
    index = LanceIndex(sys.argv[1], "t")
    index.create(5)
    for batch in range(int(sys.argv[2])):
        rows = [Row(f"{batch:04d}-{i}", f"c{batch}", "audio", i, 0.0, 1.0) for i in range(20)]
        index.upsert(rows, np.full((20, 5), batch + 1.0))
        print(batch, flush=True)
"""


def start(script, *arguments, before=()):
    command = [*before, sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    source = Path(__file__).parents[1] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def whole_batches(index):
    """Return how many batches are there, each whole and with its own vectors."""
    seen = {}
    for rows, vectors in index.read():
        for row, vector in zip(rows, vectors, strict=True):
            batch = int(row.key.split("-")[0])
            assert vector.tolist() == [batch + 1.0] * 5
            seen[batch] = seen.get(batch, 0) + 1
    assert set(seen.values()) <= {20}
    assert sorted(seen) == list(range(len(seen)))
    return len(seen)


@pytest.mark.parametrize("after", [1, 9])
def test_kill_9_leaves_every_acknowledged_row(tmp_path, after):
    with start(WRITER, tmp_path, 100_000) as writer:
        for line in writer.stdout:
            if int(line) >= after:
                break
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = max([after, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    index = LanceIndex(tmp_path, "t")
    assert whole_batches(index) in (acknowledged + 1, acknowledged + 2)
    index.upsert(make_rows(1), np.ones((1, 5)))  # and the table takes new rows
    assert index.count({"key": "k0000"}) == 1


def test_readers_see_whole_batches_while_another_process_writes(tmp_path):
    counts = []
    with start(WRITER, tmp_path, 40) as writer:
        assert writer.stdout.readline() == "0\n"
        index = LanceIndex(tmp_path, "t")
        while writer.poll() is None:
            counts.append(whole_batches(index))
            assert len(index.search(np.ones((1, 5)), 20)[0]) == 20
    assert counts == sorted(counts)
    assert counts[0] < 40
    assert whole_batches(index) == 40


FULL_DISK = """
    import json, subprocess, sys
    import numpy as np
    from earsight.errors import LibraryError
    from earsight.vectors import LanceIndex, Row
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", sys.argv[1]], check=True)
    index = LanceIndex(sys.argv[1] + "/vectors", "t")
    index.create(64)
    acknowledged, messages = 0, []
    try:
        for batch in range(100):
            rows = [Row(f"{batch}-{i}", f"c{batch}", "audio", i, 0.0, 1.0) for i in range(200)]
            index.upsert(rows, np.random.default_rng(batch).normal(size=(200, 64)))
            acknowledged += 200
    except LibraryError as error:
        messages.append(str(error))
    subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
    try:
        index.delete(["c0"])
    except LibraryError as error:
        messages.append(str(error))
    hits = index.search(np.ones((1, 64)), 3)[0]
    print(json.dumps([acknowledged, index.count(), len(index.rows()), len(hits), messages]))
"""


def test_a_full_and_a_read_only_disk_are_named_and_lose_nothing(tmp_path):
    own_mounts = ("unshare", "--map-root-user", "--mount")
    with start(FULL_DISK, tmp_path, before=own_mounts) as process:
        acknowledged, count, n_rows, n_hits, messages = json.loads(process.stdout.read())
    assert acknowledged > 0
    assert count == n_rows == acknowledged
    assert n_hits == 3
    full, read_only = messages
    assert full.startswith("Cannot write table 't'") and "the disk is full" in full
    assert read_only.startswith("Cannot write table 't'") and "the folder is read-only" in read_only


@pytest.mark.parametrize("pattern", ["data/*.lance", "_versions/*.manifest"])
@pytest.mark.parametrize("harm", ["cut", "zeros", "removed"])
def test_a_damaged_table_says_so(index, pattern, harm):
    index.upsert(make_rows(50), np.ones((50, 5)))
    for file in (index.folder / "clips.lance").glob(pattern):
        content = file.read_bytes()
        if harm == "removed":
            file.unlink()
        else:
            file.write_bytes(content[: len(content) // 3] if harm == "cut" else bytes(len(content)))
    for call in (index.rows, lambda: index.search(np.ones((1, 5)), 3), lambda: list(index.read())):
        with pytest.raises(LibraryError, match=r"'clips' in .*index (again with --rebuild|first)"):
            call()
    index.drop()
    index.create(5)
    assert index.count() == 0


@pytest.mark.long
def test_no_damage_gives_any_other_error(index):
    index.upsert(make_rows(300), np.random.default_rng(0).normal(size=(300, 5)))
    index.delete(["c5"])
    table, kept = index.folder / "clips.lance", index.folder.parent / "kept"
    shutil.copytree(table, kept)
    chance = random.Random(0)
    said = 0
    for _ in range(300):
        shutil.rmtree(table)
        shutil.copytree(kept, table)
        file = chance.choice(sorted(path for path in table.rglob("*") if path.is_file()))
        content = bytearray(file.read_bytes())
        for _ in range(20):
            content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        file.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        for call in (index.rows, lambda: index.search(np.ones((1, 5)), 3), index.count):
            try:
                call()
            except LibraryError:
                said += 1
    assert said > 0


def test_nothing_heavy_is_imported_before_it_is_used():
    script = """
        import sys
        import earsight.datasets, earsight.features, earsight.vectors
        heavy = {"lancedb", "pyarrow", "h5py", "scipy", "sklearn", "torch", "pandas"}
        print(sorted(heavy & set(sys.modules)))
    """
    with start(script) as process:
        assert process.stdout.read() == "[]\n"

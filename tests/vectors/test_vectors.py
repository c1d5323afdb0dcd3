"""The vector store on disk: sequences, and what happens when the machine fails."""

import json
import os
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

from _rows import make_rows
from earsight.errors import InputError, LibraryError
from earsight.features import FeatureSequence
from earsight.vectors import LanceIndex, SequenceStore, StoredSequence, table_names


@pytest.fixture
def index(tmp_path):
    made = LanceIndex(tmp_path / "vectors", "clips")
    made.create(5)
    return made


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
    source = Path(__file__).parents[2] / "src"
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


def test_nothing_heavy_is_imported_before_it_is_used():
    script = """
        import sys
        import earsight.datasets, earsight.features, earsight.vectors
        heavy = {"lancedb", "pyarrow", "pymilvus", "h5py", "scipy", "sklearn", "torch", "pandas"}
        print(sorted(heavy & set(sys.modules)))
    """
    with start(script) as process:
        assert process.stdout.read() == "[]\n"

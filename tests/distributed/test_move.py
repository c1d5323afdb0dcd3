"""A library whose vectors lie on a server, and moving them there and back."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import _moved
import earsight
from _folders import QUICK, fill
from _milvus import free_port
from earsight import engine
from earsight.cli import app
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_for_writing, open_library
from earsight.library.embedding.migrate import Sums, move
from earsight.library.embedding.settings import Settings
from earsight.library.indexing.forget import forget_clips
from earsight.library.indexing.pipeline import index
from earsight.library.reports.doctor import check_library
from earsight.library.reports.export import export_library
from earsight.library.reports.status import library_status
from earsight.library.search.searcher import search
from earsight.vectors import EMBEDDED, LanceIndex, MilvusIndex, Row, _server, table_names


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Give a small library, made once."""
    folder = tmp_path_factory.mktemp("move") / "clips"
    fill(folder, ["red/a.mp4", "red/b.mp4", "blue/c.mp4"])
    run = engine.run
    engine.run = lambda work, items, **_: ((item, work(item)) for item in items)
    try:
        index(folder, **QUICK)
    finally:
        engine.run = run
    return folder


@pytest.fixture
def clips(kept, tmp_path):
    """Give a copy of it that a test may change."""
    return Path(shutil.copytree(kept, tmp_path / "clips"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(_server, "_CONNECT", 2.0)


def answers(folder):
    found = search(folder, folder / "red/a.mp4", top=9).results
    assert len(found) == 3
    return [(Path(one.path).name, one.score, one.start, one.end) for one in found]


def collections(server):
    return sorted(name for name in server.client.list_collections() if "earsight_" in name)


def of(folder):
    """Return the names of a library's collections begin with."""
    with open_library(folder / FOLDER) as store:
        return f"earsight_{store.get('id')}_"


def mine(server, folder):
    return [name for name in collections(server) if name.startswith(of(folder))]


def embeddings_on_disk(folder):
    names = table_names(folder / FOLDER / "vectors")
    return [name for name in names if name.startswith("embedding-")]


# There and back


def test_there_and_back_loses_nothing(clips, milvus, tmp_path):
    before = answers(clips)
    export_library(clips, tmp_path / "before.npz")
    there = move(clips, milvus.address)
    assert (there.before, there.after, there.n_rows) == (EMBEDDED, milvus.address, 6)
    assert answers(clips) == before
    assert len(mine(milvus, clips)) == 1 and embeddings_on_disk(clips) == []
    export_library(clips, tmp_path / "there.npz")
    again = move(clips, milvus.address)
    assert (again.n_rows, len(mine(milvus, clips))) == (0, 1)
    back = move(clips, EMBEDDED)
    assert (back.n_rows, back.checksum, back.left) == (6, there.checksum, [])
    assert mine(milvus, clips) == [] and embeddings_on_disk(clips) == ["embedding-1"]
    assert answers(clips) == before
    export_library(clips, tmp_path / "back.npz")
    files = [np.load(tmp_path / f"{name}.npz") for name in ("before", "there", "back")]
    for field in ("path", "content", "modality", "window", "start", "end", "vector"):
        first, *others = (file[field] for file in files)
        assert all(np.array_equal(first, other) for other in others), field


def test_everything_uses_the_index_that_is_remembered(clips, milvus):
    before = answers(clips)
    done = index(clips, index=milvus.address)
    assert done.rebuilt and done.changes.unchanged == 3
    assert embeddings_on_disk(clips) == []
    assert not index(clips).rebuilt
    made = mine(milvus, clips)
    assert index(clips, rebuild=True).rebuilt
    assert len(mine(milvus, clips)) == 1 and mine(milvus, clips) != made
    assert answers(clips) == before
    found = library_status(clips)
    assert (found.index, found.index_trouble) == (milvus.address, "")
    assert found.pending.nothing
    assert {one.state for one in check_library(clips)} == {"fine"}
    with earsight.Library(clips) as library:
        assert len(library.search(clips / "red/a.mp4")) == 3
        assert library.embeddings("visual").vectors.shape[0] == 3
    forget_clips(clips, ["red/b.mp4"])
    assert [name for name, *_ in search_names(clips)] == ["a.mp4", "c.mp4"]
    assert index(clips).rebuilt
    assert library_status(clips).n_vectors == 4


@pytest.mark.usefixtures("s3")
def test_a_library_on_s3_may_have_its_vectors_on_a_server(clips, milvus, monkeypatch):
    inline = lambda work, items, **_: ((item, work(item)) for item in items)  # noqa: E731
    monkeypatch.setattr(engine, "run", inline)
    far = "s3://clips/library"
    index(clips, library=far, **QUICK)
    found = [(one.path, one.score) for one in search(far, clips / "red/a.mp4").results]
    there = move(far, milvus.address)
    assert (there.n_rows, library_status(far).index) == (6, milvus.address)
    assert [(one.path, one.score) for one in search(far, clips / "red/a.mp4").results] == found
    assert not index(clips, library=far).rebuilt
    assert move(far, EMBEDDED).checksum == there.checksum
    assert [(one.path, one.score) for one in search(far, clips / "red/a.mp4").results] == found


def test_what_an_unfinished_run_read_by_other_extractors_stays(clips, milvus):
    other = LanceIndex(clips / FOLDER / "vectors", "audio-other")
    other.create(3)
    move(clips, milvus.address)
    assert other.exists and embeddings_on_disk(clips) == []


def search_names(folder):
    found = search(folder, folder / "red/a.mp4", top=9).results
    return sorted((Path(one.path).name, one.score) for one in found)


def test_a_server_is_shared_and_nothing_of_others_is_touched(clips, kept, tmp_path, milvus):
    other = Path(shutil.copytree(kept, tmp_path / "other"))
    (other / "blue/c.mp4").unlink()
    milvus.client.create_collection("precious", dimension=4)
    with open_for_writing(clips / FOLDER) as store:  # what a stranger wrote
        store.set("made:precious", [milvus.address, 0])
    for folder in (clips, other):
        index(folder, index=milvus.address)
    assert not set(mine(milvus, clips)) & set(mine(milvus, other))
    assert len(answers(clips)) == 3
    assert [name for name, _ in search_names(other)] == ["a.mp4", "b.mp4"]
    move(clips, EMBEDDED)
    assert mine(milvus, clips) == [] and len(mine(milvus, other)) == 1
    assert milvus.client.has_collection("precious")


def test_a_copied_library_never_answers_from_the_others_vectors(clips, tmp_path, milvus):
    move(clips, milvus.address)
    copy = Path(shutil.copytree(clips, tmp_path / "copy"))
    assert answers(copy) == answers(clips)
    index(clips, rebuild=True)
    assert [one.what for one in earsight.trust_library(copy)] == [milvus.address]
    with pytest.raises(LibraryError, match="is gone"):
        answers(copy)
    assert index(copy).rebuilt  # as for any library whose files are missing
    assert answers(copy) == answers(clips)


def test_no_token_is_kept(clips, milvus, monkeypatch):
    monkeypatch.setenv("EARSIGHT_MILVUS_TOKEN", "me:very-secret")
    monkeypatch.setenv("EARSIGHT_MILVUS_SERVER", milvus.address.removeprefix("milvus://"))
    index(clips, index=milvus.address)
    for file in (clips / FOLDER).rglob("*"):
        assert file.is_dir() or b"very-secret" not in file.read_bytes()


# What fails


def check_embedded(folder, before):
    """Check that a library is as it was: embedded, whole, and nothing to be done."""
    assert answers(folder) == before
    assert embeddings_on_disk(folder) == ["embedding-1"]
    with open_library(folder / FOLDER) as store:
        assert Settings.of(store).index == EMBEDDED
        assert store.current().index == EMBEDDED
    assert library_status(folder).pending.nothing


def test_nothing_listens_and_nothing_changes(clips):
    before, address = answers(clips), f"milvus://127.0.0.1:{free_port()}"
    for call in (lambda: move(clips, address), lambda: index(clips, index=address)):
        with pytest.raises(LibraryError, match=r"nothing answers there.*--index embedded"):
            call()
        check_embedded(clips, before)
    with pytest.raises(InputError, match="embedded or milvus://host:port; got 'disk'"):
        move(clips, "disk")
    with pytest.raises(InputError, match="embedded or milvus://host:port; got 'disk'"):
        index(clips, index="disk")
    check_embedded(clips, before)


def test_what_arrives_otherwise_is_not_believed(clips, milvus, monkeypatch):
    before, upsert = answers(clips), MilvusIndex.upsert

    def spoilt(self, rows, vectors):
        upsert(self, rows, np.nextafter(vectors, np.float32(9)))

    monkeypatch.setattr(MilvusIndex, "upsert", spoilt)
    with pytest.raises(LibraryError, match=r"6 rows were sent.*6 arrived, or with other values"):
        move(clips, milvus.address)
    monkeypatch.undo()
    check_embedded(clips, before)
    assert mine(milvus, clips) == []


def test_a_server_lost_in_the_middle_leaves_the_library_as_it_was(clips, own_milvus, monkeypatch):
    before, upsert = answers(clips), MilvusIndex.upsert

    def lost(self, rows, vectors):
        upsert(self, rows[:3], vectors[:3])
        own_milvus.kill()
        upsert(self, rows[3:], vectors[3:])

    monkeypatch.setattr(MilvusIndex, "upsert", lost)
    with pytest.raises(LibraryError, match="does not answer any more"):
        move(clips, own_milvus.address)
    monkeypatch.setattr(MilvusIndex, "upsert", upsert)
    check_embedded(clips, before)
    own_milvus.start()
    assert len(mine(own_milvus, clips)) == 1  # what was left there …
    assert move(clips, own_milvus.address).n_rows == 6
    assert answers(clips) == before
    assert len(mine(own_milvus, clips)) == 1  # … went with the next move
    own_milvus.kill()
    with pytest.raises(LibraryError, match=r"nothing answers there.*--index embedded"):
        answers(clips)
    assert "nothing answers there" in library_status(clips).index_trouble
    broken = {one.check: one.found for one in check_library(clips) if one.state == "broken"}
    assert "nothing answers there" in broken.pop("active embedding") and not broken
    assert index(clips, index=EMBEDDED).rebuilt  # without the server
    assert answers(clips) == before


@pytest.mark.parametrize(
    ("moment", "back"),
    [
        pytest.param(moment, back, marks=[pytest.mark.long] if back or number % 2 else [])
        for number, moment in enumerate(_moved.MOMENTS)  # one before it is switched, one after
        for back in (False, True)
    ],
)
def test_kill_9_at_any_moment_leaves_one_whole_index(clips, milvus, moment, back):
    before = answers(clips)
    start, goal = (milvus.address, EMBEDDED) if back else (EMBEDDED, milvus.address)
    move(clips, start)
    command = [sys.executable, _moved.__file__, str(clips), goal, moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    switched = moment in _moved.MOMENTS[2:]
    assert library_status(clips).index == (goal if switched else start)
    assert answers(clips) == before
    assert move(clips, goal).n_rows == (0 if switched else 6)
    assert answers(clips) == before
    assert len(mine(milvus, clips)) == (goal != EMBEDDED)
    assert embeddings_on_disk(clips) == (["embedding-1"] if goal == EMBEDDED else [])
    assert not index(clips).rebuilt


@pytest.mark.parametrize("harm", ["gone", "wider", "fewer"])
def test_vectors_that_are_not_what_was_written_are_told_and_made_anew(clips, milvus, harm):
    before = answers(clips)
    move(clips, milvus.address)
    (name,) = mine(milvus, clips)
    table = MilvusIndex(milvus.address, name)
    rows = table.rows()
    if harm == "fewer":
        table.delete([rows[0].content])
    else:
        table.drop()
    if harm == "wider":
        table.create(7)
        table.upsert(rows, np.ones((6, 7)))
    told = {
        "gone": "is gone",
        "wider": "has width 7 where 384 was written",
        "fewer": "has 4 rows where 6 were written",
    }[harm]
    anew = f"{told}. Make them anew: earsight index {clips} --rebuild"
    with pytest.raises(LibraryError, match=re.escape(anew)):
        answers(clips)
    assert anew in library_status(clips).index_trouble
    assert next(one for one in check_library(clips) if anew in one.found).state == "broken"
    with pytest.raises(LibraryError, match=re.escape(told)):
        move(clips, EMBEDDED)
    assert index(clips, rebuild=True).rebuilt
    assert answers(clips) == before
    assert len(mine(milvus, clips)) == 1


def test_an_embedded_table_that_lost_rows_is_not_moved(clips, milvus):
    with open_library(clips / FOLDER) as store:
        table = earsight.vectors.open_index(EMBEDDED, store.folder / "vectors", "embedding-1")
    table.delete([table.rows()[0].content])
    with pytest.raises(LibraryError, match="4 rows are in the index embedded; 6 were written"):
        move(clips, milvus.address)
    assert mine(milvus, clips) == []


def test_a_checksum_knows_every_value_and_no_order():
    rows = [Row(f"k{i}", "c", "audio", i, 0.0, 1.0) for i in range(3)]
    vectors = np.arange(6, dtype="f4").reshape(3, 2)

    def sums(order, spoil=0.0):
        made = Sums()
        for i in order:
            made.add([rows[i]], vectors[[i]] + np.float32(spoil))
        return made

    assert sums([0, 1, 2]) == sums([2, 0, 1])
    assert sums([0, 1, 2]).checksum == sums([1, 0, 2]).checksum
    for other in (sums([0, 1]), sums([0, 1, 1]), sums([0, 1, 2], 1e-6)):
        assert other != sums([0, 1, 2])
    swapped = Sums()
    swapped.add(rows, vectors[[1, 0, 2]])
    assert swapped != sums([0, 1, 2])


# The command


def test_the_command(clips, milvus, capfd):
    def run(*arguments):
        app([*arguments, "--library", str(clips)], standalone_mode=False)
        return capfd.readouterr()

    out, err = run("move", "--index", milvus.address, "--json")
    assert json.loads(out)["n_rows"] == 6
    assert f"6 vectors moved from embedded to {milvus.address} and compared there" in err
    assert f"index:      {milvus.address}\n" in run("status").out
    assert "are in milvus://" in run("move", "--index", milvus.address).err
    run("move", "--index", "embedded")
    assert "index:" not in run("status").out

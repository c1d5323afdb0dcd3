import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from earsight.errors import LibraryError
from earsight.library.catalog.location import locked
from earsight.library.catalog.open import (
    find_library,
    library_of_clips,
    open_for_indexing,
    open_library,
)
from earsight.library.catalog.records import Content, Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.paths import as_text

REPORT = {"again": False, "message": "", "rows": {"audio": 1}}


@pytest.fixture
def store(tmp_path: Path) -> Catalog:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / ".earsight").mkdir()
    return Catalog.made(tmp_path / "clips" / ".earsight")


def embedding(number: int, features: str = "f") -> Embedding:
    info = {"space": "words", "sources": {"audio": "yamnet"}, "roles": ["audio"]}
    return Embedding(number, features, f"digest{number}", 3, "2026-01-01T00:00:00Z", info)


def test_clips_come_back_by_path_and_are_renewed(store: Catalog) -> None:
    store.put_clips([(b"b.mp4", 1, 2, "B"), (b"a.mp4", 3, 4, "A")])
    store.put_clips([(b"a.mp4", 5, 6, "C")])
    found = [(c.path, c.size, c.mtime_ns, c.content, c.label) for c in store.clips()]
    assert found == [(b"a.mp4", 5, 6, "C", None), (b"b.mp4", 1, 2, "B", None)]


def test_a_moved_clip_keeps_its_number(store: Catalog) -> None:
    store.put_clips([(b"old.mp4", 1, 2, "A")])
    number = store.clips()[0].id
    store.put_clips([(b"new.mp4", 1, 9, "A"), (b"gone.mp4", 1, 1, "B")])
    store.move_and_drop({b"old.mp4": b"new.mp4"}, [b"gone.mp4"])
    assert [(c.id, c.path, c.mtime_ns) for c in store.clips()] == [(number, b"new.mp4", 9)]


def test_labels_are_set_and_taken_away(store: Catalog) -> None:
    store.put_clips([(b"a.mp4", 1, 2, "A"), (b"b.mp4", 1, 2, "B")])
    store.set_labels({b"a.mp4": "dog", b"b.mp4": "cat"})
    store.set_labels({b"a.mp4": "dog"})
    assert [c.label for c in store.clips()] == ["dog", None]


def test_a_switch_leaves_one_embedding_and_its_contents(store: Catalog) -> None:
    one = Content("A", "ok", 1.0, REPORT, 1)
    store.put_clips([(b"a.mp4", 1, 2, "A")], "f", [one])
    assert store.current() is None and store.next_embedding() == 1
    store.switch(embedding(1))
    store.put_clips([], "g", [one])
    assert set(store.contents("f")) == set(store.contents("g")) == {"A"}
    store.switch(embedding(2, "g"))
    store.drop_other_features("g")
    assert store.current() == embedding(2, "g") and store.next_embedding() == 3
    assert store.contents("f") == {} and store.contents("g") == {"A": one}


def test_contents_without_a_clip_are_found_and_dropped(store: Catalog) -> None:
    contents = [Content(name, "ok", 1.0, REPORT, 1) for name in "AB"]
    store.put_clips([(b"a.mp4", 1, 2, "A")], "f", contents)
    assert store.unused_contents("f") == ["B"]
    store.drop_contents("f", ["B"])
    assert set(store.contents("f")) == {"A"}


def test_the_root_moves_with_the_library(tmp_path: Path) -> None:
    clips = tmp_path / "one" / "clips"
    clips.mkdir(parents=True)
    (clips / ".earsight").mkdir()
    Catalog.made(clips / ".earsight").close()
    (tmp_path / "one").rename(tmp_path / "two")
    with open_library(tmp_path / "two" / "clips" / ".earsight") as store:
        assert store.root == tmp_path / "two" / "clips"


def test_a_library_elsewhere_keeps_an_absolute_root(tmp_path: Path) -> None:
    name = os.fsdecode(b"clips \xff\n")
    (tmp_path / name).mkdir()
    (tmp_path / "lib").mkdir()
    with open_for_indexing(tmp_path / "lib", tmp_path / name, agree=False):
        pass
    with open_library(tmp_path / "lib") as store:
        assert store.root == tmp_path / name


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    busy = pytest.raises(LibraryError, match=f"process {os.getpid()}.*nothing was changed")
    with locked(tmp_path / "new"), busy, locked(tmp_path / "new"):
        pass
    with locked(tmp_path / "new"):  # let go of
        pass


def test_a_library_is_found_through_a_link(store: Catalog, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.folder)
    with open_library(tmp_path / "link") as linked:
        assert linked.root == tmp_path / "clips"


def test_the_clips_folder_names_its_own_library(tmp_path: Path) -> None:
    assert (
        library_of_clips(tmp_path, None)
        == library_of_clips(tmp_path, tmp_path)
        == tmp_path / ".earsight"
    )
    assert library_of_clips(tmp_path, tmp_path / "other") == tmp_path / "other"


def test_a_reader_finishes_what_a_killed_writer_left(store: Catalog) -> None:
    store.put_clips([(b"a.mp4", 1, 2, "A")])
    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_spill = 1'); db.execute('PRAGMA cache_size = 1')\n"
        "db.execute('BEGIN'); db.execute('DELETE FROM clips')\n"
        "db.execute('CREATE TABLE big AS WITH RECURSIVE n(i, x) AS (SELECT 1, randomblob(999) '\n"
        "           'UNION ALL SELECT i + 1, randomblob(999) FROM n LIMIT 5000) SELECT * FROM n')\n"
        "os.kill(os.getpid(), 9)"
    )
    path = store.folder / "library.db"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name("library.db-journal").exists()
    with open_library(store.folder) as reader:
        assert [clip.path for clip in reader.clips()] == [b"a.mp4"]


def test_a_newer_library_says_so(store: Catalog) -> None:
    store.set("format", 99)
    with pytest.raises(LibraryError, match=r"format 99; .* reads format 3\. Update Earsight"):
        open_library(store.folder)


def test_a_file_that_is_no_library_says_so(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_bytes(b"not a database at all, but long enough to be read")
    with pytest.raises(LibraryError, match="not a readable library"):
        open_library(tmp_path)


def test_a_library_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="Run: earsight index"):
        find_library(tmp_path)
    with pytest.raises(LibraryError, match="no folder"):
        find_library(tmp_path / "nowhere")


def test_a_broken_transaction_leaves_what_was_there(store: Catalog) -> None:
    store.put_clips([(b"a.mp4", 1, 2, "A")])
    full = pytest.raises(LibraryError, match="What was there before is still there")
    with full, store.writing() as db:
        db.execute("DELETE FROM clips")
        raise sqlite3.OperationalError("database or disk is full")
    assert len(store.clips()) == 1


def test_bytes_outside_utf8_are_shown_as_escapes() -> None:
    assert as_text("für 'you'\n".encode() + b"\xe4.mp4") == "für 'you'\n%E4.mp4"

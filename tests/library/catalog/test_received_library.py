"""A library that somebody else made: nothing outside it is read, written, deleted or contacted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import earsight
from _clips import make_clip
from _received import edited, set_fact, set_settings
from earsight.cli import main
from earsight.errors import LibraryError
from earsight.library.catalog.location import FOLDER, lock_holder
from earsight.library.catalog.open import open_library
from earsight.library.catalog.trust import NotTrustedError, Request
from earsight.library.indexing.forget import forget_clips
from earsight.library.indexing.pipeline import index, refresh
from earsight.library.reports.export import export_library
from earsight.library.reports.status import library_status
from earsight.library.search.searcher import search


def state(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


USES = {
    "index": index,
    "rebuild": lambda folder: index(folder, rebuild=True),
    "refresh": refresh,
    "search": lambda folder: search(folder, text="red"),
    "status": library_status,
    "open": earsight.Library,
}


# Links


@pytest.mark.parametrize("name", ["models", "vectors", "lock", "library.db", "library.db-journal"])
def test_a_link_in_a_library_is_an_error_that_names_it(
    library: Path, precious: Path, name: str
) -> None:
    target = precious if name in ("models", "vectors") else precious / "file.txt"
    replaced = library / FOLDER / name
    if replaced.is_dir():
        shutil.rmtree(replaced)
    replaced.unlink(missing_ok=True)
    replaced.symlink_to(target)
    before = state(precious)
    for use in USES.values():
        with pytest.raises(LibraryError, match=f"{name}' is a link"):
            use(library)
    assert state(precious) == before


def test_a_library_that_is_a_link_is_an_error(library: Path, tmp_path: Path) -> None:
    (library / FOLDER).rename(tmp_path / "elsewhere")
    before = state(tmp_path / "elsewhere")
    (library / FOLDER).symlink_to(tmp_path / "elsewhere")
    for use in USES.values():
        with pytest.raises(LibraryError, match="is a link"):
            use(library)
    assert state(tmp_path / "elsewhere") == before
    with open_library(tmp_path / "elsewhere") as store:  # by its own name, it is somebody's word
        assert store.clips()


def test_links_deep_inside_are_found(library: Path, precious: Path) -> None:
    (table,) = (library / FOLDER / "vectors").glob("embedding-*.lance")
    (table / "data" / "more.lance").symlink_to(precious / "file.txt")
    with pytest.raises(LibraryError, match=r"more\.lance' is a link"):
        search(library, text="red")


def test_a_folder_without_a_library_but_with_links(tmp_path: Path, precious: Path) -> None:
    clips = tmp_path / "clips"
    (clips / FOLDER).mkdir(parents=True)
    make_clip(clips / "a.mp4")
    (clips / FOLDER / "vectors").symlink_to(precious)
    before = state(precious)
    with pytest.raises(LibraryError, match="vectors' is a link"):
        index(clips)
    assert state(precious) == before


@pytest.mark.parametrize("name", ["lock", "library.db"])
def test_a_file_with_a_second_name_is_not_written(library: Path, tmp_path: Path, name: str) -> None:
    file = library / FOLDER / name
    os.link(file, tmp_path / "second name")
    before = (tmp_path / "second name").read_bytes()
    with pytest.raises(LibraryError, match="hard links"):
        index(library)
    assert (tmp_path / "second name").read_bytes() == before
    assert len(search(library, text="red").results) > 1  # reading it is fine


def test_a_lock_that_is_a_pipe_is_not_waited_for(library: Path) -> None:
    (library / FOLDER / "lock").unlink()
    os.mkfifo(library / FOLDER / "lock")
    for use in (index, lock_holder):
        with pytest.raises(LibraryError, match="is a pipe"):
            use(library if use is index else library / FOLDER)


# The database


def test_a_database_that_says_more_than_ours(library: Path) -> None:
    whole = (library / FOLDER / "library.db").read_bytes()
    for statement in (
        "CREATE TRIGGER more AFTER INSERT ON clips BEGIN DELETE FROM contents; END",
        "CREATE VIEW more AS SELECT * FROM clips",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON clips (label)",
    ):
        (library / FOLDER / "library.db").write_bytes(whole)
        with edited(library) as db:
            db.execute(statement)
        with pytest.raises(LibraryError, match="none of its tables"):
            search(library, text="red")


def test_a_journal_that_names_another_file_is_refused(library: Path, precious: Path) -> None:
    journal = library / FOLDER / "library.db-journal"
    journal.write_bytes(b"\0" * 512 + bytes.fromhex("d9d505f920a163d7"))
    for use in (index, library_status):
        with pytest.raises(LibraryError, match="names another journal"):
            use(library)


# Whose clips


def test_the_root_that_a_library_names_is_not_believed(
    library: Path, made: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_clip(other / "private.mp4", tone=900)
    for root in (other, Path("/"), Path("../../other")):
        set_fact(library, "root", os.fsencode(root).hex())
        with earsight.Library(library) as opened:
            assert opened.root == library
            assert {clip.root for clip in opened.clips()} == {library}
        report = refresh(library)
        assert report.changes.added == 0 and report.changes.gone == 0


def test_a_root_that_is_none_changes_nothing(library: Path) -> None:
    for root in (None, 7, "no hex", "00", {"a": 1}):
        set_fact(library, "root", root)
        assert index(library).changes.added == 0


def test_a_library_elsewhere_is_bound_by_its_user_alone(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARSIGHT_CONFIG", str(tmp_path / "configuration"))
    place = tmp_path / "place"
    (library / FOLDER).rename(place)
    set_fact(place, "root", os.fsencode(library).hex())
    opened = earsight.Library(place)
    with opened:  # searched as it is, and no file of it is opened
        found = opened.search(text="red")
        assert len(found.results) > 1
        assert {clip.root for clip in opened.clips()} == {None}
        clip = opened.clips()[0]
        assert not clip.file.is_absolute() and clip.shown.startswith("place:/")
        assert opened.search(clip=clip.id).results  # by its stored vectors
    monkeypatch.chdir(tmp_path)
    (tmp_path / "place:").symlink_to(library)  # a file of that name here is not the clip's
    with open_library(place) as store, pytest.raises(LibraryError, match="does not know where"):
        _ = store.root
    with pytest.raises(LibraryError, match=r"Say so once: earsight index CLIPS --library"):
        refresh(place)
    report = index(library, library=place)  # its user says the same as it does
    assert report.changes.added == report.changes.gone == 0
    with earsight.Library(place) as opened:
        assert opened.root == library
    assert refresh(place).changes.added == 0


def test_a_library_elsewhere_of_other_clips_asks(library: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (library / FOLDER).rename(place)
    set_fact(place, "root", os.fsencode(tmp_path / "somewhere else").hex())
    with pytest.raises(NotTrustedError, match="somewhere else") as caught:
        index(library, library=place)
    assert caught.value.requests == [Request("clips", str(tmp_path / "somewhere else"))]
    assert index(library, library=place, trust=True).changes.added == 0
    with pytest.raises(LibraryError, match="belongs to the clips"):
        other = tmp_path / "other"
        other.mkdir()
        make_clip(other / "a.mp4")
        index(other, library=place, trust=True)


def test_no_module_of_the_current_folder_is_imported(library: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("threading", "socket", "pickle", "numpy", "earsight", "pip", "sitecustomize"):
        (library / f"{name}.py").write_text(f"open({os.fspath(ran)!r}, 'a').write({name!r})")
    make_clip(library / "more.mp4", tone=700)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    script = tmp_path / "bin" / "earsight"  # as it is installed
    script.parent.mkdir()
    script.write_text("from earsight.cli import main\nif __name__ == '__main__':\n    main()\n")
    command = [sys.executable, os.fspath(script), "index", ".", "--workers", "2"]
    done = subprocess.run(command, cwd=library, env=environment, check=False)
    assert done.returncode == 3 and not ran.exists()


@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_a_log_that_sqlite_would_write_is_refused(library: Path, tmp_path: Path, end: str) -> None:
    (tmp_path / "outside").write_bytes(b"x" * 45_000)
    os.link(tmp_path / "outside", library / FOLDER / f"library.db{end}")
    with pytest.raises(LibraryError, match=f"library.db{end} lies there"):
        search(library, text="red")
    (library / FOLDER / f"library.db{end}").unlink()
    data = bytearray((library / FOLDER / "library.db").read_bytes())
    data[18:20] = b"\2\2"
    (library / FOLDER / "library.db").write_bytes(data)
    with pytest.raises(LibraryError, match="with a log"):
        search(library, text="red")


def test_folders_without_an_end_are_told(library: Path) -> None:
    deep = library
    for _ in range(250):
        deep = deep / "d"
    deep.mkdir(parents=True)
    told = [why for path, _, why in index(library).trouble if path.startswith("d/")]
    assert told == ["It lies in more than 200 folders, and is not looked into."]


def test_numbers_without_an_end_are_refused(library: Path) -> None:
    set_fact(library, f"made:earsight_{'a' * 16}_{'9' * 5000}_{'b' * 8}", ["milvus://a:1", 0])
    assert index(library).changes.added == 0
    with edited(library) as db:
        db.execute("UPDATE embeddings SET id = ?", (2**53,))
    with pytest.raises(LibraryError, match="the number of an embedding"):
        index(library, rebuild=True)
    with edited(library) as db:
        db.execute("UPDATE embeddings SET id = 1")


def test_damage_in_the_words_of_sqlite_is_damage(library: Path) -> None:
    with edited(library) as db:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = CAST(x'ff' || sql AS TEXT) WHERE name = 'clips'")
    for use in (search, index):
        with pytest.raises(LibraryError, match=r"readable library|none of its tables"):
            use(library, text="red") if use is search else use(library)


def test_what_a_library_is_called_moves_no_cursor(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_settings(library, labels="/a\r\x1b[2K harmless")
    monkeypatch.setattr(sys, "argv", ["earsight", "index", str(library)])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert "/a\\r\\x1b[2K harmless" in told and "\x1b" not in told and "\r" not in told


def test_a_pipe_that_a_row_names_is_not_waited_for(library: Path) -> None:
    os.mkfifo(library / "pipe.wav")
    with edited(library) as db:
        db.execute(
            "INSERT INTO clips (path, size, mtime_ns, content) "
            "SELECT ?, 1, 1, content FROM clips WHERE path = ?",
            (b"pipe.wav", b"red/a.mp4"),
        )
    assert "pipe.wav" in forget_clips(library, ["red/a.mp4"]).paths


def test_an_export_writes_no_draft_that_could_be_guessed(
    library: Path, precious: Path, tmp_path: Path
) -> None:
    (tmp_path / f".out.npz.{os.getpid()}.part").symlink_to(precious / "file.txt")
    before = state(precious)
    export_library(library, tmp_path / "out.npz")
    assert state(precious) == before and not (tmp_path / "out.npz").is_symlink()

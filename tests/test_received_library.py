"""A library that somebody else made: nothing outside it is read, written, deleted or contacted."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import earsight
from _clips import make_clip
from _received import edited, listening, set_fact, set_info, set_settings
from earsight.cli import app
from earsight.errors import EarsightError, LibraryError
from earsight.library.build import index, refresh
from earsight.library.doctor import check_library
from earsight.library.evaluate import evaluate_library
from earsight.library.place import FOLDER, held_by
from earsight.library.search import search
from earsight.library.status import status
from earsight.library.store import Store
from earsight.library.trust import NotTrustedError, Request, Trust, requests_of

SECRET = "do not show this line"
LABELS = "path,label\nred/a.mp4,first\nred/b.mp4,first\nblue/c.mp4,second\n"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A folder of the receiver's own, which must stay as it is."""
    folder = tmp_path / "precious"
    (folder / "1" / "deep").mkdir(parents=True)
    (folder / "1" / "deep" / "file.txt").write_text(SECRET)
    (folder / "file.txt").write_text(SECRET)
    return folder


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
    "status": status,
    "open": earsight.Library,
}


# Links


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["models", "vectors", "lock", "library.db", "library.db-journal"])
def test_a_link_in_a_library_is_an_error_that_names_it(
    library: Path, precious: Path, name: str, use: str
) -> None:
    target = precious if name in ("models", "vectors") else precious / "file.txt"
    replaced = library / FOLDER / name
    if replaced.is_dir():
        shutil.rmtree(replaced)
    replaced.unlink(missing_ok=True)
    replaced.symlink_to(target)
    before = state(precious)
    if name == "library.db" and use == "open":  # `find` looks through the link, the store does not
        pass
    with pytest.raises(LibraryError, match=f"{name}' is a link"):
        USES[use](library)
    assert state(precious) == before


@pytest.mark.parametrize("use", USES)
def test_a_library_that_is_a_link_is_an_error(library: Path, tmp_path: Path, use: str) -> None:
    (library / FOLDER).rename(tmp_path / "elsewhere")
    before = state(tmp_path / "elsewhere")
    (library / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LibraryError, match="is a link"):
        USES[use](library)
    assert state(tmp_path / "elsewhere") == before
    with Store.open(tmp_path / "elsewhere") as store:  # by its own name, it is somebody's word
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
    for use in (index, held_by):
        with pytest.raises(LibraryError, match="is a pipe"):
            use(library if use is index else library / FOLDER)


# The database


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER more AFTER INSERT ON clips BEGIN DELETE FROM contents; END",
        "CREATE VIEW more AS SELECT * FROM clips",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON clips (label)",
        "CREATE VIRTUAL TABLE more USING fts5(x)",
    ],
)
def test_a_database_that_says_more_than_ours(library: Path, statement: str) -> None:
    with edited(library) as db:
        try:
            db.execute(statement)
        except sqlite3.OperationalError:  # this SQLite has no fts5
            pytest.skip("not in this SQLite")
    with pytest.raises(LibraryError, match="none of its tables"):
        search(library, text="red")


def test_a_journal_that_names_another_file_is_refused(library: Path, precious: Path) -> None:
    journal = library / FOLDER / "library.db-journal"
    journal.write_bytes(b"\0" * 512 + bytes.fromhex("d9d505f920a163d7"))
    for use in (index, status):
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


@pytest.mark.parametrize("root", [None, 7, "no hex", "00", [], {"a": 1}])
def test_a_root_that_is_none_changes_nothing(library: Path, root: object) -> None:
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
    with Store.open(place) as store, pytest.raises(LibraryError, match="does not know where"):
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


# What it asks for


def test_a_server_that_a_library_names_is_not_contacted(library: Path) -> None:
    before = search(library, text="red", top=9)
    with listening() as ear:
        set_settings(library, index=ear.address)
        for use in (index, refresh):
            with pytest.raises(NotTrustedError, match=ear.address) as caught:
                use(library)
            assert "--trust-library" in str(caught.value) and "--index embedded" in str(
                caught.value
            )
        after = search(library, text="red", top=9)
        assert [(one.path, one.score) for one in after.results] == [
            (one.path, one.score) for one in before.results
        ]
        status(library), check_library(library), evaluate_library(library)
        assert ear.heard == 0
        with pytest.raises(LibraryError):  # agreed to: it is asked, and is no Milvus
            index(library, trust=True)
        assert ear.heard > 0
        assert index(library, index="embedded").changes.added == 0


def test_vectors_on_a_server_are_made_again_here(library: Path, tmp_path: Path) -> None:
    queries = [{"text": "red"}, {"query": library / "red/a.mp4"}, {"query": library / "sound.wav"}]
    before = [search(library, top=9, **query).results for query in queries]
    with listening() as ear:
        where = {"index": ear.address, "table": f"earsight_{'0' * 16}_1_{'0' * 8}", "dim": 384}
        set_info(library, lambda info: info.update(where))
        set_settings(library, index=ear.address)
        for query, known in zip(queries, before, strict=True):
            answer = search(library, top=9, **query)
            assert [(one.path, one.score) for one in answer.results] == [
                (one.path, one.score) for one in known
            ]
            (note,) = (one for one in answer.notes if ear.address in one)
            assert "made again" in note
        with earsight.Library(library) as opened:
            assert opened.search(text="red").results
            assert len(opened.embeddings("visual").clips) > 1
        assert "--trust-library" in status(library).index_trouble
        left = {one.check: one for one in check_library(library) if one.state != "fine"}
        assert set(left) == {"what answers"} and left["what answers"].state == "warning"
        assert ear.heard == 0


def test_collections_that_a_library_says_it_made_are_not_dropped(library: Path) -> None:
    with listening() as ear:
        set_fact(library, f"made:earsight_{'0' * 16}_1_{'0' * 8}", [ear.address, 0])
        index(library)
        assert ear.heard == 0


def test_labels_of_any_file_are_not_read(library: Path, precious: Path) -> None:
    set_settings(library, labels=str(precious / "file.txt"))
    with pytest.raises(NotTrustedError, match="read the file") as caught:
        index(library)
    assert SECRET not in str(caught.value) and "--labels folders" in str(caught.value)
    with pytest.raises(EarsightError) as agreed:
        index(library, trust=True)
    assert SECRET not in str(agreed.value)
    assert index(library, labels="folders").changes.added == 0


def test_labels_in_the_clips_folder_are_its_own(library: Path, precious: Path) -> None:
    (library / "labels.csv").write_text(LABELS)
    set_settings(library, labels=str(library / "labels.csv"))
    assert "first" in index(library).labels
    (library / "labels.csv").unlink()
    (library / "labels.csv").symlink_to(precious / "file.txt")
    with pytest.raises(NotTrustedError, match="read the file"):
        index(library)


@pytest.mark.parametrize(
    ("name", "spec", "kind"),
    [
        ("audio", "clap:model=owner/name", "model"),
        ("visual", "inception:pca=/somewhere/pca.safetensors", "file"),
        ("learn", "tnn:checkpoint=/somewhere", "folder"),
    ],
)
def test_files_and_models_that_a_library_names(
    library: Path, name: str, spec: str, kind: str
) -> None:
    set_settings(library, **{name: spec})
    with pytest.raises(NotTrustedError) as caught:
        index(library)
    assert [one.kind for one in caught.value.requests] == [kind]
    assert len(search(library, text="red").results) > 1  # what answers was made without it


def test_a_library_made_by_extractors_that_ask_for_files(library: Path) -> None:
    spec = "inception:pca=/somewhere/pca.safetensors"
    set_info(library, lambda info: info["sources"].update(visual=spec))
    known = search(library, library / "red/a.mp4", top=9).results
    assert len(known) > 1  # a clip of its own, by its stored vectors
    with pytest.raises(NotTrustedError, match="pca"):
        search(library, text="red")
    with pytest.raises(NotTrustedError, match="pca"):
        evaluate_library(library)


def test_a_plug_in_is_not_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"mine": "module_that_is_not_there"}
    monkeypatch.setattr("earsight.discovery.names", lambda floor: names)
    assert requests_of({"learn": "mine"}, None) == [
        Request("plugin", "mine (module_that_is_not_there)")
    ]


def test_what_ours_need_is_no_request(tmp_path: Path) -> None:
    for settings in (
        {"audio": "yamnet", "visual": "efficientnet", "ears": "yamnet", "labels": "folders"},
        {"audio": "soundnet:layer=conv5", "visual": "none", "learn": "tnn:epochs=3"},
        {"learn": "auto", "index": "embedded", "visual": "inception"},
    ):
        assert requests_of(settings, tmp_path) == []


# Agreeing


def test_what_is_given_here_is_the_users_word(library: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    index(library, labels=str(tmp_path / "labels.csv"))
    assert index(library).labels  # the second day
    copy = Path(shutil.copytree(library, tmp_path / "copy"))
    with pytest.raises(NotTrustedError):
        index(copy)
    assert earsight.trust_library(copy) == [Request("file", str(tmp_path / "labels.csv"))]
    assert index(copy).labels and earsight.trust_library(copy) == []


def test_what_was_agreed_to_is_private_and_can_be_taken_back(library: Path) -> None:
    trust = Trust.of(library / FOLDER)
    trust.allow([Request("server", "milvus://a:1")])
    assert trust.file.stat().st_mode & 0o077 == trust.file.parent.stat().st_mode & 0o077 == 0
    assert json.loads(trust.file.read_text())["allowed"] == [["server", "milvus://a:1"]]
    Trust.of(library / FOLDER).check([Request("server", "milvus://a:1")])
    with pytest.raises(NotTrustedError):
        Trust.of(library / FOLDER).check([Request("server", "milvus://b:1")])
    trust.file.write_text("{")
    with pytest.raises(LibraryError, match="Remove that file"):
        Trust.of(library / FOLDER)


def test_the_command_line_refuses_and_agrees(library: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    set_settings(library, labels=str(tmp_path / "labels.csv"))
    run = CliRunner()
    refused = run.invoke(app, ["index", str(library)])
    assert refused.exit_code == 1 and isinstance(refused.exception, NotTrustedError)
    agreed = run.invoke(app, ["index", str(library), "--trust-library"])
    assert agreed.exit_code in (0, 3), agreed.output
    again = run.invoke(app, ["index", str(library)])
    assert again.exit_code in (0, 3) and "Nothing to do" in again.output


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked(library: Path, tmp_path: Path, answer: str) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    set_settings(library, labels=str(tmp_path / "labels.csv"))
    here, there = os.openpty()
    command = [sys.executable, "-m", "earsight", "index", str(library)]
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there) as process:
        os.close(there)
        shown = b""
        while b"Agree" not in shown:
            shown += os.read(here, 4096)
        assert b"read the file" in shown and b"labels.csv" in shown
        os.write(here, f"{answer}\n".encode())
        with contextlib.suppress(OSError):  # the terminal is gone when the process is
            while more := os.read(here, 4096):
                shown += more
    os.close(here)
    assert process.returncode == (3 if answer == "y" else 1)  # 3: text.mp4 is no film
    assert (b"Labels: " in shown) == (answer == "y")


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

"""A library at s3://, by a local server: what a library on a disk does, it does."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earsight
from _far import LIBRARY, answering, believed, opened, quick, sounds  # noqa: F401 - fixtures
from _folders import QUICK, fill, nothing_to_read
from _server import serving
from earsight import engine
from earsight.cli import app
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.s3 import SharedStore
from earsight.library.indexing.forget import forget, forgotten, take_back
from earsight.library.indexing.pipeline import index
from earsight.library.reports.doctor import check_library
from earsight.library.reports.evaluate import evaluate_library
from earsight.library.reports.export import export
from earsight.library.reports.status import status
from earsight.library.search.searcher import search
from earsight.storage import Remote

pytestmark = pytest.mark.usefixtures("s3", "quick")


def clips(folder: Path) -> Path:
    fill(folder, ["red/a.mp4", "red/b.mp4", "blue/c.mp4"])
    shutil.copy(folder / "red/a.mp4", folder / "blue/copy.mp4")
    return folder


def test_answers_are_those_of_a_library_on_a_disk(tmp_path: Path) -> None:
    folder = clips(tmp_path / "clips")
    (folder / "red/a.txt").write_text("a siren")
    index(folder, **QUICK)
    far = index(folder, library=LIBRARY, **QUICK)
    assert far.n_clips == 4 and far.n_texts == 1 and far.rebuilt and far.trouble == []
    with earsight.Library(folder) as near, earsight.Library(LIBRARY) as there:
        for question in ({"query": folder / "red/b.mp4"}, {"text": "a siren"}):
            one, two = near.search(**question), there.search(**question)
            assert [(r.score, r.path, r.label, r.start, r.end) for r in one] == [
                (r.score, r.path, r.label, r.start, r.end) for r in two
            ]
        assert there.labels() == {"blue": 2, "red": 2}
        assert repr(there).startswith(f"Library({LIBRARY!r}, 4 clips, ")
        assert len({clip.id for clip in there.clips()}) == 4
        assert [clip.text is not None for clip in there.clips()] == [False, False, True, False]
        points = [library.embeddings("audio") for library in (near, there)]
        assert sorted(map(bytes, points[0].vectors)) == sorted(map(bytes, points[1].vectors))
    assert not (folder / FOLDER / "vectors" / "state").exists()
    assert evaluate_library(LIBRARY) == evaluate_library(folder)


def test_a_second_run_reads_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300, 400)
    index(folder, library=LIBRARY, **QUICK)
    version = opened().version
    monkeypatch.setattr(engine, "run", nothing_to_read)
    report = index(folder, library=LIBRARY)  # by the settings of the first
    assert not report.rebuilt and report.changes.unchanged == 2
    assert opened().version == version


def test_what_changes_in_the_folder_changes_in_the_library(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", 300, 400, 500)
    index(folder, library=LIBRARY, **QUICK)
    number = {clip.path: clip.id for clip in opened().clips()}
    (folder / "300.wav").rename(folder / "moved.wav")
    (folder / "400.wav").unlink()
    sounds(folder, 600)
    report = index(folder, library=LIBRARY)
    changes = report.changes
    assert (changes.added, changes.moved, changes.gone, changes.unchanged) == (1, 1, 1, 1)
    assert answering() == {"moved.wav", "500.wav", "600.wav"} == believed()
    kept = {clip.path: clip.id for clip in opened().clips()}
    assert kept[b"moved.wav"] == number[b"300.wav"]


def test_two_folders_with_clips_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sounds(tmp_path / "one", 300, 400), sounds(tmp_path / "two", 400)
    (two / "400.wav").rename(two / "300.wav")
    index(one, library=LIBRARY, **QUICK)
    monkeypatch.setenv("EARSIGHT_MACHINE", "another")
    monkeypatch.setattr(engine, "run", nothing_to_read)
    report = index(two, library=LIBRARY)  # its one content is known: nothing is decoded
    assert report.n_clips == 1 and report.changes.added == 1
    found = status(LIBRARY)
    assert sorted(found.folders.values()) == [1, 2] and found.n_contents == 2
    assert f"another:{two}" in found.folders
    # What a folder lacks is no business of the other.
    monkeypatch.delenv("EARSIGHT_MACHINE")
    (one / "400.wav").unlink()
    index(one, library=LIBRARY)
    files = {str(opened().file_of(clip)) for clip in opened().everything()}
    assert files == {f"{one}/300.wav", f"another:{two}/300.wav"}
    assert believed() == answering() == {"300.wav"}


def test_two_names_with_one_path_and_one_cache_are_two_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers are that mount their own clips at one path, and share their weights."""
    folder = sounds(tmp_path / "clips", 300)
    monkeypatch.setenv("EARSIGHT_MACHINE", "one")
    index(folder, library=LIBRARY, **QUICK)
    shutil.rmtree(folder)
    sounds(folder, 400, 500)
    monkeypatch.setenv("EARSIGHT_MACHINE", "two")
    index(folder, library=LIBRARY)
    assert status(LIBRARY).folders == {f"one:{folder}": 1, f"two:{folder}": 2}
    monkeypatch.setenv("EARSIGHT_MACHINE", "one")  # again, where its clips are gone
    with pytest.raises(LibraryError):
        index(tmp_path / "nothing", library=LIBRARY)
    assert len(status(LIBRARY).folders) == 2


def test_clips_of_another_machine_are_named_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clips(tmp_path / "clips")
    index(folder, library=LIBRARY, **QUICK)
    another = tmp_path / "another home"
    another.mkdir()
    for one in (tmp_path / "home").iterdir():
        if one.is_symlink():  # weights are there as well
            (another / one.name).symlink_to(one.resolve())
    monkeypatch.setenv("EARSIGHT_HOME", str(another))
    with earsight.Library(LIBRARY) as library, serving(LIBRARY) as page:  # type: ignore[arg-type]
        answer = library.search(clip=library.clips()[0].id)
        assert len(answer) == 3
        for one in answer:
            assert one.clip is not None and one.clip.root is None
            machine, _, path = one.path.partition(":")
            assert machine and Path(path).is_relative_to(folder)
        reply = page.get(f"/api/clips/{answer.results[0].id}/media")
        assert reply.status == 404 and "does not know where" in reply.error
        info = page.get("/api/library").json
        assert info["n_clips"] == 4 and info["name"] == "library"
    found = status(LIBRARY)
    assert found.pending is not None and found.pending.nothing
    assert found.index_command == f"earsight index CLIPS --library {LIBRARY}"
    odd = SharedStore(Remote("clips", "my $library"), Path("/my clips"))
    assert odd.index_command == "earsight index '/my clips' --library 's3://clips/my $library'"


@pytest.mark.long
def test_forgetting_reaches_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = sounds(tmp_path / "one", 300, 400), sounds(tmp_path / "two", 300, 500)
    index(one, library=LIBRARY, **QUICK)
    index(two, library=LIBRARY, **QUICK)
    monkeypatch.chdir(one)
    done = forget(LIBRARY, ["300.wav"])
    assert len(done.paths) == 2 and done.copies == 1 and done.n_clips == 2
    assert believed() == {"400.wav", "500.wav"}
    for folder in (one, two):
        assert index(folder, library=LIBRARY).forgotten == 1
    assert answering() == {"400.wav", "500.wav"}
    with pytest.raises(InputError, match="no clip of the library"):
        forget(LIBRARY, ["300.wav"])
    assert len(forgotten(LIBRARY)) == 1  # by content, as last seen
    take_back(LIBRARY, [forgotten(LIBRARY)[0]])
    for folder in (one, two):
        index(folder, library=LIBRARY)
    assert answering() == {"300.wav", "400.wav", "500.wav"} and len(opened().clips()) == 4


def test_export_and_doctor(tmp_path: Path) -> None:
    folder = clips(tmp_path / "clips")
    index(folder, library=LIBRARY, **QUICK)
    done = export(LIBRARY, tmp_path / "out.npz")
    assert (done.n_clips, done.n_rows) == (4, 8)
    with np.load(tmp_path / "out.npz") as kept:
        assert all(path.endswith(".mp4") and f":{folder}/" in path for path in kept["path"])
    assert {finding.state for finding in check_library(LIBRARY)} == {"fine"}


def test_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = clips(tmp_path / "clips")
    index(folder, library=LIBRARY, **QUICK)

    def run(*arguments: str) -> str:
        capfd.readouterr()
        app([*arguments, "--library", LIBRARY], standalone_mode=False)
        return capfd.readouterr().out

    told = json.loads(run("index", str(folder), "--json"))
    assert told["library"] == LIBRARY and not told["rebuilt"]
    answer = json.loads(run("search", str(folder / "red/b.mp4"), "--for", "visual", "--json"))
    assert Path(answer["results"][0]["path"]).name == "b.mp4"
    assert "up to date: yes" in run("status")


def test_a_warm_search_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question needs to know whether the library changed; nothing else is asked of S3."""
    from lancedb.db import LanceDBConnection

    folder = sounds(tmp_path / "clips", 300, 400)
    index(folder, library=LIBRARY, **QUICK)
    opens: list[str] = []
    real = LanceDBConnection.open_table

    def counted(self: LanceDBConnection, name: str, **more: Any) -> Any:
        opens.append(name)
        return real(self, name, **more)

    with earsight.Library(LIBRARY) as library:
        number = library.clips()[0].id
        library.search(clip=number, for_="audio")
        monkeypatch.setattr(LanceDBConnection, "open_table", counted)
        library.search(clip=number, for_="audio")
        assert opens == ["library"]


def test_a_name_that_pathlib_shortened_is_the_same_library(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=Path(LIBRARY), **QUICK)
    assert search(Path(LIBRARY), folder / "300.wav", for_="audio").results
    assert not os.path.exists("s3:")  # noqa: PTH110
    with pytest.raises(LibraryError, match=r"no library at s3://clips/other\. Make one"):
        search("s3://clips/other", text="x")

"""A library at s3://, by a local server: what a library on a disk does, it does."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lancedb.db import LanceDBConnection

import earsight
from _day import Day
from _far import LIBRARY, answering, believed, opened, quick, sounds  # noqa: F401 - fixtures
from _folders import QUICK, fill, nothing_to_read
from _server import serving
from earsight import engine
from earsight.cli import app
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.trust import NotTrustedError
from earsight.library.indexing.forget import forget_clips, list_forgotten, undo_forget
from earsight.library.indexing.pipeline import index
from earsight.library.reports.doctor import check_library
from earsight.library.reports.evaluate import evaluate_library
from earsight.library.reports.export import export_library
from earsight.library.reports.status import library_status
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
        assert repr(there).startswith(f"Library({str(folder)!r}, 4 clips, ")
        assert len({clip.id for clip in there.clips()}) == 4
        assert [clip.text is not None for clip in there.clips()] == [False, False, True, False]
        points = [library.embeddings("audio") for library in (near, there)]
        assert sorted(map(bytes, points[0].vectors)) == sorted(map(bytes, points[1].vectors))
    assert evaluate_library(LIBRARY) == evaluate_library(folder)


def test_a_second_run_reads_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300, 400)
    index(folder, library=LIBRARY, **QUICK)
    before = (Remote.parse(LIBRARY) / "library.db").info()
    monkeypatch.setattr(engine, "run", nothing_to_read)
    report = index(folder, library=LIBRARY)  # by the settings of the first
    assert not report.rebuilt and report.changes.unchanged == 2
    assert (Remote.parse(LIBRARY) / "library.db").info() == before


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


def test_a_machine_that_does_not_know_the_clips_names_them_and_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clips(tmp_path / "clips")
    index(folder, library=LIBRARY, **QUICK)
    with earsight.Library(LIBRARY) as here:
        assert here.name == "clips" and here.clips()[0].root == folder
    monkeypatch.setenv("EARSIGHT_CONFIG", str(tmp_path / "another user"))
    with earsight.Library(LIBRARY) as library, serving(LIBRARY) as page:  # type: ignore[arg-type]
        answer = library.search(clip=library.clips()[0].id)
        assert len(answer) == 3
        for one in answer:
            assert one.clip is not None and one.clip.root is None
            assert one.path == f"library:/{one.clip.path}"
        reply = page.get(f"/api/clips/{answer.results[0].id}/media")
        assert reply.status == 404 and "does not know where" in reply.error
        info = page.get("/api/library").json
        assert info["n_clips"] == 4 and info["name"] == "library"
    assert library_status(LIBRARY).index_command == f"earsight index CLIPS --library {LIBRARY}"
    other = sounds(tmp_path / "other", 300)
    with pytest.raises(NotTrustedError, match="take these clips for those that it was made of"):
        index(other, library=LIBRARY)
    assert believed() == {"a.mp4", "b.mp4", "c.mp4", "copy.mp4"}


def test_forgetting_and_taking_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sounds(tmp_path / "clips", 300, 400)
    index(folder, library=LIBRARY, **QUICK)
    monkeypatch.chdir(folder)
    assert forget_clips(LIBRARY, ["300.wav"]).n_clips == 1 and believed() == {"400.wav"}
    assert index(folder, library=LIBRARY).forgotten == 1 and answering() == {"400.wav"}
    with pytest.raises(InputError, match="no clip of the library"):
        forget_clips(LIBRARY, ["300.wav"])
    undo_forget(LIBRARY, list_forgotten(LIBRARY))
    index(folder, library=LIBRARY)
    assert answering() == {"300.wav", "400.wav"}


def test_a_folder_is_followed_into_a_library_on_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    day = Day(folder, monkeypatch, LIBRARY)
    day.watch(lambda: sounds(folder, 310), None, None, None, None)
    assert [report.changes.added for report in day.reports] == [0, 1]
    assert answering() == believed() == {"300.wav", "310.wav"}


def test_export_and_doctor(tmp_path: Path) -> None:
    folder = clips(tmp_path / "clips")
    index(folder, library=LIBRARY, **QUICK)
    done = export_library(LIBRARY, tmp_path / "out.npz")
    assert (done.n_clips, done.n_rows) == (4, 8)
    with np.load(tmp_path / "out.npz") as kept:
        assert set(kept["path"]) == {"red/a.mp4", "red/b.mp4", "blue/c.mp4", "blue/copy.mp4"}
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
    folder = sounds(tmp_path / "clips", 300, 400)
    index(folder, library=LIBRARY, **QUICK)
    asked: list[str] = []
    real = Remote._guard

    def counted(self: Remote, done: str) -> Any:
        asked.append(str(self))
        return real(self, done)

    with earsight.Library(LIBRARY) as library:
        number = library.clips()[0].id
        library.search(clip=number, for_="audio")
        monkeypatch.setattr(Remote, "_guard", counted)
        monkeypatch.setattr(LanceDBConnection, "open_table", None)
        library.search(clip=number, for_="audio")
        assert asked == [f"{LIBRARY}/library.db"]


def test_a_name_that_pathlib_shortened_is_the_same_library(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=Path(LIBRARY), **QUICK)
    assert search(Path(LIBRARY), folder / "300.wav", for_="audio").results
    assert not os.path.exists("s3:")  # noqa: PTH110
    with pytest.raises(LibraryError, match=r"no library at s3://clips/other\. Make one"):
        search("s3://clips/other", text="x")

"""Several at once, and a library that has been carried elsewhere: with real processes and disks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _clips import make_clip
from _folders import names, nothing_to_read, rows
from earsight import engine
from earsight.library.catalog.location import FOLDER
from earsight.library.indexing.pipeline import index
from earsight.library.reports.export import export_library
from earsight.library.reports.status import library_status
from earsight.library.search.searcher import search

REBUILDS = (
    "import sys; from pathlib import Path; from earsight.library.indexing.pipeline import index\n"
    "for _ in range(6): index(Path(sys.argv[1]), rebuild=True)"
)


def test_readers_during_rebuilds_are_answered_as_before(library: Path, tmp_path: Path) -> None:
    expected = names(library, "sound.wav")
    made = library_status(library).made
    writer = subprocess.Popen([sys.executable, "-c", REBUILDS, str(library)])
    answers = 0
    while writer.poll() is None:
        assert names(library, "sound.wav") == expected
        assert export_library(library, tmp_path / "out.npz", force=True).n_rows == 14
        answers += 1
    assert writer.returncode == 0 and answers > 0
    assert library_status(library).made != made and names(library, "sound.wav") == expected


def test_clips_and_library_carried_elsewhere(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows(library)
    there = library.parent / "another disk" / "my clips"
    shutil.copytree(library, there)  # new times for folders; the files keep theirs
    shutil.rmtree(library)
    found = search(there, there / "sound.wav", top=100).results
    assert found and all(Path(one.path).is_relative_to(there) for one in found)
    monkeypatch.setattr(engine, "run", nothing_to_read)
    report = index(there)
    assert not report.rebuilt and report.changes.unchanged == 9 and rows(there) == expected


def test_clips_copied_without_their_times_are_hashed_not_read(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "copy"
    shutil.copytree(made, there, copy_function=shutil.copyfile)
    monkeypatch.setattr(engine, "run", nothing_to_read)
    assert not index(there).rebuilt


def test_a_library_apart_from_its_clips_carried_elsewhere(tmp_path: Path) -> None:
    clips, place, there = tmp_path / "clips", tmp_path / "place", tmp_path / "there"
    clips.mkdir()
    make_clip(clips / "a.mp4")
    index(clips, library=place)
    shutil.copytree(place, there)
    shutil.rmtree(place)
    answer = search(there, text="red")
    assert [one.path for one in answer.results] == ["there:/a.mp4"]
    assert "does not know where the clips" in answer.notes[0]
    assert not index(clips, library=there).rebuilt and not (clips / FOLDER).exists()
    answer = search(there, text="red")
    assert ([one.path for one in answer], answer.notes) == ([str(clips / "a.mp4")], [])

"""`doctor` finds what is broken, each with the real damage, and says what to do."""

import json
import shutil
import sqlite3
from collections import namedtuple
from pathlib import Path
from shlex import quote

import numpy as np
import pytest
import typer

from _clips import make_clip
from _folders import rows
from earsight.cli import upkeep
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.extraction import Sources
from earsight.library.embedding.feature_tables import stored_tables
from earsight.library.indexing.pipeline import index
from earsight.library.reports import doctor
from earsight.library.reports.doctor import check_library, check_reading, check_room

_Usage = namedtuple("_Usage", "total used free")


def broken(library: Path) -> dict[str, str]:
    """Return what is broken, by check, with what to do."""
    return {one.check: one.todo for one in check_library(library) if one.state == "broken"}


def test_a_sound_library_is_fine(made: Path) -> None:
    findings = check_library(made)
    assert [one for one in findings if one.state != "fine"] == []
    checks = {one.check: one.found for one in findings}
    assert checks["list of clips"] == "All of it was read: 9 clips"
    assert sum(check.startswith("table ") for check in checks) >= 5
    assert f"words: {len(rows(made))} rows" in checks["active embedding"]
    assert not any(one.todo for one in findings)


@pytest.mark.parametrize("damaged", ["words.audio", "visual", "sequences", "embedding"])
def test_a_damaged_table_is_found_and_its_cure_works(library: Path, damaged: str) -> None:
    before = rows(library)
    for path in (library / FOLDER / "vectors").glob(f"{damaged}-*/data/*"):
        path.write_bytes(path.read_bytes()[:40])
    found = broken(library)
    assert found and all(
        todo.endswith(f"earsight index {quote(str(library))} --rebuild") for todo in found.values()
    )
    assert any(damaged in check or "active" in check for check in found)
    if damaged != "sequences":
        index(library, rebuild=True)
        assert broken(library) == {} and rows(library) == before


def test_missing_vectors_and_models_are_found(library: Path) -> None:
    with open_library(library / FOLDER) as store:
        current = store.current()
        assert current is not None
        stored_tables(store, current).delete([store.clips()[0].content])
        shutil.rmtree(store.folder / "models" / str(current.id))
    assert set(broken(library)) == {"tables against list", "active embedding"}
    index(library, rebuild=True)
    assert broken(library) == {}


def test_a_damaged_list_of_clips(library: Path) -> None:
    path = library / FOLDER / "library.db"
    with sqlite3.connect(path) as db:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'clips_content'"
        (number,), (size,) = db.execute(query).fetchone(), db.execute("PRAGMA page_size").fetchone()
        (content,) = db.execute("SELECT content FROM clips LIMIT 1").fetchone()
    db.close()
    data = bytearray(path.read_bytes())  # a row of an index that its table does not have
    at = data.index(content.encode(), (number - 1) * size, number * size)
    data[at : at + 4] = b"0000"
    path.write_bytes(data)
    assert "Delete" in broken(library)["list of clips"]
    path.write_bytes(b"not a database at all")
    assert set(broken(library)) == {"library"}


def test_a_library_that_is_not_there_and_one_not_finished(tmp_path: Path) -> None:
    assert set(broken(tmp_path)) == {"library"}
    (tmp_path / FOLDER).mkdir()
    Catalog.made(tmp_path / FOLDER).close()
    assert broken(tmp_path) == {"active embedding": f"Run: earsight index {tmp_path}"}


def test_other_weights_than_those_that_read_the_clips(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sources, "fingerprint", "another")
    (finding,) = (one for one in check_library(made) if one.state != "fine")
    assert finding.state == "warning" and "weights" in finding.found
    assert finding.todo == f"Read the clips anew: earsight index {quote(str(made))}"


def test_clips_that_are_away_are_worth_a_look(library: Path) -> None:
    place = library.parent / "place"
    shutil.move(library / FOLDER, place)
    (finding,) = (one for one in check_library(place) if one.check == "folder of clips")
    assert finding.state == "warning" and "does not know" in finding.found
    index(library, library=place, trust=True)
    library.rename(library.parent / "gone")
    (finding,) = (one for one in check_library(place) if one.check == "folder of clips")
    assert finding.state == "warning" and "is not there" in finding.found


def test_the_decoder_and_the_networks_are_tried(tmp_path: Path) -> None:
    assert check_reading(make_clip(tmp_path / "a.mp4"), Sources()).state == "fine"
    (tmp_path / "b.mp4").write_text("This is no film.")
    finding = check_reading(tmp_path / "b.mp4", Sources())
    assert finding.state == "broken" and "unreadable" in finding.found and finding.todo
    silent = check_reading(make_clip(tmp_path / "c.mp4", audio=False), Sources())
    assert silent.state == "broken"


@pytest.mark.parametrize(("free", "state"), [(5e9, "fine"), (5e8, "warning"), (5e7, "broken")])
def test_room(free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(1e12, 0, int(free)))
    finding = check_room(tmp_path / "not yet" / "there", "room")
    assert finding.state == state and bool(finding.todo) == (state != "fine")


def test_a_package_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("numpy", "no_such_package"))
    findings = {one.check: one for one in doctor.check_packages()}
    assert "pip install" in findings["package no_such_package"].todo
    assert np.__version__ in findings["packages"].found


def test_the_command_ends_with_1_where_something_is_broken(
    library: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    upkeep.doctor(library, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["broken"] == 0 and {"weights yamnet", "active embedding"} <= {
        one["check"] for one in told["findings"]
    }
    shutil.rmtree(library / FOLDER / "models")
    with pytest.raises(typer.Exit) as ended:
        upkeep.doctor(library)
    shown = capsys.readouterr()
    assert ended.value.exit_code == 1 and "BROKEN active embedding" in shown.out
    assert f"→ Make it anew: earsight index {quote(str(library))} --rebuild" in shown.out

"""Whatever the rows of a library say, reading them is fine or ends in an error of ours."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import earsight
from _mutations import AWKWARD, json_mutations
from _received import edited
from earsight.errors import EarsightError
from earsight.library.indexing.forget import forget_clips, list_forgotten, undo_forget
from earsight.library.indexing.pipeline import index
from earsight.library.reports.doctor import check_library
from earsight.library.reports.evaluate import evaluate_library
from earsight.library.reports.status import library_status

COLUMNS = {
    "clips": ["id", "path", "size", "mtime_ns", "content", "label"],
    "contents": ["content", "features", "status", "duration", "report", "windows"],
    "embeddings": ["id", "features", "digest", "n_rows", "made", "info"],
    "meta": ["key", "value"],
}
PATHS = [b"", b"a.mp4", b"../a.mp4", b"/a.mp4", b"a/../b.mp4", b"\xff.mp4", b".a/b.mp4", b"a\0.mp4"]


@st.composite
def row_mutations(draw: st.DrawFn, found: dict[str, list[sqlite3.Row]]) -> tuple[Any, ...]:
    """A table, the place of a row, a column, and the value for it."""
    table = draw(st.sampled_from(sorted(COLUMNS)))
    number = draw(st.integers(0, len(found[table]) - 1))
    column = draw(st.sampled_from(COLUMNS[table]))
    value = found[table][number][column]
    if column in ("report", "info", "value") and draw(st.integers(0, 4)):
        new = json.dumps(draw(json_mutations(json.loads(value))))
    else:
        plain = [one for one in AWKWARD if not isinstance(one, list | dict)]
        new = draw(st.sampled_from([*plain, *PATHS]) | st.floats() | st.text() | st.binary())
    return table, number, column, new


def rows_of(library: Path) -> dict[str, list[sqlite3.Row]]:
    with edited(library) as db:
        db.row_factory = sqlite3.Row
        return {
            table: db.execute(f"SELECT rowid AS place, * FROM {table}").fetchall()
            for table in COLUMNS
        }


def change(library: Path, rows: dict[str, list[sqlite3.Row]], mutation: tuple[Any, ...]) -> bool:
    """Write a value; whether SQLite takes it."""
    table, number, column, value = mutation
    with edited(library) as db:
        try:
            db.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = ?",
                (value, rows[table][number]["place"]),
            )
        except (sqlite3.Error, OverflowError, UnicodeEncodeError):
            return False
    return True


def use(library: Path) -> list[str]:
    """Do what people do with a library; return what was refused, in our words."""

    def ask(opened: earsight.Library) -> None:
        repr(opened)
        clips = opened.clips()
        json.dumps(opened.search(text="red", top=50).as_json())
        opened.search(text="red", moments=True)
        for clip in clips[:2]:
            opened.search(clip=clip.id)
            opened.timeline(clip.id, text="red")
        opened.labels(), opened.embeddings("audio"), opened.state

    def open_and_ask(folder: Path) -> None:
        with earsight.Library(folder) as opened:
            ask(opened)

    def forget_and_take_back(folder: Path) -> None:
        list_forgotten(folder)
        forget_clips(folder, ["red/a.mp4"])
        undo_forget(folder, ["red/a.mp4"])

    told = []
    uses = (
        open_and_ask,
        library_status,
        check_library,
        evaluate_library,
        forget_and_take_back,
        index,
    )
    for one in uses:
        try:
            one(library)
        except EarsightError as error:
            assert str(error)
            told.append(str(error))
    return told


def check_rows(made: Path, tmp_path_factory: pytest.TempPathFactory, cases: int) -> None:
    rows = rows_of(made)
    where = tmp_path_factory.mktemp("hostile")
    told: list[str] = []

    @settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(row_mutations(rows), min_size=1, max_size=2))
    def reading(mutations: list[tuple[Any, ...]]) -> None:
        library = Path(shutil.copytree(made, where / "clips", dirs_exist_ok=False))
        try:
            written = [change(library, rows, one) for one in mutations]
            if all(written):
                told.extend(use(library))
        finally:
            shutil.rmtree(library)

    reading()
    assert len(set(told)) > cases // 4  # most changes are noticed, in many words


def test_rows_of_any_kind(made: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_rows(made, tmp_path_factory, 40)


@pytest.mark.long
def test_rows_of_any_kind_for_long(made: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_rows(made, tmp_path_factory, 700)

"""A library at s3://: one writer at a time, who may be killed, and readers meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor
from json import dumps
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import earsight
from _far import LIBRARY, answering, believed, killed, opened, quick, sounds, told  # noqa: F401
from _folders import QUICK
from earsight.cli import app
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.open import open_for_writing
from earsight.library.catalog.s3_lock import Writer, WriterLock, unlock, writers
from earsight.library.indexing import pipeline
from earsight.library.indexing.forget import forget_clips
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import library_status
from earsight.storage import Remote
from earsight.vectors import Records

pytestmark = pytest.mark.usefixtures("s3", "quick")
HERE = Remote.parse(LIBRARY)


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    """Let something happen once, in the middle of the next `index`."""
    real = pipeline.write_embedding

    def first(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(pipeline, "write_embedding", real)
        what()
        return real(*arguments, **named)

    monkeypatch.setattr(pipeline, "write_embedding", first)


def test_a_second_writer_is_refused_and_told_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300, 310)
    who = str(Writer.here())[: -len("T00:00:00Z")]

    def others() -> None:
        for way in (
            lambda: index(folder, library=LIBRARY),
            lambda: forget_clips(LIBRARY, ["300.wav"]),
        ):
            with pytest.raises(LibraryError, match=f"{who}.*nothing was changed.*earsight unlock"):
                way()
        assert (library_status(LIBRARY).indexing or "").startswith(who)

    index(folder, library=LIBRARY, **QUICK)
    sounds(folder, 320)
    meanwhile(monkeypatch, others)
    index(folder, library=LIBRARY)
    assert writers(HERE) == [] and library_status(LIBRARY).indexing is None
    assert answering() == believed() == {"300.wav", "310.wav", "320.wav"}


def test_of_many_that_come_at_once_at_most_one_writes() -> None:
    together, inside, most = threading.Barrier(4), 0, 0

    def come(_: int) -> bool:
        nonlocal inside, most
        together.wait(60)
        try:
            with WriterLock(HERE):
                inside += 1
                most = max(most, inside)
                together.wait(60)
                inside -= 1
        except LibraryError:
            together.wait(60)
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(come, range(4)))
    assert sum(held) == most <= 1 and writers(HERE) == []
    with WriterLock(HERE):
        assert len(writers(HERE)) == 1


def test_a_writer_is_killed_and_the_next_takes_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = sounds(tmp_path / "clips", *range(300, 390, 10))
    process = killed(folder, 4)
    acknowledged = told(process)
    assert process.returncode == -9 and 4 <= len(acknowledged) < 9
    assert believed() == acknowledged, "what was acknowledged can be read"
    with pytest.raises(LibraryError, match=f"process {process.pid} of .*earsight unlock"):
        index(folder, library=LIBRARY)
    app(["unlock", "--library", LIBRARY], standalone_mode=False)
    assert f"taken from process {process.pid} of " in capfd.readouterr().err
    assert index(folder, library=LIBRARY).changes.added == 9 - len(acknowledged)
    assert answering() == believed() == {f"{tone}.wav" for tone in range(300, 390, 10)}
    app(["unlock", "--library", LIBRARY], standalone_mode=False)
    assert "Nobody writes" in capfd.readouterr().err
    with pytest.raises(InputError, match="lies on a disk"):
        unlock(folder)


def test_a_writer_from_whom_it_was_taken_changes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not dead, only slow."""
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    sounds(folder, 310)
    made: list[Any] = []

    def taken() -> None:
        unlock(HERE)
        made.append(index(folder, library=LIBRARY).embedding)

    meanwhile(monkeypatch, taken)
    with pytest.raises(LibraryError, match="Somebody took over the library"):
        index(folder, library=LIBRARY)
    assert opened().current() == made[0] and writers(HERE) == []
    index(folder, library=LIBRARY, rebuild=True)
    assert answering() == believed() == {"300.wav", "310.wav"}


def test_readers_are_answered_during_a_write_and_see_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300, 400)
    index(folder, library=LIBRARY, **QUICK)
    with earsight.Library(LIBRARY) as library:
        number = library.clips()[0].id

        def ask() -> list[tuple[float, str]]:
            return [(one.score, one.path) for one in library.search(clip=number, for_="audio")]

        expected, begun = ask(), library.snapshot().embedding.id

        def reading() -> None:
            assert ask() == expected
            with earsight.Library(LIBRARY) as newly:
                assert len(newly.search(clip=number, for_="audio")) == len(expected)

        sounds(folder, 500)
        meanwhile(monkeypatch, reading)
        index(folder, library=LIBRARY)
        assert len(ask()) == len(expected) + 1 and library.snapshot().embedding.id > begun


def test_a_catalog_that_is_read_is_not_written(tmp_path: Path) -> None:
    index(sounds(tmp_path / "clips", 300), library=LIBRARY, **QUICK)
    with opened() as catalog, pytest.raises(LibraryError, match="for reading alone"):
        catalog.set("x", 1)


# Libraries of Earsight 0.1, whose rows were a table on S3


def as_of_old(*folders: str) -> None:
    """Write the rows of the library as Earsight 0.1 did, fed by some folders."""
    with opened() as catalog:
        current, files = catalog.current(), catalog.files()
        assert current is not None
        contents = catalog.contents(current.features).values()
        facts = {"format": 2, "settings": catalog.settings, "forgotten:abc": []}
    facts["settings"] = {k: v for k, v in facts["settings"].items() if k != "exclude"}  # type: ignore[attr-defined]
    for folder in folders:
        facts[f"folder:{folder}"] = {"machine": "studio", "root": b"/clips".hex()}
    rows = [{"key": f"fact:{k}", "kind": "fact", "value": dumps(v)} for k, v in facts.items()]
    for one in files:
        row = {name: getattr(one, name) for name in ("path", "size", "mtime_ns", "content")}
        rows.append(
            {"key": f"clip:{one.id}", "kind": "clip", "folder": "f1", "number": one.id, **row}
        )
    for read in contents:
        told = {"status": read.status, "duration": read.duration, "report": read.report}
        row = {"key": f"content:{read.content}", "kind": "content", "content": read.content}
        told["windows"] = read.windows
        rows.append({**row, "features": current.features, "value": dumps(told)})
    told = {"digest": current.digest, "n_rows": current.n_rows, "made": current.made}
    row = {"key": "embedding:1", "kind": "embedding", "number": current.id}
    value = dumps({**told, "info": current.info})
    rows.append({**row, "features": current.features, "value": value})
    table = Records(HERE / "state", "library")
    table._make(table._columns(None))
    table._write(pa.Table.from_pylist(rows, schema=table._columns(None)))
    (HERE / "library.db").delete()


def test_a_library_of_earsight_0_1_is_read_and_goes_on_as_a_new_one(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", 300, 310)
    index(folder, library=LIBRARY, **QUICK)
    with opened() as catalog:
        before = (catalog.files(), catalog.current())
    as_of_old("f1")
    with opened() as catalog:
        assert (catalog.files(), catalog.current()) == before
    assert answering() == believed() == {"300.wav", "310.wav"}
    report = index(folder, library=LIBRARY, trust=True)
    assert not report.rebuilt and report.changes.unchanged == 2
    assert not any(name.startswith("state/") for name, _ in HERE.walk())
    assert answering() == believed() == {"300.wav", "310.wav"}


def test_a_library_that_several_folders_feed_says_so(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    as_of_old("f1", "f2")
    told = "2 folders of clips feed the library .*studio:/clips.*Index each into"
    with pytest.raises(LibraryError, match=told):
        opened()
    with pytest.raises(LibraryError, match=told), open_for_writing(LIBRARY):
        pass
    assert writers(HERE) == []

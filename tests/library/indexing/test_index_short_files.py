"""Many short files: told about from the start, read once each, and as exactly as a few."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest

from _far import sounds
from _folders import QUICK, in_this_process
from earsight import engine
from earsight.cli._show import Lines
from earsight.errors import WeightsError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.embedding.extraction import Sources
from earsight.library.embedding.feature_tables import FeatureTables
from earsight.library.embedding.settings import Settings
from earsight.library.indexing import ingest
from earsight.library.indexing.pipeline import index
from earsight.library.progress import Silent


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run", engine.run)  # put back afterwards
    in_this_process()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens because a second has passed, however busy the machine is."""
    monkeypatch.setattr(ingest, "_BATCH_SECONDS", 600.0)
    monkeypatch.setattr(ingest, "_CHECK_SECONDS", 600.0)
    monkeypatch.setattr(ingest, "_checked", {})  # as in a process of its own


class Told(Silent):
    """Notes what was told before which file was hashed or read."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self, what: str, total: int) -> None:
        self.events.append(f"{what}: {total}")

    def advance(self, note: str = "") -> None:
        self.events.append("done")


def _vectors(folder: Path) -> dict[str, bytes]:
    """Return all that was read of a folder's files, bit for bit."""
    found: dict[str, bytes] = {}
    with open_library(folder / FOLDER) as store:
        sources = Settings.of(store).sources
        tables = FeatureTables(store.folder, sources.fingerprint, sources.roles)
        for role in tables.roles:
            for rows, vectors in tables._table(role).read():
                found |= {
                    f"{role} {r.key}": v.tobytes() for r, v in zip(rows, vectors, strict=True)
                }
        for one in tables.sequences.read():
            parts = (one.sequence.values, one.sequence.times)
            found[f"sequence {one.key}"] = b"".join(np.asarray(p).tobytes() for p in parts)
    return found


def test_how_files_are_shared_out_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time in one process with a commit each; by three processes, in large batches."""
    folder = sounds(tmp_path / "clips", *range(100, 124))
    again = shutil.copytree(folder, tmp_path / "again")
    index(folder, workers=3, learn="never")
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_BATCH_CLIPS", 1)
        patch.setattr(engine.processes, "_MOST", 1)
        index(again, workers=1, learn="never")
    vectors = _vectors(folder)
    assert len(vectors) == 24 * 4  # two roles, and a sequence for each
    assert vectors == _vectors(again)


def test_it_is_told_before_the_first_file_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None
) -> None:
    folder = sounds(tmp_path / "clips", *range(100, 200))  # all of one size
    told = Told()
    real = ingest.content_hash

    def hashed(path: Path) -> str:
        told.events.append("hashed")
        return real(path)

    monkeypatch.setattr(ingest, "content_hash", hashed)
    index(folder, progress=told, **QUICK)
    assert told.events[0] == "Reading clips: 100"
    assert told.events.count("hashed") == 100
    first = told.events.index("done")
    assert told.events[:first].count("hashed") < 40, "hashing goes on beside reading"


def test_the_fingerprint_costs_no_file_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None, unhurried: None
) -> None:
    counted: list[int] = []  # the thread of each look; threads of other tests may still look
    real = Sources.fingerprint.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Sources, "fingerprint", property(lambda self: counted.append(get_ident()) or real(self))
    )
    found = []
    for name, n in (("few", 5), ("many", 60)):
        counted.clear()
        ingest._checked.clear()
        index(sounds(tmp_path / name, *range(100, 100 + n)), **QUICK)
        found.append(counted.count(get_ident()))
    assert found[0] == found[1] > 0


def test_weights_that_change_while_files_are_read_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None, unhurried: None
) -> None:
    """Also within the second in which no worker looks: nothing of that batch is written."""
    folder = sounds(tmp_path / "clips", 100, 200, 300)
    run = engine.run

    def changing(*what: object, **how: object) -> Iterator[object]:
        yield from run(*what, **how)  # type: ignore[arg-type]
        monkeypatch.setattr(Sources, "fingerprint", "another")

    monkeypatch.setattr(engine, "run", changing)
    with pytest.raises(WeightsError, match="changed during this run"):
        index(folder, **QUICK)
    with open_library(folder / FOLDER) as store:
        assert store.files() == [] and store.contents("another") == {}


def test_lines_come_while_nothing_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr("earsight.cli._show._EVERY", 0.6)
    lines = Lines()
    lines.start("Reading clips", 20)
    lines.advance()
    time.sleep(2)
    lines.leave()
    told = capsys.readouterr().err.splitlines()
    assert len(told) >= 2 and told[0].startswith("Reading clips: 1 of 20")
    time.sleep(1)
    assert capsys.readouterr().err == ""

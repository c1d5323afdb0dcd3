"""`index --watch`: what has come whole is indexed, whatever else happens, until it is stopped."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from _clips import make_clip
from _day import Day
from _folders import acknowledged, in_this_process, nothing_to_read, until
from earsight import engine
from earsight.errors import LibraryError
from earsight.library.catalog.location import FOLDER, locked
from earsight.library.catalog.open import open_library
from earsight.library.catalog.scan import File
from earsight.library.indexing.pipeline import index
from earsight.library.indexing.watch import Settling, watch_folder


def test_a_file_settles_when_size_and_time_stay() -> None:
    settling = Settling(5.0)
    small, large, other = File(b"a", 1, 1), File(b"a", 2, 1), File(b"b", 1, 1)
    assert settling.growing([small], 0.0) == {b"a"}
    assert settling.growing([small, other], 4.9) == {b"a", b"b"}
    assert settling.growing([large, other], 5.1) == {b"a", b"b"}  # it grew: from the start again
    assert settling.growing([large, other], 10.0) == {b"a"}
    assert settling.growing([large], 10.2) == set()
    assert settling.growing([], 11.0) == set()
    assert settling.growing([large], 12.0) == {b"a"}  # it had been away


@pytest.fixture
def day(library: Path, monkeypatch: pytest.MonkeyPatch) -> Day:
    monkeypatch.setattr(engine, "run", engine.run)  # put back afterwards
    in_this_process()
    return Day(library, monkeypatch)


def test_a_half_copied_file_is_not_read(day: Day) -> None:
    whole = make_clip(day.folder.parent / "clip.mp4", tone=1500).read_bytes()
    new = day.folder / "new.mp4"

    def copy(share: float) -> Any:
        return lambda: new.write_bytes(whole[: int(share * len(whole))])

    day.watch(copy(0.3), None, copy(0.6), None, copy(1.0), None, None, None, None)
    assert [report.changes.added for report in day.reports] == [0, 1]
    assert [path for path, *_ in day.reports[-1].trouble] == ["text.mp4"]


def test_what_has_settled_does_not_wait_for_what_grows(day: Day) -> None:
    grows = day.folder / "grows.mp4"
    size = 0

    def more() -> None:
        nonlocal size
        size += 1000
        grows.write_bytes(bytes(size))

    make_clip(day.folder / "new.wav", tone=777)
    day.watch(*[more] * 6)
    assert [report.changes.added for report in day.reports] == [1]
    assert day.reports[-1].n_clips == 10 and not any(
        "grows" in t[0] for t in day.reports[-1].trouble
    )


def test_a_bad_clip_is_told_and_stops_nothing(day: Day) -> None:
    bad, good = day.folder / "bad.mp4", day.folder / "good.wav"
    day.watch(
        lambda: bad.write_text("no film"), None, None, None,
        lambda: make_clip(good, tone=888), None, None, None, None,
    )  # fmt: skip
    assert [report.changes.added for report in day.reports] == [0, 1, 1]
    assert "bad.mp4" in {path for path, *_ in day.reports[-1].trouble}


def test_a_clip_that_goes_drops_out_and_one_that_moves_is_not_read(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        (day.folder / "short.mp4").unlink()
        (day.folder / "red/b.mp4").rename(day.folder / "blue/b.mp4")
        monkeypatch.setattr(engine, "run", nothing_to_read)

    day.watch(change, None, None, None, None)
    assert len(day.reports) == 2
    assert (day.reports[1].changes.gone, day.reports[1].changes.moved) == (1, 1)


def test_an_empty_folder_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = Day(tmp_path, monkeypatch)
    day.watch(None, None, lambda: make_clip(tmp_path / "a.wav"), None, None, None, None)
    assert day.said[0].endswith("holds nothing playable yet. Waiting for clips.")
    assert sum("nothing playable" in line for line in day.said) == 1
    assert [report.changes.added for report in day.reports] == [1]


def test_trouble_that_passes_is_waited_for(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    away = day.folder.parent / "away"
    day.watch(
        lambda: day.folder.rename(away), None, None, lambda: away.rename(day.folder),
        lambda: make_clip(day.folder / "new.wav", tone=999), None, None, None, None,
    )  # fmt: skip
    assert sum("Waiting for it to pass" in line for line in day.said) == 1
    assert [report.changes.added for report in day.reports] == [0, 1]
    with locked(day.folder / FOLDER), pytest.raises(LibraryError, match="at work"):
        watch_folder(day.folder, day.reports.append)  # what the first look refuses is raised


def test_the_command_follows_and_ends_cleanly(library: Path) -> None:
    code = (
        "from earsight.library.indexing import watch; watch.EVERY = watch.SETTLE = 0.2\n"
        "watch.watch_folder.__kwdefaults__.update(every=0.2, settle=0.2)\n"
        "from earsight.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "index", str(library), "--watch", "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert '"n_clips": 9' in process.stdout.readline()
    make_clip(library.parent / "new.wav", tone=2222).rename(library / "new.wav")
    assert '"n_clips": 10' in process.stdout.readline()
    until(lambda: acknowledged(library) == 10)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in told
    assert told.splitlines()[-1].startswith("earsight: stopped.")
    with open_library(library / FOLDER), locked(library / FOLDER):
        pass
    assert not index(library).rebuilt

"""`kill -9` at random moments: nothing acknowledged is lost, no clip is there twice."""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from _clips import make_clip
from _folders import (
    QUICK,
    believed,
    fill,
    in_this_process,
    names,
    rows,
    standing,
)
from earsight import engine
from earsight.library.catalog.location import FOLDER
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import library_status

KILLS = 10
KILLED = -signal.SIGKILL


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run", engine.run)  # put back afterwards
    in_this_process()


def _waiting(folder: Path) -> "subprocess.Popen[bytes]":
    script = Path(__file__).parents[1] / "support" / "_killed.py"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(script), str(folder)], stdin=pipe, stdout=pipe)


@contextmanager
def _processes(folder: Path) -> Iterator[Iterator["subprocess.Popen[bytes]"]]:
    """Give processes that wait to begin; the next one is being started meanwhile."""
    waiting = [_waiting(folder)]

    def each() -> Iterator["subprocess.Popen[bytes]"]:
        while True:
            waiting.append(_waiting(folder))
            yield waiting.pop(0)

    try:
        yield each()
    finally:
        for process in waiting:
            process.kill()
            process.communicate()


def _change(folder: Path, turn: int, rng: random.Random) -> None:
    """Do what people do to a folder between two runs."""
    for number in range(4):
        make_clip(folder / f"{turn} {number}.wav", 0.3, tone=100 + 40 * (4 * turn + number))
    files = sorted(folder.glob("[!.]*"))
    shutil.copy(rng.choice(files), folder / f"{turn} copy.wav")
    chosen = rng.choice(files)
    chosen.rename(folder / f"{turn} moved{chosen.suffix}")
    rng.choice(sorted(folder.glob("[!.]*"))).unlink()


def test_killed_ten_times_over(tmp_path: Path, here: None) -> None:
    rng = random.Random(4)
    fill(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
    died = 0
    stood = False
    with _processes(tmp_path) as processes:
        for turn in range(KILLS):
            _change(tmp_path, turn, rng)
            process = next(processes)
            # By turns after some acknowledged clips, and at any moment: while it embeds or tidies.
            life = f"clips {rng.randint(1, 5)}" if turn % 2 else f"seconds {rng.uniform(0, 1):.3f}"
            told, _ = process.communicate(f"{life}\n".encode())
            died += process.returncode == KILLED
            known = believed(tmp_path)
            assert set(told.split(b"\n")[:-1]) <= known
            number = standing(tmp_path)
            assert number is not None or not stood, "what answered is lost"
            stood = number is not None
    assert died >= KILLS // 2, "it was to be killed in the middle"
    report = index(tmp_path, **QUICK)
    files = {path.name.encode() for path in tmp_path.glob("[!.]*")}
    assert believed(tmp_path) == files and report.n_clips == len(files)
    assert not index(tmp_path, **QUICK).rebuilt
    kept = rows(tmp_path)
    shutil.rmtree(tmp_path / FOLDER)
    index(tmp_path, **QUICK)
    assert rows(tmp_path) == kept, "a library made in one go has the same rows"


def test_a_rebuild_killed_in_its_middle_leaves_the_old_one(library: Path, here: None) -> None:
    """Other extractors: each clip is read anew, beside what answers."""
    before, answers = rows(library), names(library, "sound.wav")
    process = _waiting(library)
    process.communicate(b"clips 4\n")
    assert process.returncode == KILLED
    assert rows(library) == before and names(library, "sound.wav") == answers
    found = library_status(library)
    names_things = {"ears": "yamnet", "eyes": "efficientnet"}
    assert found.extractors == {"audio": "yamnet", "visual": "efficientnet"} | names_things
    assert found.pending is not None and found.pending.unfinished
    report = index(library)  # it was remembered what was asked for
    assert report.rebuilt and 0 < report.changes.again < 9, "what was read is not read again"
    assert len(rows(library)) == len(before)
    now = {"audio": "log_mel", "visual": "colour_edges"} | names_things
    assert library_status(library).extractors == now

import multiprocessing
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from _work import die_at_three, double, hold_a_folder, nothing_that_travels, refuse_three, sleep
from earsight import engine


def test_every_item_once() -> None:
    assert sorted(engine.run(double, range(20), workers=2)) == [(x, 2 * x) for x in range(20)]


def test_nothing_to_do_starts_nothing() -> None:
    assert list(engine.run(double, [], workers=2)) == []


def test_a_dying_worker_takes_one_item_with_it() -> None:
    found = dict(engine.run(die_at_three, range(8), workers=2))
    died = found.pop(3)
    assert isinstance(died, engine.WorkerDied)
    assert found == {x: 2 * x for x in range(8) if x != 3}


def test_what_takes_too_long_is_ended_and_the_others_go_on() -> None:
    given = [0.0, 600.0, 0.01, 0.02, 0.03]
    found = dict(engine.run_within(sleep, given, workers=2, each=20, all_of_them=300))
    assert type(found.pop(600.0)) is engine.TookTooLong  # its own time, not that of all
    assert found == dict.fromkeys([0.0, 0.01, 0.02, 0.03], "done")
    found = dict(engine.run_within(die_at_three, range(5), workers=2, each=99, all_of_them=300))
    assert isinstance(found.pop(3), engine.WorkerDied) and len(found) == 4
    for most in (0.5, 0.0):
        found = dict(engine.run_within(sleep, [600.0, 0.0], workers=1, each=99, all_of_them=most))
        assert all(isinstance(one, engine.NoTimeLeft) for one in found.values())
    with pytest.raises(ValueError, match="three is refused"):
        list(engine.run_within(refuse_three, range(8), workers=2, each=99, all_of_them=300))


def test_a_worker_that_dies_while_an_item_is_drawn_loses_none() -> None:
    def items() -> Iterator[int]:
        yield 3
        time.sleep(2)  # by now the pool is broken
        yield from range(4, 7)

    found = dict(engine.run(die_at_three, items(), workers=2))
    assert isinstance(found.pop(3), engine.WorkerDied)
    assert found == {x: 2 * x for x in range(4, 7)}


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ValueError, match="three is refused"):
        list(engine.run(refuse_three, range(8), workers=2))


def test_whoever_leaves_early_waits_for_nothing_that_is_at_work() -> None:
    running = engine.run(sleep, [0.0, 600.0], workers=2)
    assert next(running) == (0.0, "done") and isinstance(running, Generator)
    running.close()
    for child in multiprocessing.active_children():
        child.join(60)
        assert not child.is_alive()


def test_what_is_ended_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running = engine.run(hold_a_folder, [0.0, 600.0], workers=2)
    _, folder = next(running)
    assert Path(folder).is_relative_to(tmp_path) and isinstance(running, Generator)
    while not list(tmp_path.rglob("clip")):
        time.sleep(0.05)
    running.close()
    assert list(tmp_path.iterdir()) == []


def test_a_process_apart_that_is_ended_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    apart = engine.IsolatedWorker()
    assert Path(apart.call(hold_a_folder, 0.0, 60)).is_relative_to(tmp_path)
    with pytest.raises(engine.TookTooLong):
        apart.call(hold_a_folder, 600.0, 1)
    assert list(tmp_path.iterdir()) == []
    apart.close()


def test_items_are_drawn_only_as_fast_as_they_are_taken() -> None:
    drawn = []

    def items() -> object:
        for x in range(1000):
            drawn.append(x)
            yield x

    for _ in zip(engine.run(double, items(), workers=2), range(3), strict=False):  # type: ignore[arg-type]
        assert len(drawn) < 40


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time, pathlib\n"
        "from earsight import engine\n"
        "def work(x):\n"
        "    pathlib.Path(sys.argv[1], str(os.getpid())).touch()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(engine.run(work, range(4), workers=2))\n"
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(pids)])
    _until(lambda: len(list(pids.iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not any(_alive(int(path.name)) for path in pids.iterdir()))


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _until(true: object, seconds: float = 30) -> None:
    begun = time.monotonic()
    while not true():  # type: ignore[operator]
        assert time.monotonic() - begun < seconds
        time.sleep(0.05)


def test_what_lies_at_a_slow_worker_is_done_by_others() -> None:
    given = [0.0] * 200 + [600.0] + [0.0] * 200
    running = engine.run(sleep, given, workers=2)
    begun = time.monotonic()
    for _ in range(400):
        assert next(running) == (0.0, "done")
    assert time.monotonic() - begun < 60
    assert isinstance(running, Generator)
    running.close()


def test_an_error_tells_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="three is refused") as caught:
        list(engine.run(refuse_three, [3], workers=1))
    assert "in refuse_three" in caught.value.__notes__[0]


def test_what_cannot_travel_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="pickle"):
        list(engine.run(nothing_that_travels, [1], workers=1))


def test_results_that_nobody_draws_do_not_hold_up_the_end(tmp_path: Path) -> None:
    script = tmp_path / "leaves.py"
    script.write_text(
        "from earsight import engine\n"
        "if __name__ == '__main__':\n"
        "    running = engine.run(abs, range(100), workers=2)\n"
        "    next(running)\n"
    )
    done = subprocess.run([sys.executable, str(script)], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

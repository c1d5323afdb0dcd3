"""The real command, stopped halfway in each way: nothing alarming is said, nothing is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from _far import sounds
from _folders import QUICK, acknowledged, believed, until

STOPPED = "earsight: stopped. All but the last seconds is kept."


@pytest.fixture
def index_in(tmp_path: Path) -> "Callable[[], subprocess.Popen[str]]":
    """Start `index` on a folder of short sounds, with temporary files of its own."""
    clips, scratch = sounds(tmp_path / "clips", *range(100, 1600)), tmp_path / "scratch"
    scratch.mkdir()
    options = ["--workers", "2", *(f"--{name}={value}" for name, value in QUICK.items())]
    code = "import sys; from earsight.cli import main; main()"

    def started() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, "index", str(clips), *options],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(scratch)},
            start_new_session=True,
        )

    return started


def _children(pid: int) -> list[int]:
    """Return the workers of a process, as Linux lists them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in listed}
    return [child for child, command in commands.items() if b"spawn_main" in command]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _told(process: "subprocess.Popen[str]") -> list[str]:
    """Return what was said on stderr, which is at its end once all workers are; no progress."""
    _, told = process.communicate(timeout=240)
    return [line for line in told.splitlines() if not line.startswith("Reading clips: ")]


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize(
    ("at", "sent"),
    [
        ("start", signal.SIGTERM),
        ("start", signal.SIGINT),
        ("middle", signal.SIGTERM),
        ("middle", signal.SIGINT),
        ("middle", signal.SIGKILL),
    ],
)
@pytest.mark.parametrize("all_of_them", [False, True])
def test_stopped(
    index_in: "Callable[[], subprocess.Popen[str]]",
    tmp_path: Path,
    at: str,
    sent: signal.Signals,
    all_of_them: bool,
) -> None:
    """By a signal to the command alone, or to all its processes, as Ctrl-C in a terminal is."""
    process = index_in()
    clips = tmp_path / "clips"
    until(lambda: _children(process.pid) if at == "start" else acknowledged(clips))
    workers = _children(process.pid)
    if all_of_them:
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)
    told = _told(process)
    politely = sent != signal.SIGKILL
    assert told == ([STOPPED] if politely else [])
    assert process.returncode == (130 if politely else -sent)
    until(lambda: not any(map(_is_alive, workers)))
    if politely or not all_of_them:  # where all are killed at once, nobody can tidy up
        assert list((tmp_path / "scratch").iterdir()) == []
    assert len(believed(clips)) < 1500


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
def test_a_worker_that_is_killed(
    index_in: "Callable[[], subprocess.Popen[str]]", tmp_path: Path
) -> None:
    process = index_in()
    until(lambda: acknowledged(tmp_path / "clips"))
    os.kill(_children(process.pid)[0], signal.SIGKILL)
    told = _told(process)
    assert process.returncode == 0
    assert any(line.startswith("1500 clips: 1500 read.") for line in told), told
    assert not any("leaked" in line or "Traceback" in line for line in told)
    assert len(believed(tmp_path / "clips")) == 1500
    assert list((tmp_path / "scratch").iterdir()) == []

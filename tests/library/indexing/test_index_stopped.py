"""The real command, stopped halfway in each way: nothing alarming is said, nothing is left."""

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from _far import sounds
from _folders import QUICK, acknowledged, believed, until

SHORT, LONG = range(100, 140), "long.wav"
STOPPED = "earsight: stopped. All but the last seconds is kept."


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of short sounds, which are acknowledged, and a long one, at which it is stopped."""
    return sounds(tmp_path / "clips", *SHORT)


@pytest.fixture
def index_in(clips: Path, tmp_path: Path) -> "Callable[[int], subprocess.Popen[str]]":
    """Start `index` beside a sound of so many minutes, with temporary files of its own."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    options = ["--workers", "2", *(f"--{name}={value}" for name, value in QUICK.items())]
    code = "import sys; from earsight.cli import main; main()"

    def started(minutes: int) -> "subprocess.Popen[str]":
        _silence(clips / LONG, minutes)
        return subprocess.Popen(
            [sys.executable, "-c", code, "index", str(clips), *options],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(scratch)},
            start_new_session=True,
        )

    return started


def _silence(path: Path, minutes: int) -> None:
    """Write a WAV whose samples are a hole in the file, so that it takes no disk."""
    size = minutes * 60 * 2 * 16000
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form
    path.write_bytes(head + struct.pack("<4sI", b"data", size))
    os.truncate(path, len(head) + 8 + size)


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


def _worker_at(pid: int, path: Path) -> int:
    """Wait until a worker has a file open, and return which."""
    found: list[int] = []

    def look() -> bool:
        for child in _children(pid):
            with suppress(OSError):  # closed, or ended, meanwhile
                if path in [one.readlink() for one in Path(f"/proc/{child}/fd").iterdir()]:
                    found.append(child)
        return bool(found)

    until(look)
    return found[0]


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize(
    ("at", "sent", "all_of_them"),
    [
        ("start", signal.SIGINT, True),
        ("middle", signal.SIGTERM, False),
        ("middle", signal.SIGINT, True),
        ("middle", signal.SIGKILL, False),
    ],
)
def test_stopped(
    index_in: "Callable[[int], subprocess.Popen[str]]",
    clips: Path,
    tmp_path: Path,
    at: str,
    sent: signal.Signals,
    all_of_them: bool,
) -> None:
    """By a signal to the command alone, or to all its processes, as Ctrl-C in a terminal is."""
    process = index_in(60)
    until(lambda: _children(process.pid) if at == "start" else acknowledged(clips))
    workers = _children(process.pid)
    if all_of_them:
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)
    told = [line for line in _told(process) if not line.startswith("Looking through ")]
    politely = sent != signal.SIGKILL
    assert told == ([STOPPED] if politely else [])
    assert process.returncode == (130 if politely else -sent)
    until(lambda: not any(map(_is_alive, workers)))
    if politely or not all_of_them:  # where all are killed at once, nobody can tidy up
        assert list((tmp_path / "scratch").iterdir()) == []
    assert LONG.encode() not in believed(clips)


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize("n", [len(SHORT), pytest.param(1500, marks=pytest.mark.long)])
def test_a_worker_that_is_killed(
    index_in: "Callable[[int], subprocess.Popen[str]]", clips: Path, tmp_path: Path, n: int
) -> None:
    """It is held at the long sound, so that it dies at work however fast the machine is."""
    sounds(clips, *range(SHORT.stop, SHORT.start + n))
    process = index_in(2)
    worker = _worker_at(process.pid, clips / LONG)
    os.kill(worker, signal.SIGSTOP)
    until(lambda: acknowledged(clips))
    os.kill(worker, signal.SIGKILL)
    told = _told(process)
    assert process.returncode == 0
    assert any(line.startswith(f"{n + 1} clips: {n + 1} read.") for line in told), told
    assert not any("leaked" in line or "Traceback" in line for line in told)
    assert len(believed(clips)) == n + 1
    assert list((tmp_path / "scratch").iterdir()) == []

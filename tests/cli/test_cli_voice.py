"""What every command has: how much it says, --json, and help that tells of codes and variables."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from _clips import make_clip
from earsight.cli import app
from earsight.cli._show import Lines, progress, say, speak, warn


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*path, name))
        else:
            found[*path, name] = command
    return found


ALL = commands(get_command(app))


def earsight(*arguments: object, **more: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_them(path: tuple[str, ...]) -> None:
    options = {name for parameter in ALL[path].params for name in parameter.opts}
    assert {"--quiet", "-q", "--verbose", "-v"} <= options
    assert "--json" in options or path == ("serve",)  # which answers in JSON by its API
    assert ALL[path].help


def test_help_tells_codes_and_variables() -> None:
    words = " ".join(earsight("--help").stdout.split())
    for code in ("0 fine", "1 error", "2 usage", "3 finished but some", "130 interrupted"):
        assert code in words
    for variable in ("HOME", "WEIGHTS", "THREADS", "MILVUS_TOKEN", "RANK_TIMEOUT"):
        assert f"EARSIGHT_{variable}," in words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    script = earsight(env=os.environ | {"_EARSIGHT_COMPLETE": f"source_{shell}"})
    assert "_EARSIGHT_COMPLETE" in script.stdout
    typed = "earsight for"
    words = {"COMP_WORDS": typed, "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": typed}
    words["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = earsight(env=os.environ | words | {"_EARSIGHT_COMPLETE": f"complete_{shell}"})
    assert "forget" in done.stdout and "index" not in done.stdout


def test_quiet_leaves_results_and_what_is_wrong(tmp_path: Path) -> None:
    make_clip(tmp_path / "good.mp4")
    (tmp_path / "text.mp4").write_text("This is no film.")
    loud = earsight("index", tmp_path)
    quiet = earsight("index", tmp_path, "--quiet", "--rebuild")
    before = earsight("-q", "index", tmp_path, "--rebuild")
    assert loud.returncode == quiet.returncode == 3
    assert "Answers come from words" in loud.stderr
    assert quiet.stderr == before.stderr and not quiet.stdout
    (line,) = quiet.stderr.splitlines()
    assert line.startswith("  unreadable: text.mp4")


def test_verbose_tells_why(tmp_path: Path) -> None:
    make_clip(tmp_path / "good.mp4")
    told = earsight("index", tmp_path, "-v").stderr
    assert "good.mp4 is looked at: it is new." in told
    assert "A new embedding is made: there is no embedding yet." in told
    (tmp_path / "good.mp4").rename(tmp_path / "moved.mp4")
    make_clip(tmp_path / "other.wav")
    told = earsight("-v", "index", tmp_path, "--labels", "none").stderr
    assert "good.mp4 is gone, or has moved." in told
    assert "the clips, their labels or what is to be learned changed" in told
    assert "other.wav" not in earsight("index", tmp_path).stderr


def test_status_export_and_forget_as_commands(made: Path, tmp_path: Path) -> None:
    shown = earsight("status", "--library", made)
    assert shown.returncode == 0 and "up to date: yes" in shown.stdout and not shown.stderr
    assert "clips:      9, 0 min 6 s in all\n" in shown.stdout
    assert "1 is a copy of others" in shown.stdout and "unreadable: text.mp4" in shown.stdout
    found = json.loads(earsight("status", "--library", made, "--json").stdout)
    assert found["n_clips"] == 9 and found["pending"]["new"] == [] and found["space"] == "words"
    file = tmp_path / "out.npz"
    report = json.loads(earsight("export", file, "-l", made, "--json", "-q").stdout)
    assert report["file"] == str(file) and report["n_rows"] == 14
    again = earsight("export", file, "-l", made)
    assert again.returncode == 1 and "--force" in again.stderr
    assert earsight("forget", "-l", made).returncode == 2
    assert json.loads(earsight("forget", "--list", "-l", made, "--json").stdout) == {
        "forgotten": []
    }


def test_nobody_is_told_more_than_they_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        for quiet, expected in ((False, "said\nwrong\n"), (True, "wrong\n")):
            speak(quiet=quiet)
            say("said")
            warn("wrong")
            assert capsys.readouterr().err == expected
            with progress() as shown:
                assert isinstance(shown, Lines)
                shown.start("Reading", 2)
                shown.say("a reason")
                shown.finish()
            assert capsys.readouterr().err == ("" if quiet else "a reason\n")
    finally:
        speak()


def test_lines_tell_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("earsight.cli._show.time.monotonic", lambda: now)
    lines = Lines()
    lines.start("Reading clips", 40)
    for _ in range(20):
        now += 1.5
        lines.advance()
    lines.finish()
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "Reading clips: 1 of 40, 0.67 a second, 0:58 left", "soon"
    assert told[1] == "Reading clips: 5 of 40, 0.67 a second, 0:52 left"
    assert len(told) == 5 + 1 and told[-1] == "Reading clips: 20 of 40 in 30.0 s, 0.67 a second"

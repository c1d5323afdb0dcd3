"""The command line as a person or a script meets it: exit codes, streams, messages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _clips import make_clip

ODD = os.fsdecode(b"two\nlines \xff.mp4")


def earsight(*arguments: object) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "clips"
    folder.mkdir()
    make_clip(folder / "clip.mp4").rename(folder / ODD)
    make_clip(folder / "b.mp4", tone=900, colour=(20, 20, 220))
    assert earsight("index", folder).returncode == 0
    return folder


def test_help_names_the_commands_and_exit_codes() -> None:
    done = earsight("--help")
    text = done.stdout.decode()
    assert done.returncode == 0 and not done.stderr
    assert all(command in text for command in ("index", "search", "evaluate", "demo", "weights"))
    assert "3 finished but some clips had trouble" in " ".join(text.split()).replace("│ ", "")


def test_version() -> None:
    assert earsight("--version").stdout == b"earsight 0.1.0\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["index"],
        ["search", "--library", "x"],
        ["search", "a.wav", "--text", "both", "--library", "x"],
        ["search", "--text", "a", "--for", "smell", "--library", "x"],
        ["search", "--text", "a", "--by", "audio", "--library", "x"],
        ["search", "a.wav", "--top", "0", "--library", "x"],
        ["index", "clips", "--labels", "nowhere.csv"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = earsight(*arguments)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_a_mistake_is_one_message_and_1(tmp_path: Path) -> None:
    done = earsight("search", "--text", "a dog", "--library", tmp_path)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"earsight: {tmp_path} has not been indexed yet. Run: earsight index {tmp_path}"
    ]


def test_trouble_is_3_and_told(tmp_path: Path) -> None:
    make_clip(tmp_path / "good.mp4")
    (tmp_path / "text.mp4").write_text("This is no film.")
    for _ in range(2):  # a state, not an event
        done = earsight("index", tmp_path, "--json")
        assert done.returncode == 3
        assert b"unreadable: text.mp4" in done.stderr
        report = json.loads(done.stdout)
        assert report["n_clips"] == 2 and report["trouble"][0][:2] == ["text.mp4", "unreadable"]


def test_json_is_the_documented_object(clips: Path) -> None:
    done = earsight("search", clips / "b.mp4", "--by", "audio", "--library", clips, "--json")
    answer = json.loads(done.stdout)
    assert list(answer) == ["query", "by", "for", "space", "results"]
    assert (answer["by"], answer["for"], answer["space"]) == ("audio", "visual", "words")
    assert [list(row) for row in answer["results"]] == 2 * [
        ["rank", "score", "path", "id", "label", "start", "end", "is_query", "copies"]
    ]
    paths = {row["path"]: row["is_query"] for row in answer["results"]}
    assert paths == {f"{clips}/b.mp4": True, f"{clips}/two\nlines %FF.mp4": False}


def test_paths_are_the_file_systems_own_bytes(clips: Path) -> None:
    done = earsight("search", "--text", "blue", "--library", clips, "-0")
    assert set(done.stdout.split(b"\0")) == {
        os.fsencode(clips / ODD),
        f"{clips}/b.mp4".encode(),
        b"",
    }
    done = earsight("search", "--text", "blue", "--library", clips, "--paths", "--top", "1")
    assert done.stdout.count(b"\n") >= 1 and done.stdout.endswith(b".mp4\n")
    everything = earsight("search", "--text", "blue", "--library", clips, "--paths")
    assert b"A name holds a line break: -0 ends each with NUL" in everything.stderr


def test_a_mistake_of_the_library_speaks_of_options(clips: Path) -> None:
    silent = clips.parent / "silent.mp4"
    make_clip(silent, audio=False)
    done = earsight("search", silent, "--by", "audio", "--library", clips)
    assert done.returncode == 1 and b"it has sight: --by visual." in done.stderr
    done = earsight("search", "--text", "blue", "--library", clips, "--min-score", "nan")
    assert done.returncode == 1 and b"--min-score must be a finite number; got nan" in done.stderr
    done = earsight("search", "b.mp4", "--library", clips, "--top", "1")
    assert b"asking by its sight. For its sound: --by audio" in done.stderr


def test_copies_are_one_line(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4")
    for number in range(3):
        shutil.copy(tmp_path / "a.mp4", tmp_path / f"b{number}.mp4")
    assert earsight("index", tmp_path).returncode == 0
    done = earsight("search", "--text", "red", "--library", tmp_path)
    (line,) = done.stdout.decode().splitlines()
    assert "a.mp4" in line and line.endswith("+3 copies")
    (row,) = json.loads(
        earsight("search", "--text", "red", "--library", tmp_path, "--json").stdout
    )["results"]
    assert row["copies"] == [str(tmp_path / f"b{number}.mp4") for number in range(3)]


def test_a_line_is_a_score_and_a_path(clips: Path) -> None:
    done = earsight("search", "b.mp4", "--by", "visual", "--library", clips)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2 and all(float(line.split()[0]) <= 1 for line in lines)
    assert any("two\\nlines �.mp4" in line for line in lines)
    assert sum("the query itself" in line for line in lines) == 1


def test_one_command_indexes_and_answers(tmp_path: Path) -> None:
    folder, kept = tmp_path / "mine", tmp_path / "kept"
    folder.mkdir()
    make_clip(folder / "a.mp4")
    ask = ["search", "--text", "red", "--index", "--paths", "--library"]
    assert earsight(*ask, folder).stdout.splitlines() == [os.fsencode(folder / "a.mp4")]
    assert earsight("index", folder, "--library", kept).returncode == 0  # kept elsewhere
    make_clip(folder / "b.mp4", tone=900, colour=(20, 20, 220))
    done = earsight(*ask, kept)
    assert {Path(os.fsdecode(p)).name for p in done.stdout.splitlines()} == {"a.mp4", "b.mp4"}
    assert b"here: 2." in done.stderr
    (folder / "text.mp4").write_text("This is no film.")
    done = earsight(*ask, kept)
    assert done.returncode == 3 and b"unreadable: text.mp4" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_a_library_is_looked_for_here(
    clips: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(clips)
    assert earsight("status").returncode == 0
    assert earsight("search", "--text", "red", "--paths").stdout
    monkeypatch.chdir(tmp_path)
    done = earsight("evaluate")
    assert done.returncode == 1 and b"has not been indexed yet. Run: earsight index" in done.stderr


def test_a_reader_that_leaves_early_is_no_error(clips: Path) -> None:
    command = f"{sys.executable} -m earsight search --text a --library '{clips}' | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr


def test_the_drawn_clips_are_indexed_and_shown(tmp_path: Path) -> None:
    done = earsight("demo", tmp_path / "demo", "--per-class", "2")
    text = done.stderr.decode() + done.stdout.decode()
    assert done.returncode == 0, text
    assert "20 clips" in text and "MAP, same class" in text
    assert (tmp_path / "demo" / "answers.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_left_in_the_home_folder(clips: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry would keep a device's id there, and look for its maker's host."""
    home = tmp_path / "home"
    home.mkdir()
    kept = os.environ.get("EARSIGHT_HOME", str(Path.home() / ".cache" / "earsight"))
    environment = os.environ | {"HOME": str(home), "EARSIGHT_HOME": kept}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-m", "earsight", "index", str(clips), "--audio", "log_mel"]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    command[3:] = ["search", "--text", "blue", "--library", str(clips)]
    assert subprocess.run(command, capture_output=True, env=environment).returncode == 0
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []

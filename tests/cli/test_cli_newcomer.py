"""What somebody meets who has never used it: words for folders, wrong words, odd files, waiting."""

import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import earsight
from _folders import QUICK, fill
from earsight.cli import _show, app
from earsight.errors import EarsightError
from earsight.features import (
    FeatureSequence,
    PairedFeatures,
    StepTable,
    read_features,
    write_features,
)
from earsight.library.catalog.open import open_library
from earsight.library.indexing.pipeline import index
from earsight.weights import progress as downloads


def run(*arguments: object, here: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=here)


def refused(*arguments: object) -> str:
    """Return what a command says that ends with an error of ours."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, EarsightError)
    return str(done.exception)


# ---------------------------------------------------------------- search


def test_a_folder_is_no_query_and_the_message_helps(made: Path) -> None:
    told = refused("search", "red", "--library", made)
    assert f"{made}/red is a folder" in told and told.endswith("To search by words: --text red")
    assert f"To search in it: --library '{made}'." in refused("search", made, "--library", made)
    told = refused("search", "two words", "--library", made)
    assert "There is no file two words" in told and told.endswith("words: --text 'two words'")
    assert "Did you mean blue/c.mp4?" in refused("search", "c.mp4", "--library", made)


def test_a_pipe_is_not_waited_for(made: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    told = refused("search", tmp_path / "pipe.mp4", "--library", made)
    assert "pipe.mp4 is neither file nor folder" in told


@pytest.mark.parametrize(
    ("given", "meant"), [("sound", "audio"), ("Video", "visual"), ("words", "text"), ("vis", None)]
)
def test_a_wrong_modality_is_told_with_the_right_ones(given: str, meant: str | None) -> None:
    for option in ("--for", "--by"):
        done = CliRunner().invoke(app, ["search", "a.wav", option, given])
        told = " ".join(done.stderr.replace("│", " ").split())
        assert done.exit_code == 2
        assert f"'{option}': it is one of audio, visual, text; got '{given}'." in told
        assert (f"Did you mean {meant}?" in told) == (meant is not None)


def test_paths_are_relative_for_people_and_absolute_for_programs(made: Path) -> None:
    ask = ("search", "red/a.mp4", "--by", "audio", "--library", made.name, "--top", "1")
    shown = run(*ask, here=made.parent).stdout
    assert made.name in shown and str(made) not in shown
    assert str(made) in run(*ask, "--json", here=made.parent).stdout
    assert "give absolute ones" in CliRunner().invoke(app, ["search", "--help"]).stdout


def test_a_command_that_a_message_gives_can_be_pasted(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_library(made) as store:
        assert shlex.split(store.index_command) == ["earsight", "index", str(made)]
    monkeypatch.chdir(tmp_path)
    told = refused("status")
    assert told == f"{tmp_path} has not been indexed yet. Run: earsight index ."


# ---------------------------------------------------------------- index


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.mp4", "b.mp4"], "No classes: every clip lies in the folder itself"),
        (["x/a.mp4", "x/b.mp4", "y/c.mp4"], "each are needed; here: 1, of 2 in all."),
        (["x/a.mp4", "x/b.mp4", "y/c.mp4", "y/d.mp4", "e.mp4"], "Without a class: 1 of 5 clips"),
    ],
)
def test_folders_that_make_no_classes_are_told_of(
    names: list[str], told: str, tmp_path: Path
) -> None:
    fill(tmp_path, names)
    assert told in index(tmp_path, **QUICK).unlabelled
    assert index(tmp_path, labels="none").unlabelled == ""


def test_a_class_that_could_not_be_read_is_told_of(tmp_path: Path) -> None:
    fill(tmp_path, ["x/a.mp4", "x/b.mp4", "y/c.mp4", "y/d.mp4"])
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "e.mp4").write_text("no film")
    report = index(tmp_path, **QUICK)
    assert report.labels == {"x": 2, "y": 2}
    assert report.unlabelled == "No class, because no clip of it could be read: z."
    csv = tmp_path.parent / f"{tmp_path.name}.csv"
    csv.write_text("path,label\nx/a.mp4,one\n")
    assert "4 of 5 clips, which" in index(tmp_path, labels=str(csv)).unlabelled


def test_index_says_what_it_passes_over(tmp_path: Path) -> None:
    fill(tmp_path, ["a.mp4", "b.mp4"])
    index(tmp_path, **QUICK)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    told = run("index", tmp_path, "--labels", "folders").stderr
    nowhere = "gone.mp4 (a link that cannot be followed), pipe.mp4 (a pipe)"
    assert f"Passed over, as these are no files: {nowhere}.\n" in told
    assert "No classes: every clip lies in the folder itself" in told
    assert "No classes" not in run("index", tmp_path).stderr  # no news, and not asked for
    assert f"Search it: earsight search a.mp4 --library {tmp_path}\n" in told


# ---------------------------------------------------------------- waiting


def test_a_download_is_told_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(downloads.time, "monotonic", lambda: now)
    with caplog.at_level(logging.INFO, "earsight"), downloads.terminal_bar() as told:
        now = 6.0
        told("yamnet", 100_000, 16_000_000)
        now = 7.0  # too early for another line
        told("yamnet", 3_100_000, 16_000_000)
        now = 12.0
        told("yamnet", 6_100_000, None)
    assert [record.getMessage() for record in caplog.records] == [
        "Fetching yamnet: 0.1 of 16.0 MB",
        "Fetching yamnet: 6.1 MB",
    ]


def test_a_step_on_a_terminal_is_wiped_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with _show.busy("Reading"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with _show.busy("Reading"):
        assert capsys.readouterr().err == "Reading …"
    assert capsys.readouterr().err == "\r\x1b[2K"


# ---------------------------------------------------------------- what print() shows


def test_what_holds_arrays_is_shown_in_a_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = FeatureSequence(rng.normal(size=(5, 8)), np.arange(5) / 2)
    assert repr(one) == "FeatureSequence(5 × 8, 0.00 to 2.00 s, 2.00 a second)"
    table = StepTable.of([one, one.between(0, 1)])
    views = {"audio": table.means(), "visual": rng.normal(size=(2, 3))}
    made = PairedFeatures(views, labels=np.array(["a", "b"]), steps={"audio": table})
    write_features(tmp_path / "some.h5", made)
    shown = repr(read_features(tmp_path / "some.h5"))
    steps = "StepTable(2 clips, 7 steps of 8 features, 2.00 a second)"
    assert shown == f"PairedFeatures(audio: 2 × 8, {steps}; visual: 2 × 3; paired; 2 classes)"
    assert "array" not in repr(table)


def test_a_library_is_shown_in_a_line(made: Path) -> None:
    with earsight.Library(made) as library:
        assert repr(library) == f"Library({str(made)!r}, 9 clips, words)"
        assert repr(library.embeddings("audio")).startswith("Embedded(")
        assert "\n" not in repr(library.embeddings("audio"))
    assert "was closed; open it again" in repr(library)

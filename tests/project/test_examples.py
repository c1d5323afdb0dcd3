"""The scripts in examples/ are short and run, with warnings as errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earsight.demo import draw
from earsight.features import read_features

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples") / "clips"
    draw(folder, per_class=1)
    return folder


def run(name: str, *words: object) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_five_short_ones() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 5
    assert all(len(one.read_text().splitlines()) < 40 for one in scripts)


def test_a_folder_is_searched_by_words(clips: Path) -> None:
    told = run("search_folder.py", clips, "an ambulance")
    assert told.startswith("clips: 10 clips\n")
    best = told.partition("by its visual:\n")[2].splitlines()[0]
    assert best.endswith("siren_00.mp4")
    assert "s to" in told.partition("moments")[2]


def test_methods_are_compared(tmp_path: Path) -> None:
    told = run("compare_methods.py")
    assert [line.split()[0] for line in told.splitlines()] == [
        name for name in ("cca", "cluster_cca", "semantic") for _ in range(2)
    ]


def test_a_new_method_is_fitted() -> None:
    own, cca = run("new_method.py").splitlines()
    assert own.startswith("pls: MAP 0.") and cca.startswith("cca: MAP 0.")


def test_sync_is_checked(clips: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no film")
    told = run("check_sync.py", *sorted(clips.glob("drum/*.mp4")), broken).splitlines()
    assert len(told) == 2 and "broken.mp4: earsight:" in told[1]
    assert told[0].split(": ")[1] in ("in sync", "no answer")


def test_features_are_extracted(clips: Path, tmp_path: Path) -> None:
    files = sorted(clips.glob("*/*.mp4"))[:3]
    run("extract_features.py", tmp_path / "features.h5", *files)
    found = read_features(tmp_path / "features.h5")
    assert {name: x.shape for name, x in found.views.items()} == {
        "audio": (3, 128),
        "visual": (3, 80),
    }

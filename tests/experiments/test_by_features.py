"""The paper's comparison of features on anyone's clips, and features by several extractors."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from _clips import make_clip
from earsight.datasets import synthetic
from earsight.errors import InputError, LibraryError
from earsight.experiments.by_features import compare_by_features
from earsight.experiments.compare import Options, compare, split_list
from earsight.experiments.protocol import Protocol
from earsight.extraction.per_extractor import extract_each
from earsight.features import PairedFeatures

QUICK = Protocol(folds=2, seeds=1)


def single(modality: str, dim: int, rows: np.ndarray, seed: int = 0) -> PairedFeatures:
    """Features of one modality of the same 60 clips, some rows of them in some order."""
    data = synthetic(n=60, dims=(dim, dim), classes=4, seed=seed)
    ids = np.array([f"{row:02d}.mp4" for row in range(60)])
    whole = PairedFeatures(
        {modality: data.views[modality]}, data.labels, ids=ids, group=np.arange(60) // 2
    )
    return whole.take(rows)


@pytest.fixture
def views() -> dict[str, dict[str, PairedFeatures]]:
    every = np.arange(60)
    return {
        "audio": {
            "soundnet:layer=conv5": single("audio", 9, every),
            "yamnet": single("audio", 12, every[::-1]),
        },
        "visual": {"inception": single("visual", 10, every[:-4])},
    }


def test_every_pair_on_the_rows_that_all_have(views: Any, tmp_path: Path) -> None:
    pairs, n_rows = compare_by_features(
        "mine", views, ["cca:ridge=0.1", "cluster_cca"], QUICK, options=Options(json=tmp_path / "j")
    )
    run = [pair for pair in pairs if pair.result]
    assert n_rows == 56
    assert [(pair.features, pair.method) for pair in run] == [
        (("soundnet:layer=conv5", "inception"), "cca:ridge=0.1"),
        (("soundnet:layer=conv5", "inception"), "cluster_cca"),
        (("yamnet", "inception"), "cca:ridge=0.1"),
        (("yamnet", "inception"), "cluster_cca"),
    ]
    # The long way: the rows put side by side by hand.
    first, second = views["audio"]["yamnet"], views["visual"]["inception"]
    data = PairedFeatures(
        {"audio": first.views["audio"][::-1][:56], "visual": second.views["visual"]},
        second.labels,
        ids=second.ids,
        group=second.group,
    )
    (expected,) = compare(data, ["cca:ridge=0.1"], QUICK).results
    assert run[2].result.directions == expected.directions
    files = {path.name for path in (tmp_path / "j").glob("*.json")}
    assert files == {"soundnet-layer-conv5_inception.json", "yamnet_inception.json"}


def test_published_figures_stand_beside_the_papers_method_alone(
    views: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earsight.experiments import by_features

    monkeypatch.setattr(by_features, "TABLE_1_METHOD", "cluster_cca")  # the paper's trains long
    views["audio"]["soundnet"] = views["audio"]["soundnet:layer=conv5"]
    pairs, _ = compare_by_features("mine", views, ["cca", "cluster_cca"], QUICK)
    by_pair = {(pair.features, pair.method): pair for pair in pairs}
    other_layer = by_pair[("soundnet:layer=conv5", "inception"), "cluster_cca"]
    assert other_layer.result is not None and other_layer.published is None
    ours = ("soundnet", "inception")
    assert by_pair[ours, "cluster_cca"].published == (0.4982, 0.4863)
    assert by_pair[ours, "cca"].published is None
    assert by_pair[("yamnet", "inception"), "cluster_cca"].published is None
    rest = {pair.features: pair.published for pair in pairs if pair.result is None}
    assert rest == {
        ("soundnet", "i3d"): (0.2545, 0.2528),
        ("vggish", "i3d"): (0.4749, 0.4622),
        ("vggish", "inception"): (0.7034, 0.6927),
    }


def test_features_that_cannot_be_paired(views: Any) -> None:
    with pytest.raises(InputError, match="2 of audio, 0 of visual"):
        compare_by_features("mine", {**views, "visual": {}}, ["cca"], QUICK)
    views["visual"]["other"] = single("visual", 5, np.arange(56, 60))
    with pytest.raises(InputError, match="no clip in common"):
        compare_by_features("mine", views, ["cca"], QUICK)


def test_clips_without_labels_cannot_be_compared(views: Any, tmp_path: Path) -> None:
    for found in views.values():
        for name, data in found.items():
            found[name] = replace(data, labels=None)
    with pytest.raises(InputError, match=r"clips of mine must have labels, .* folder of its own"):
        compare_by_features("mine", views, ["cca"], QUICK)


def test_results_are_kept_in_a_folder(views: Any, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text("{}")
    with pytest.raises(InputError, match=r"`json` must be a folder .* got the file .*results"):
        compare_by_features("mine", views, ["cca"], QUICK, options=Options(json=file))
    assert file.read_text() == "{}"


def test_lists_of_extractors() -> None:
    asked = "soundnet:layer=conv5,pool=max,vggish, i3d:window=16"
    assert split_list(asked) == ["soundnet:layer=conv5,pool=max", "vggish", "i3d:window=16"]


# A folder of clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by features") / "mine"
    for number in range(12):
        kind = ("low", "mid", "high")[number % 3]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        colour = (80 * (number % 3), 15 * number, 90)
        tone = 200 + 1500 * (number % 3) + 30 * number
        make_clip(folder / kind / f"{number}.mp4", tone=tone, colour=colour)
    make_clip(folder / "low" / "silent.mp4", audio=False)
    return folder


def test_each_extractor_has_a_file_of_its_own(
    clips: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EARSIGHT_HOME", str(tmp_path))
    monkeypatch.delenv("EARSIGHT_WEIGHTS", raising=False)
    wanted = {"audio": ["log_mel", "vggish"], "visual": ["colour_edges", "colour_edges:fps=1"]}
    several = extract_each(clips, wanted, workers=1)
    assert {m: list(found) for m, found in several.found.items()} == {
        "audio": ["log_mel"],
        "visual": ["colour_edges", "colour_edges:fps=1"],
    }
    assert [missing[:2] for missing in several.missing] == [("audio", "vggish")]
    files = sorted((clips / ".earsight" / "features").glob("*.h5"))
    assert several.left_out == [("low/silent.mp4", "no audio")]
    assert len(files) == 3 and not list(files[0].parent.glob(".*.parts"))
    assert len(np.asarray(several.found["audio"]["log_mel"].ids)) == 12
    assert len(np.asarray(several.found["visual"]["colour_edges"].ids)) == 13
    before = [file.stat().st_mtime_ns for file in files]
    extract_each(clips, wanted, workers=1)
    assert [file.stat().st_mtime_ns for file in files] == before, "nothing was to be done"


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="is not a folder"):
        extract_each(tmp_path / "typo", {"audio": ["log_mel"]}, workers=1)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / ".earsight").write_text("no folder")
    with pytest.raises(LibraryError, match="is a file, which has no place"):
        extract_each(tmp_path / "clips", {"audio": ["log_mel"]}, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def earsight(*arguments: object, **how: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **how)


def test_the_command(clips: Path, tmp_path: Path) -> None:
    features = ("--audio", "log_mel,vggish", "--visual", "colour_edges")
    how = ("-m", "cca:n_components=2", "--folds", 2, "--seeds", 1)
    environment = {"EARSIGHT_HOME": str(tmp_path), "PATH": ""}
    done = earsight("compare", clips, *features, *how, env=environment)
    assert done.returncode == 0, done.stderr
    lines = {line[:25].strip(): line for line in done.stdout.splitlines()}
    assert "MAP in %, 12 clips of mine" in done.stdout
    assert "not run" in lines["vggish / inception"] and "70.34" in lines["vggish / inception"]
    assert "cca:n_components=2" in lines["log_mel / colour_edges"]
    assert "chance" in done.stdout and "not to be compared with ours" in done.stdout
    assert "not in every table: low/silent.mp4 (no audio)" in done.stderr
    assert "audio vggish is left out: its weights are not on this machine" in done.stderr
    printed = earsight("compare", clips, *features, *how, "--json", "-", env=environment)
    records = json.loads(printed.stdout)
    assert records[0]["features"] == ["log_mel", "colour_edges"]
    shown = f"{100 * records[0]['result']['audio->visual']['map']:.2f}"
    assert shown in lines["log_mel / colour_edges"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--audio", "log_mel"), "go together"),
        (("--audio", "log_mel", "--visual", "colour_edges", "--sizes", "2"), "one table"),
    ],
)
def test_usage(clips: Path, arguments: tuple[str, ...], message: str) -> None:
    done = earsight("compare", clips, *arguments)
    assert done.returncode == 2 and message in " ".join(done.stderr.split()) and not done.stdout

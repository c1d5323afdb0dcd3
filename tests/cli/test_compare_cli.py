"""`earsight compare` and `reproduce`, the pictures they draw, and the folders they read."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from _clips import make_clip
from earsight import extras
from earsight.cli.compare import compare as command
from earsight.datasets import synthetic
from earsight.datasets.ave import FILES as AVE_FILES
from earsight.errors import FeatureFileError, InputError
from earsight.experiments import plots, provenance, reproduce, results, runs
from earsight.experiments.compare import Options, compare
from earsight.experiments.official import read_looks
from earsight.experiments.protocol import Protocol
from earsight.features import PairedFeatures, write_features
from earsight.library.embedding.training_rows import paired_features
from earsight.library.indexing.pipeline import index
from earsight.methods._deep import network

WIKIPEDIA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"
QUICK = Protocol(folds=2, seeds=1)


def earsight(*arguments: object, where: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, cwd=where)


@pytest.fixture(scope="module")
def feature_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = synthetic(n=120, dims=(12, 15), classes=4)
    split = np.repeat(["train", "test"], [80, 40])
    path = tmp_path_factory.mktemp("features") / "ours.npz"
    write_features(path, PairedFeatures(data.views, data.labels, split=split))
    return path


# The command


def test_a_comparison_with_all_its_files(feature_file: Path, tmp_path: Path) -> None:
    done = earsight(
        *("compare", feature_file, "--methods", "cca:n_components=3,ridge=0.1,cluster_cca"),
        *("--folds", 3, "--seeds", 2, "--json", "out.json", "--per-query", "q.csv"),
        *("--trec", "trec", "--plot", "plots", "--sizes", "2,3"),
        where=tmp_path,
    )
    text, told = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, told
    assert "audio → visual" in text and "visual → audio" in text and "chance" in text
    assert "3 folds of 80 training rows; 2 seeds" in told
    assert set(json.loads((tmp_path / "out.json").read_text())) == {
        "cca:n_components=3,ridge=0.1",
        "cluster_cca",
    }
    made = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"q.csv", "audio-visual.qrels", "cluster_cca.visual-audio.run"} <= made
    assert {"precision-recall.png", "map-by-size.png"} <= made
    assert not (tmp_path / "earsight-official-test.log").exists()


def test_a_table_goes_into_a_page_unless_the_code_was_changed(
    feature_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    empty = "Mine.\n<!-- ours cross-validation -->\n<!-- /ours cross-validation -->\n"
    page.write_text(empty)
    monkeypatch.chdir(tmp_path)
    how = {"methods": "cluster_cca", "folds": 2, "seeds": 1, "markdown": page}
    for module in (provenance, results):
        monkeypatch.setattr(module, "commit", lambda: "0123456789ab-dirty")
    with pytest.raises(InputError, match="must come from a commit"):
        command(str(feature_file), **how)
    assert page.read_text() == empty
    for module in (provenance, results):
        monkeypatch.setattr(module, "commit", lambda: "0123456789ab")
    command(str(feature_file), **how)
    assert page.read_text().startswith("Mine.\n") and "| cluster_cca |" in page.read_text()


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("names", [("image", "text"), ("video", "any name")])
def test_views_have_the_names_of_their_file(
    tmp_path: Path, names: tuple[str, str], ending: str
) -> None:
    data = synthetic(n=80, dims=(12, 15), classes=4)
    views = dict(zip(names, data.views.values(), strict=True))
    write_features(tmp_path / f"two.{ending}", PairedFeatures(views, data.labels))
    source = tmp_path / f"two.{ending}"
    if ending == "npz":  # as others write it: bare arrays
        np.savez(source, **views, labels=data.labels)
    asked = ("compare", source, "-m", "cluster_cca", "--folds", 2, "--seeds", 1)
    done = earsight(*asked, "--json", tmp_path / "out.json", "--per-query", tmp_path / "q.csv")
    assert done.returncode == 0, done.stderr.decode()
    one, two = names
    assert f"two ({one} 12-d, {two} 15-d)" in done.stderr.decode()
    assert f"{one} → {two}" in done.stdout.decode() and f"{two} → {one}" in done.stdout.decode()
    found = json.loads((tmp_path / "out.json").read_text())["cluster_cca"]
    assert {f"{one}->{two}", f"{two}->{one}"} <= set(found)


def test_an_official_test_is_logged_where_the_command_runs(
    feature_file: Path, tmp_path: Path
) -> None:
    arguments = ("compare", feature_file, "-m", "cca", "--official-test", "--seeds", 1)
    done = earsight(*arguments, where=tmp_path)
    assert done.returncode == 0
    assert "Official test, 40 rows, learned from the other 80" in done.stderr.decode()
    (look,) = read_looks(tmp_path / "earsight-official-test.log")
    assert look["method"] == "cca" and look["data"] == "ours"


def test_a_failed_method_is_told_and_is_1(feature_file: Path) -> None:
    done = earsight("compare", feature_file, "-m", "zero_shot,cca", "--folds", 2)
    assert done.returncode == 1
    assert b"zero_shot failed: " in done.stdout and b"chance" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "SOURCE must be a feature file"),
        (["synthetic:n=40", "-m", "ccca"], 1, "Did you mean 'cca'?"),
        (["synthetic:n=40", "-m", "cca", "--official-test"], 1, "no split of their own"),
        (["synthetic:n=40", "-m", "cca", "--folds", "1"], 2, "folds"),
        (["synthetic:n=40", "-m", "cca", "--sizes", "few"], 2, "sizes"),
        (["synthetic:n=40", "--features", "small"], 2, "a folder of clips"),
        (["wikipedia:.", "-m", "cca"], 1, "does not hold the Wikipedia set"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = earsight("compare", *arguments, where=tmp_path)
    assert done.returncode == code and message in done.stderr.decode()
    assert not done.stdout


@pytest.mark.skipif(not WIKIPEDIA.is_dir(), reason="shared/data/wikipedia is not here")
def test_wikipedia_in_cross_validation(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    source = f"wikipedia:{WIKIPEDIA}"
    done = earsight(
        *("compare", source, "-m", "cca:n_components=5,cluster_cca"),
        *("--seeds", 1, "--json", file, "--log", tmp_path / "log"),
    )
    assert done.returncode == 0 and not (tmp_path / "log").exists()
    found = json.loads(file.read_text())
    figures = found["cluster_cca"]["image->text"]
    assert 0.24 < figures["map"] < 0.30 and figures["queries"] == pytest.approx(2173 / 5)
    assert figures["map"] > found["cca:n_components=5"]["image->text"]["map"]


# A folder of clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "mine"
    for number in range(8):
        kind = ("low", "high")[number % 2]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        tone = 200 + 1500 * (number % 2) + 20 * number
        colour = (20 + 200 * (number % 2), 20 * number, 90)
        make_clip(folder / kind / f"{number}.mp4", tone=tone, colour=colour)
    make_clip(folder / "no-label.mp4")
    return folder


def test_a_folder_of_clips_is_indexed_first(clips: Path) -> None:
    asked = ("compare", clips, "-m", "mean_cca", "--folds", 2, "--seeds", 1)
    done = earsight(*asked, "--features", "small")
    told = done.stderr.decode()
    assert done.returncode == 0, told
    assert "1 rows of 9 have no label and are left out" in told
    assert "mine (audio 1024-d, visual 1280-d). 2 folds of 8 rows" in told
    assert (clips / ".earsight" / "library.db").is_file()


def test_the_rows_of_a_library(clips: Path) -> None:
    index(clips)
    data, note = paired_features(clips)
    assert note.startswith("1 rows of 9")
    assert sorted(data.labels) == ["high"] * 4 + ["low"] * 4
    assert len(set(data.group)) == 8 and list(data.views) == ["audio", "visual"]


# Pictures


def drawn(n: int = 90, classes: int = 4, **columns: Any) -> PairedFeatures:
    data = synthetic(n=n, dims=(12, 15), classes=classes)
    return PairedFeatures(data.views, columns.pop("labels", data.labels), **columns)


@pytest.mark.parametrize("kind", ["few classes", "many classes", "no labels"])
def test_pictures_are_drawn(tmp_path: Path, kind: str) -> None:
    data = {
        "few classes": drawn(),
        "many classes": drawn(200, classes=25),
        "no labels": PairedFeatures(drawn().views),
    }[kind]
    found = compare(data, ["cca", "cca:ridge=1"], QUICK, options=Options(sizes=(2, 4, 40)))
    files = plots.plot(tmp_path / "deep" / "plots", found, data, QUICK)
    expected = {"precision-recall.png", "map-by-size.png", f"space-{found.ranked()[0].method}.png"}
    expected = {name.replace(":", "_").replace("=", "-") for name in expected}
    if kind == "no labels":
        expected.remove("precision-recall.png")
    assert {file.name for file in files} == expected
    for file in files:
        with Image.open(file) as picture:
            assert min(picture.size) > 500
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10  # something is drawn


def test_pictures_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "is_here", lambda extra: False)
    found = compare(drawn(), ["cca"], QUICK)
    with pytest.raises(InputError, match=r"pip install 'earsight\[plot\]'"):
        plots.plot(tmp_path, found, drawn(), QUICK)


# The paper's tables


def vegas_file(path: Path, dims: tuple[int, int] = (12, 15)) -> None:
    data = synthetic(n=90, dims=dims, classes=4)
    with h5py.File(path, "w") as file:
        for modality, x in (*data.views.items(), ("lab", data.labels)):
            file[f"{modality}_train"], file[f"{modality}_test"] = x[:60], x[60:]


def ave_files(folder: Path) -> None:
    n, rng = 60, np.random.default_rng(0)
    classes = np.arange(n) % 3
    data = synthetic(n=n, dims=(12, 15), classes=3)
    seconds = np.eye(29)[np.repeat(classes[:, None], 10, axis=1)]
    arrays = {
        "audio_feature.h5": data.views["audio"][:, None] + rng.normal(size=(n, 10, 12)),
        "visual_feature.h5": rng.normal(size=(n, 10, 7, 7, 15)) + seconds[..., None, None, :15],
        "labels.h5": seconds,
        "train_order.h5": np.arange(40),
        "val_order.h5": np.arange(40, 45),
        "test_order.h5": np.arange(45, 60),
    }
    assert set(arrays) == set(AVE_FILES)
    for name, array in arrays.items():
        with h5py.File(folder / name, "w") as file:
            file["order" if "order" in name else "avadataset"] = array


@pytest.fixture
def closed_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's methods train for long; two of its others stand in."""
    monkeypatch.setattr(reproduce, "TABLE_2_METHODS", ("cca", "cluster_cca"))
    monkeypatch.setattr(reproduce, "TABLE_1_METHOD", "cluster_cca")


@pytest.mark.usefixtures("closed_forms")
def test_table_2_from_the_authors_file_and_from_ave(tmp_path: Path) -> None:
    vegas_file(tmp_path / "vegas_feature.h5")
    ave_files(tmp_path)
    log = tmp_path / "log"
    options = Options(log=log, json=tmp_path / "json")
    lines, missing = reproduce.reproduce("table2", tmp_path, seeds=2, options=options)
    assert missing == []
    assert [(line.data, line.result.method) for line in lines] == [
        ("VEGAS", "cca"),
        ("VEGAS", "cluster_cca"),
        ("AVE", "cca"),
        ("AVE", "cluster_cca"),
    ]
    assert lines[0].published == (0.3243, 0.3211) and "table II" in lines[0].source
    assert lines[2].published is None
    assert lines[0].result.directions["audio->visual"]["queries"] == 30
    assert lines[2].result.directions["audio->visual"]["queries"] == 15
    assert "15 rows, learned from the other 45" in lines[2].protocol
    assert [look["data"] for look in read_looks(log)] == ["vegas"] * 2 + ["ave"] * 2
    assert {path.name for path in options.json.glob("*.json")} == {  # type: ignore[union-attr]
        "vegas_vggish_inception.json",
        "ave_vggish_vgg19.json",
    }


@pytest.mark.usefixtures("closed_forms")
def test_table_1_by_features(tmp_path: Path) -> None:
    for name, dim in (("vggish", 12), ("soundnet", 14), ("inception", 15)):
        x = synthetic(n=90, dims=(dim, dim), classes=4)
        view = {"audio": x.views["audio"]} if name != "inception" else {"it": x.views["visual"]}
        write_features(tmp_path / f"{name}.npz", PairedFeatures(view, labels=x.labels))
    lines, missing = reproduce.reproduce("table1", tmp_path, options=Options(log=tmp_path / "log"))
    assert [line.features for line in lines] == ["soundnet / inception", "vggish / inception"]
    assert [line.published for line in lines] == [(0.4982, 0.4863), (0.7034, 0.6927)]
    assert "5 folds of 90 rows" in lines[0].protocol and not (tmp_path / "log").exists()
    assert len(missing) == 3 and "soundnet.h5 and i3d.h5" in missing[0]
    assert all(name in missing[2] for name in AVE_FILES)


def test_tables_without_files_say_where_they_are(tmp_path: Path) -> None:
    for table in reproduce.TABLES:
        with pytest.raises(FeatureFileError, match=r"vegas_feature\.h5") as caught:
            reproduce.reproduce(table, tmp_path)
        assert "ZenzenDatabase/CMR" in str(caught.value)
        assert "YapengTian/AVE-ECCV18" in str(caught.value)
    with pytest.raises(InputError, match="table1 and table2; got 'table3'"):
        reproduce.reproduce("table3", tmp_path)
    done = earsight("reproduce", "table2", "--features", tmp_path)
    assert done.returncode == 1 and b"vegas_feature.h5" in done.stderr


@pytest.mark.long
def test_the_papers_own_methods_on_a_small_set(tmp_path: Path) -> None:
    vegas_file(tmp_path / "vegas_feature.h5")
    done = earsight("reproduce", "table2", "--features", tmp_path, where=tmp_path)
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert all(value in text for value in ("32.43", "14.09", "70.34", "72.69"))


def test_a_fit_is_timed_without_the_start_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(network, "warm_up", lambda: done.append("torch"))
    clock = SimpleNamespace(perf_counter=lambda: float(bool(done.append("clock"))))
    monkeypatch.setattr(runs, "time", clock)
    data = synthetic(n=60, dims=(8, 9), classes=3)
    for spec, first in (("tnn:epochs=1", ["torch", "clock"]), ("cca", ["clock", "clock"])):
        done.clear()
        list(runs.runs(data, spec, QUICK, lambda _: None))
        assert done[:2] == first

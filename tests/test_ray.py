"""A Ray cluster of two nodes here: the file and the fit of one process, though a node is lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earsight
from _folders import fill, same, until
from _ray import Nodes, ray_nodes
from earsight.experiments.partitions import Span, fit_files, spans
from earsight.features import PairedFeatures, read_features, write_features
from earsight.library.extract import extract

QUICK = {"audio": "log_mel", "visual": "colour_edges"}
HOW = ("--audio", "log_mel", "--visual", "colour_edges")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with ray_nodes() as nodes:
        yield nodes


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    cluster.restore()
    return cluster


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "clips"
    fill(folder, [f"{colour}/{number}.mp4" for colour in ("red", "blue") for number in range(5)])
    shutil.copy(folder / "red/0.mp4", folder / "blue/a copy.mp4")
    (folder / "red" / "text.mp4").write_text("This is no film.")
    return folder


def start(nodes: Nodes, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=nodes.environment,
    )


def on(nodes: Nodes) -> tuple[str, str, str, str]:
    return ("--engine", "ray", "--address", nodes.address)


def test_a_node_is_killed_and_the_file_is_that_of_one_process(
    nodes: Nodes, clips: Path, tmp_path: Path
) -> None:
    whole = extract(clips, tmp_path / "whole.h5", QUICK, workers=1)
    output, parts = tmp_path / "f.h5", tmp_path / "f.h5.parts"
    command = ("extract", clips, "-o", output, *HOW, *on(nodes), "--parts", 6, "--json")
    running = start(nodes, *command)
    until(lambda: running.poll() is not None or any(parts.glob("*-of-6.h5")))
    nodes.kill()
    said, trouble = running.communicate(timeout=200)
    assert running.returncode == 3, trouble  # for text.mp4
    report = json.loads(said.splitlines()[0])
    assert (report["n_rows"], report["n_clips"]) == (whole.n_rows, whole.n_clips) == (11, 12)
    same(read_features(output), read_features(tmp_path / "whole.h5"))
    held = [name for part in parts.glob("*.h5") for name in np.asarray(read_features(part).ids)]
    assert sorted(held) == sorted(np.asarray(read_features(output).ids))
    assert not [path for path in parts.iterdir() if path.name.startswith(".")]
    again = start(nodes, *command[:-3], "--json")  # without --parts: they are counted
    said, trouble = again.communicate(timeout=200)
    report = json.loads(said.splitlines()[0])
    assert report["n_read"] <= 2 and report["n_rows"] == 11, trouble


# Sums that are merged on the cluster


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Rows of three files that end where no block does."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    found = []
    for number, n in enumerate((9_000, 5_001, 21_345)):
        labels = rng.integers(0, 5, n)
        common = rng.normal(size=(5, 3))[labels] + rng.normal(size=(n, 3))
        views = {
            name: (3 + common @ rng.normal(size=(3, d)) + rng.normal(size=(n, d))).astype(
                request.param
            )
            for name, d in (("audio", 8), ("visual", 12))
        }
        found.append(folder / f"{number}.h5")
        write_features(found[-1], PairedFeatures(views, labels=labels))
    return found


def whole(name: str, files: list[Path]) -> Any:
    read = [read_features(file) for file in files]
    views = {m: np.concatenate([one.views[m] for one in read]) for m in ("audio", "visual")}
    labels = np.concatenate([np.asarray(one.labels) for one in read])
    return earsight.method(name).fit(views, labels=labels)


def assert_same_bits(found: Any, expected: Any) -> None:
    assert found.ridge_ == expected.ridge_
    assert np.array_equal(found.correlations_, expected.correlations_)
    for name in expected.dims_:
        assert np.array_equal(found.weights_[name], expected.weights_[name])
        assert np.array_equal(found.mean_[name], expected.mean_[name])


@pytest.mark.parametrize("name", ["cca", "cluster_cca", "mean_cca"])
def test_files_in_parts_are_fitted_to_the_bits_of_one_fit(name: str, files: list[Path]) -> None:
    model = earsight.method(name)
    assert fit_files(model, files) == {"audio": 35_346, "visual": 35_346}
    assert_same_bits(model, whole(name, files))
    counts = [{"audio": n, "visual": n} for n in (9_000, 5_001, 21_345)]
    cut = spans(files, counts, 9)
    assert [sum(stop - start for _, start, stop in span.pieces) for span in cut[:-1]] == 8 * [4096]
    assert_same_bits(earsight.method(name).fit_parts(cut), whole(name, files))


@pytest.mark.parametrize("name", ["cca", "cluster_cca"])
def test_other_cuts_agree_to_rounding(name: str, files: list[Path]) -> None:
    """Each file by itself."""
    cut = [Span(((file, 0, 10**6),)) for file in files]
    found, expected = earsight.method(name).fit_parts(cut), whole(name, files)
    atol = 1e-6 if read_features(files[0]).views["audio"].dtype == np.float32 else 1e-10
    np.testing.assert_allclose(found.correlations_, expected.correlations_, atol=atol)
    for modality in expected.dims_:
        np.testing.assert_allclose(found.mean_[modality], expected.mean_[modality], atol=atol)


def test_a_fit_on_the_cluster_though_a_node_is_killed(
    nodes: Nodes, files: list[Path], tmp_path: Path
) -> None:
    code = (
        "import sys, earsight; from pathlib import Path; from _work import SlowPart\n"
        "from earsight import engine\n"
        "from earsight.experiments.partitions import Span, spans, _counts\n"
        "address, marks, model, *files = sys.argv[1:]\n"
        "files = [Path(file) for file in files]\n"
        "with engine.connected(address) as cluster:\n"
        "    cut = spans(files, _counts(files, cluster), 9)\n"
        "    parts = [SlowPart(span, Path(marks)) for span in cut]\n"
        "    earsight.method('cluster_cca').fit_parts(parts, cluster.merged).save(model)\n"
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", code, nodes.address, marks, tmp_path / "model", *files]
    running = subprocess.Popen([*map(str, command)], env=nodes.environment)
    until(lambda: running.poll() is not None or len(list(marks.iterdir())) > 5)
    nodes.kill()
    assert running.wait(timeout=200) == 0
    assert_same_bits(earsight.load_model(tmp_path / "model"), whole("cluster_cca", files))


def test_train_by_the_command_line(nodes: Nodes, files: list[Path], tmp_path: Path) -> None:
    pattern = files[0].with_name("*.h5")
    running = start(nodes, "train", pattern, tmp_path / "model", "-m", "mean_cca", *on(nodes))
    said, trouble = running.communicate(timeout=200)
    assert (
        running.returncode == 0 and "fitted to 35346 audio and 35346 visual rows" in trouble + said
    )
    assert_same_bits(earsight.load_model(tmp_path / "model"), whole("mean_cca", files))

"""A Ray cluster of two nodes here: the file and the fit of one process, though a node is lost."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import earsight
from _extracting import QUICK
from _folders import fill, same, until
from _ray import Nodes, ray_nodes
from _s3 import Server
from earsight.cli import app
from earsight.engine import connected
from earsight.errors import EngineError, FeatureFileError, InputError
from earsight.experiments.partitions import fit_files, matching
from earsight.extraction.extract import extract
from earsight.extraction.sharding import Part, join
from earsight.features import PairedFeatures, read_features, write_features
from earsight.storage import Remote

HOW = ("--audio", "log_mel", "--visual", "colour_edges")


@pytest.fixture(scope="module")
def cluster(s3_over_all_tests: Server) -> Iterator[Nodes]:
    with ray_nodes(**s3_over_all_tests.environment) as nodes:
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
    output, staged = tmp_path / "f.h5", tmp_path / ".f.h5.parts"
    command = ("extract", clips, "-o", output, *HOW, *on(nodes), "--json")
    running = start(nodes, *command)
    until(lambda: running.poll() is not None or any(staged.glob("*.npz")))
    nodes.kill()
    said, trouble = running.communicate(timeout=200)
    assert running.returncode == 3, trouble  # for text.mp4
    report = json.loads(said.splitlines()[0])
    assert (report["n_rows"], report["n_clips"]) == (whole.n_rows, whole.n_clips) == (11, 12)
    same(read_features(output), read_features(tmp_path / "whole.h5"))
    assert sorted(tmp_path.iterdir()) == [output, tmp_path / "whole.h5"]
    said, trouble = start(nodes, *command).communicate(timeout=200)
    report = json.loads(said.splitlines()[0])
    assert (report["n_read"], report["written"]) == (0, False), trouble


def test_clips_file_and_parts_on_s3(nodes: Nodes, clips: Path, s3: Server, tmp_path: Path) -> None:
    below, output = Remote.parse("s3://clips/mine"), Remote.parse("s3://clips/features.h5")
    for path in clips.rglob("*.mp4"):
        (below / str(path.relative_to(clips))).upload(path)
    running = start(nodes, "extract", below, "-o", output, *HOW, *on(nodes))
    _, trouble = running.communicate(timeout=200)
    assert running.returncode == 3, trouble
    output.download(tmp_path / "f.h5")
    parts = [tmp_path / f"part-{number}.h5" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        extract(below, part, QUICK, workers=1, part=Part(number, 2))
        Remote.parse(f"s3://clips/parts/{part.name}").upload(part)
    join(parts, tmp_path / "joined.h5")
    same(read_features(tmp_path / "f.h5"), read_features(tmp_path / "joined.h5"))
    pattern = "s3://clips/parts/*.h5"
    running = start(nodes, "train", pattern, tmp_path / "model", "-m", "mean_cca", *on(nodes))
    said, trouble = running.communicate(timeout=200)
    assert running.returncode == 0, trouble
    assert "mean_cca: fitted to 11 audio and 11 visual rows" in trouble + said
    assert_same_model(earsight.load_model(tmp_path / "model"), whole("mean_cca", parts))


# Sums that are merged on the cluster


@pytest.fixture(
    scope="module", params=[np.float32, pytest.param(np.float64, marks=pytest.mark.long)]
)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Rows of three files."""
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


def assert_same_model(found: Any, expected: Any) -> None:
    """Parts are multiplied apart: float32 rows agree to 1e-6, in directions that are no noise."""
    assert found.ridge_ == pytest.approx(expected.ridge_, rel=1e-5)
    np.testing.assert_allclose(found.correlations_, expected.correlations_, atol=1e-6)
    for name in expected.dims_:
        np.testing.assert_allclose(found.mean_[name], expected.mean_[name], atol=1e-6)
        ours, theirs = (model.weights_[name][:, :3] for model in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["cca", "cluster_cca", "mean_cca"])
def test_files_in_parts_are_fitted_as_one(name: str, files: list[Path]) -> None:
    model = earsight.method(name)
    assert fit_files(model, files) == {"audio": 35_346, "visual": 35_346}
    assert_same_model(model, whole(name, files))


def test_a_fit_on_the_cluster_though_a_node_is_killed(
    nodes: Nodes, files: list[Path], tmp_path: Path
) -> None:
    code = (
        "import sys, earsight; from pathlib import Path; from _work import SlowPart\n"
        "from earsight import engine\n"
        "from earsight.experiments.partitions import parts_of, _counts\n"
        "address, marks, model, *files = sys.argv[1:]\n"
        "files = [Path(file) for file in files]\n"
        "with engine.connected(address) as cluster:\n"
        "    cut = parts_of(files, _counts(files, cluster), 9)\n"
        "    parts = [SlowPart(part, Path(marks)) for part in cut]\n"
        "    earsight.method('cluster_cca').fit_parts(parts, cluster.merged).save(model)\n"
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", code, nodes.address, marks, tmp_path / "model", *files]
    running = subprocess.Popen([*map(str, command)], env=nodes.environment)
    until(lambda: running.poll() is not None or len(list(marks.iterdir())) > 5)
    nodes.kill()
    assert running.wait(timeout=200) == 0
    assert_same_model(earsight.load_model(tmp_path / "model"), whole("cluster_cca", files))


# Work, and its errors


def driven(nodes: Nodes, code: str) -> "subprocess.CompletedProcess[str]":
    """Run lines of code in a connected process of its own: Ray changes the one it is in."""
    whole = (
        "import sys, _work\nfrom pathlib import Path\nfrom earsight import engine, errors\n"
        "with engine.connected(sys.argv[1]) as cluster:\n"
    ) + "".join(f"    {line}\n" for line in code.splitlines())
    command = [sys.executable, "-c", whole, nodes.address]
    return subprocess.run(
        command, env=nodes.environment, capture_output=True, text=True, timeout=200
    )


def test_every_item_once_deaths_told_and_errors_in_their_class(nodes: Nodes) -> None:
    done = driven(
        nodes,
        "assert sorted(cluster.run(_work.double, range(20))) == [(x, 2 * x) for x in range(20)]\n"
        "assert list(cluster.run(_work.double, [])) == []\n"
        "assert list(cluster.merged(_work.double, [])) == []\n"
        "found = dict(cluster.run(_work.die_at_three, range(6)))\n"
        "assert isinstance(found.pop(3), engine.WorkerDied), found\n"
        "assert found == {x: 2 * x for x in range(6) if x != 3}\n"
        "apart = dict(cluster.run(_work.in_a_process_apart, [2, 3]))\n"
        "assert apart == {2: 'int', 3: 'WorkerDied'}, apart\n"  # as a clip that crashes a decoder
        "for run in (cluster.run, cluster.merged):\n"
        "    for work, kind in ((_work.refuse_three, ValueError),\n"
        "                       (_work.refuse_by_name, errors.UnknownNameError)):\n"
        "        try:\n"
        "            list(run(work, [3, 3, 3]))\n"
        "        except kind as error:\n"
        "            assert type(error) is kind and '3' in str(error) + '3'\n"
        "            print(error)\n"
        "            continue\n"
        "        raise SystemExit('no error')\n",
    )
    assert done.returncode == 0, done.stderr
    told = "There is no method 'cka'. Did you mean 'cca'? Known: cca."
    assert done.stderr.count(told) == 2 and done.stdout == ""


@pytest.mark.long
def test_results_are_merged_in_order_and_a_death_again_and_again_is_told(
    nodes: Nodes, tmp_path: Path
) -> None:
    done = driven(
        nodes,
        f"work = _work.Slowly(Path({str(tmp_path)!r}))\n"
        "(found,) = cluster.merged(work, range(11))\n"
        "assert found.items == list(range(11)), found\n"
        "try:\n"
        "    list(cluster.merged(_work.die_at_three, [3]))\n"
        "except errors.EngineError as error:\n"
        "    print(error)\n",
    )
    assert done.returncode == 0, done.stderr
    assert "Sums could not be brought together on the cluster" in done.stderr
    assert "Nothing was changed" in done.stderr


@pytest.mark.long
def test_a_cluster_that_is_lost_as_a_whole(tmp_path: Path) -> None:
    code = (
        "import sys, _work; from pathlib import Path; from earsight import engine\n"
        "with engine.connected(sys.argv[1]) as cluster:\n"
        "    list(cluster.run(_work.Slowly(Path(sys.argv[2])), range(400)))\n"
    )
    with ray_nodes() as nodes:
        command = [sys.executable, "-c", code, nodes.address, str(tmp_path)]
        running = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=nodes.environment
        )
        until(lambda: running.poll() is not None or any(tmp_path.iterdir()))
        nodes.kill_head()
        _, trouble = running.communicate(timeout=200)
    assert running.returncode == 1 and "is gone: nothing has answered there" in trouble


@pytest.mark.long
def test_a_cluster_of_another_version_of_ray() -> None:
    with ray_nodes(AS_RAY="2.41.0") as nodes:
        done = driven(nodes, "pass")
    assert done.returncode == 1
    assert "cannot be used" in done.stderr and "2.41.0" in done.stderr


# What can be told without a cluster


@pytest.mark.parametrize("address", ["", "here", ":6379", "host:", "host:0", "ray://host:10001"])
def test_addresses_of_another_form(address: str) -> None:
    with pytest.raises(InputError, match=r"`address` must be host:port"), connected(address):
        pass


def test_nothing_listens_or_something_else_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            wire, _ = server.accept()
            with wire:
                wire.recv(100)
                wire.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        told = f"No Ray cluster answers at {address}"
        with pytest.raises(EngineError, match=told), connected(address):
            pass
    runner = CliRunner()
    how = ["extract", "clips", "-o", "f.h5", "--audio", "log_mel", "--engine", "ray"]
    found = runner.invoke(app, [*how, "--address", address])
    assert isinstance(found.exception, EngineError) and "ray start --head" in str(found.exception)


def test_ray_is_not_here_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'earsight\[ray\]'"), connected("a:1"):
        pass
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.9.3"))
    with pytest.raises(EngineError, match=r"2\.40 or newer; got 2\.9\.3"), connected("a:1"):
        pass


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "spark"], "must be local or ray"),
        (["--engine", "ray"], "go together"),
        (["--address", "a:1"], "go together"),
        (["--engine", "ray", "--address", "a:1", "--part", "1/3"], "--part is for --engine local"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], told: str) -> None:
    found = CliRunner().invoke(
        app, ["extract", "clips", "-o", "f.h5", "--audio", "vggish", *options]
    )
    assert found.exit_code == 2 and told in " ".join(found.output.split())


def test_files_that_cannot_be_fitted_in_parts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names none"):
        matching(str(tmp_path / "*.h5"))
    rows, split = {"audio": np.ones((4, 2)), "visual": np.ones((4, 2))}, ["train"] * 3 + ["test"]
    write_features(tmp_path / "a.h5", PairedFeatures(rows, split=split))
    with pytest.raises(FeatureFileError, match="keeps rows for testing"):
        fit_files(earsight.method("cca"), matching(f"{tmp_path}/*.h5"))

"""Two ranks under torchrun: the curve of losses of one, and an end with a message if one dies."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed
from typer.testing import CliRunner

import earsight
from _folders import until
from _milvus import free_port
from earsight.cli import app
from earsight.errors import InputError
from earsight.experiments.train import train
from earsight.features import PairedFeatures, StepTable, read_features, write_features
from earsight.features.sequences import ArrayRows
from earsight.methods._deep import distributed as ranks_of

HERE = Path(__file__).parent
N = 430  # enough to hold some out; batches that do not divide by two
CASES: dict[str, dict[str, Any]] = {
    "tnn": {"epochs": 3},
    "tnn hard": {"epochs": 2, "mining": "hard", "input": "raw"},
    "contrastive": {"epochs": 4, "hidden": (32,), "batch_size": 51},
    "dcca": {"epochs": 4, "hidden": (16,), "n_components": 3, "batch_size": 75},
    "dcca random": {"epochs": 4, "hidden": (16,), "n_components": 3, "start": "random"},
    "s_dcca": {"epochs": 3, "hidden": (16,), "n_components": 3, "batch_size": 51},
    "c_dcca": {"epochs": 3, "hidden": (16,), "n_components": 3, "batch_size": 51},
    "adversarial": {"epochs": 3, "hidden": (16,), "batch_size": 41},
    "tnn unpaired": {"epochs": 3},
    "contrastive gru": {"epochs": 2, "hidden": (16,), "batch_size": 51, "pooling": "gru"},
    "tnn transformer": {"epochs": 2, "pooling": "transformer"},
}


def data(case: str) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, N)
    common = rng.normal(size=(5, 4))[labels] + 0.3 * rng.normal(size=(N, 4))
    views: dict[str, Any] = {
        name: common @ rng.normal(size=(4, d)) + rng.normal(size=(N, d))
        for name, d in (("audio", 6), ("visual", 9))
    }
    if "pooling" in CASES[case]:
        bounds = np.cumsum([0, *rng.integers(1, 5, N)])
        steps = np.repeat(views["audio"], np.diff(bounds), axis=0) + rng.normal(
            size=(bounds[-1], 6)
        )
        table = StepTable(
            np.stack([bounds[:-1], bounds[1:]], axis=1),
            np.arange(bounds[-1], dtype=float),
            6,
            ArrayRows(steps.astype(np.float32)),
        )
        return {"audio": table, "visual": views["visual"]}, labels
    if "unpaired" in case:
        views["visual"] = views["visual"][:-13]
        return views, {"audio": labels, "visual": labels[:-13]}
    return views, labels


def trained(case: str) -> Any:
    model = earsight.method(case.partition(" ")[0], seed=1, **CASES[case])
    views, labels = data(case)
    return model.fit(views, labels=labels)


def torchrun(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return started([*command, "--nproc-per-node", "2", *map(str, arguments)], **environment)


def started(command: list[str], **environment: str) -> "subprocess.Popen[str]":
    here = {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent / 'support'}",
    }
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **here, **environment},
    )


def done(running: "subprocess.Popen[str]") -> tuple[str, str]:
    try:
        return running.communicate(timeout=200)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


@pytest.fixture(scope="module")
def of_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "script.py"
    script.write_text(
        "import json, os, sys, pathlib\n"
        "from test_torchrun import CASES, trained\n"
        "if __name__ == '__main__':\n"
        "    found = {}\n"
        "    for case in CASES:\n"
        "        model = trained(case)\n"
        "        found[case] = [model.history_.tolist(), model.best_epoch_]\n"
        "    pathlib.Path(sys.argv[1], os.environ['RANK']).write_text(json.dumps(found))\n"
    )
    running = torchrun(script, folder)
    _, trouble = done(running)
    assert running.returncode == 0, trouble
    first, second = (json.loads((folder / rank).read_text()) for rank in "01")
    np.testing.assert_equal(first, second)
    return first


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_losses_of_one(case: str, of_two_ranks: dict[str, Any]) -> None:
    history, best = of_two_ranks[case]
    alone = trained(case)
    assert len(history) == CASES[case]["epochs"] + 1 and best == alone.best_epoch_
    np.testing.assert_allclose(np.asarray(history)[:, 0], alone.history_[:, 0], atol=1e-5)
    assert np.ptp(alone.history_[1:, 0]) > 1e-3  # it learns: the curve is no flat line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    views, labels = data("tnn")
    write_features(tmp_path / "rows.h5", PairedFeatures(views, labels=labels))
    return tmp_path / "rows.h5"


def test_a_checkpoint_of_one_process_is_continued_by_two(file: Path, tmp_path: Path) -> None:
    """Of which the first alone writes and tells."""
    states = tmp_path / "states"

    class Stopped(Exception):  # noqa: N818 - what a kill would be
        pass

    def stop(epoch: Any) -> None:
        if epoch.number == 2:
            raise Stopped

    model = earsight.method("tnn", epochs=4, checkpoint=str(states))
    model.on_epoch = stop
    with pytest.raises(Stopped):
        model.fit(*data("tnn"))
    method = f"tnn:epochs=4,checkpoint={states}"
    running = torchrun("-m", "earsight", "train", file, tmp_path / "model", "-m", method)
    said, trouble = done(running)
    assert running.returncode == 0, trouble
    assert (said + trouble).count("tnn: fitted to 430 audio and 430 visual rows") == 1
    views, labels = data("tnn")
    alone = earsight.method("tnn", epochs=4).fit(views, labels=labels)
    found = earsight.load_model(tmp_path / "model")
    np.testing.assert_allclose(found.history_, alone.history_, atol=1e-5)
    first = pytest.approx(alone.history_[1, 0], rel=1e-6)  # of the process before
    assert found.history_[1, 0] == first
    for name, x in views.items():
        ours, theirs = (each.transform(name, x) for each in (found, alone))
        np.testing.assert_allclose(ours, theirs, atol=1e-3)  # float32, summed in another order


def test_what_cannot_be_shared_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"semantic is not trained in steps, so that torchrun's 2"):
        train(read_features(file), "semantic", file.with_name("model"))
    runner = CliRunner()
    wrong = runner.invoke(app, ["compare", str(file)])
    assert wrong.exit_code == 2 and "torchrun is for" in wrong.output
    wrong = runner.invoke(app, ["train", str(file.parent), "model", "-m", "tnn"])
    assert wrong.exit_code == 2 and "torchrun takes one feature file" in wrong.output
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"started 2 or more here, and there are 1\."):
        ranks_of.ranks("cuda")


def test_weights_outside_the_networks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    with pytest.raises(InputError, match="toy cannot be trained by several ranks"):
        ranks_of.Ranks("cpu").share(torch.nn.Linear(2, 2), "toy")


def test_a_rank_that_dies_ends_the_run(file: Path, tmp_path: Path) -> None:
    """The state after its last epoch stays; alone or together, the run goes on from there.

    The ranks are started as torchrun does, which would end the other one before it can tell.
    """
    states, model = tmp_path / "states", tmp_path / "model"
    method = f"tnn:epochs=4000,checkpoint={states}"
    command = [sys.executable, "-m", "earsight", "train", str(file), str(model), "-m", method]
    shared = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(free_port())}
    first, second = (started(command, RANK=rank, LOCAL_RANK=rank, **shared) for rank in "01")
    try:
        until(lambda: first.poll() is not None or any(states.glob("*.safetensors")), 120)
    finally:
        second.kill()
        second.communicate()
    _, trouble = done(first)
    assert first.returncode == 1 and not model.exists()
    assert "earsight: Another rank of this training ended" in trouble and "rank 0 ends" in trouble
    assert [*states.glob("*.safetensors")]


def test_a_rank_whose_machine_vanishes_is_not_waited_for_long(file: Path, tmp_path: Path) -> None:
    """It says nothing any more, and its connection stays: as when a cable is pulled."""
    method = f"tnn:epochs=4000,checkpoint={tmp_path / 'states'}"
    model = tmp_path / "model"
    command = [sys.executable, "-m", "earsight", "train", str(file), str(model), "-m", method]
    shared = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(free_port()), "EARSIGHT_RANK_TIMEOUT": "3"}
    first, second = (started(command, RANK=rank, LOCAL_RANK=rank, **shared) for rank in "01")
    try:
        states = tmp_path / "states"
        until(lambda: first.poll() is not None or any(states.glob("*.safetensors")), 120)
        second.send_signal(signal.SIGSTOP)
        _, trouble = done(first)
    finally:
        second.kill()
        second.communicate()
    assert first.returncode == 1 and not model.exists()
    assert "rank 0 ends too" in trouble and "waited for 3 s; EARSIGHT_RANK_TIMEOUT" in trouble


@pytest.mark.parametrize("given", ["0", "soon", "-1", "inf"])
def test_a_wrong_timeout_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARSIGHT_RANK_TIMEOUT", given)
    with pytest.raises(InputError, match=f"must be seconds above 0; got '{given}'"):
        ranks_of._patience()


def test_what_the_first_rank_computes_is_not_rounded(tmp_path: Path) -> None:
    where = f"file://{tmp_path / 'meeting'}"
    distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    try:
        assert ranks_of.Ranks("cpu").from_first(lambda: [0.1, 1 / 3]) == [0.1, 1 / 3]
    finally:
        distributed.destroy_process_group()

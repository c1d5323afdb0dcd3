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

import earsight

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
}


def data(case: str) -> tuple[dict[str, np.ndarray], Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, N)
    common = rng.normal(size=(5, 4))[labels] + 0.3 * rng.normal(size=(N, 4))
    views = {
        name: common @ rng.normal(size=(4, d)) + rng.normal(size=(N, d))
        for name, d in (("audio", 6), ("visual", 9))
    }
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
    command += ["--nproc-per-node", "2", *map(str, arguments)]
    here = {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": str(Path(__file__).parent),
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

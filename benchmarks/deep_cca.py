"""An epoch of deep CCA on 20,000 rows of 128 and 1024 features, against cca-zoo's.

Both train two networks of 1024-1024-10 with ReLU by Adam in batches of 1,000; what is timed is
the steps of one epoch on standardised rows. cca-zoo's epoch is `Trainer.fit`, which needs
lightning beside it (`pip install lightning`). Memory is the peak, from the first step on, of a
process of its own, with its libraries and the rows (88 MiB); read on Linux. Aims: faster, and in
less memory.

    python benchmarks/deep_cca.py [--threads 1] [--rounds 3] [--out build/benchmarks]
"""

import argparse
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import earsight
from _harness import compare, report
from earsight.datasets import synthetic
from earsight.methods._base import Rows
from earsight.methods._deep import standardisation, standardised

N, P, Q, K, HIDDEN, BATCH = 20_000, 128, 1024, 10, 1024, 1000


def rows() -> dict[str, np.ndarray]:
    views = synthetic(N, (P, Q)).views
    return {name: standardised(x, *standardisation(x)) for name, x in views.items()}


def ours() -> Callable[[], object]:
    from earsight.methods._deep_cca import _Problem
    from earsight.methods._torch import _Steps

    model = earsight.method(
        "dcca", start="random", n_components=K, hidden=(HIDDEN, HIDDEN), dropout=0.0,
        batch_size=BATCH, learning_rate=1e-3, epochs=100,
    )  # fmt: skip
    given = Rows(rows())

    def epoch() -> object:
        problem = _Problem(model, given, K, None)
        return _Steps(model, given, problem, "cpu", by_class=False).epoch(1)

    return epoch


def zoo() -> Callable[[], object]:
    import lightning.pytorch as pl
    from cca_zoo.deep import DCCA, MultiviewDataset
    from torch import nn
    from torch.utils.data import DataLoader

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(MultiviewDataset([*rows().values()]), BATCH, shuffle=True)

    def network(d: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(d, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, K),
        )  # fmt: skip

    def fit() -> object:
        model = DCCA(K, [network(P), network(Q)], reg_covar=1e-3)
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        return trainer.fit(model, loader)

    return fit


CONTENDERS = {"earsight": ours, "cca-zoo": zoo}


def peak_mib(name: str) -> float:
    """Run one contender in a process of its own and return what it took at most."""
    command = [sys.executable, __file__, "--peak", name]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(run.stdout.splitlines()[-1]))


def peak_resident() -> float:
    """Return how much memory this process held at most, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: memory is measured on Linux alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--peak", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    if options.peak:
        task = CONTENDERS[options.peak]()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        task()
        print(peak_resident())
        return
    tasks = {name: make() for name, make in CONTENDERS.items()}
    results = compare(tasks, rounds=options.rounds, threads=options.threads)
    for name, row in results.items():
        row["peak_mib"] = peak_mib(name)
    report(
        f"An epoch of deep CCA, {N} × ({P}, {Q}), {HIDDEN}-{HIDDEN}-{K}, batches of {BATCH}",
        results,
        options.out / "deep_cca.json",
        threads=options.threads,
        times_faster_than_cca_zoo=round(results["cca-zoo"]["ratio"], 2),
    )


if __name__ == "__main__":
    main()

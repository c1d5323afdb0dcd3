"""One epoch of deep CCA, of pairs and of classes: against a trivial loss, and cca-zoo's.

All train two networks of 1024-1024-10 with ReLU by Adam in batches of 1,000; what is timed is the
steps of one epoch on standardised rows. The trivial loss is the mean square between the two
networks' outputs. cca-zoo's epoch is `Trainer.fit`, which needs lightning. Memory is the peak, from
the first step on, of a process of its own, with its libraries and the rows (88 MiB); read on Linux.
Aims: at most 1.5 times the step with the trivial loss; faster than cca-zoo, in less memory.

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
from typing import Any

import numpy as np

import earsight
from _growth import peak_resident_mib
from _harness import Aim, Task, compare, report, sized, with_peers
from earsight.datasets import synthetic
from earsight.methods import Rows
from earsight.methods._deep.base import standardisation, standardised

N, P, Q, K, HIDDEN, BATCH = sized(20_000, 2000), 128, 1024, 10, 1024, 1000
CLASSES = 10


def rows() -> dict[str, np.ndarray]:
    views = synthetic(N, (P, Q)).views
    return {name: standardised(x, *standardisation(x)) for name, x in views.items()}


def ours(name: str, trivial: bool = False) -> Task:
    """Return an epoch of one of our methods, or of its networks with a trivial loss."""
    import torch

    from earsight.methods._deep.deep_cca import _Problem
    from earsight.methods._deep.trainer import Training

    class Trivial(_Problem):
        def loss(self, batch: Any) -> torch.Tensor:
            f, g = self.branches(batch).values()
            return (f - g).square().mean()

    given = synthetic(N, (P, Q))
    start = {"start": "random"} if name == "dcca" else {}
    model: Any = earsight.method(
        name, n_components=K if name == "dcca" else CLASSES - 1, hidden=(HIDDEN, HIDDEN),
        dropout=0.0, device="cpu", batch_size=BATCH, learning_rate=1e-3, epochs=100, **start,
    )  # fmt: skip
    labels = None if name == "dcca" else dict.fromkeys(given.views, np.asarray(given.labels))
    checked = Rows(views=rows(), labels=labels)

    def epoch() -> object:
        problem = (Trivial if trivial else _Problem)(model, checked, model.n_components, None)
        return Training(model, problem, checked).epoch(1)

    return epoch


def zoo() -> Task:
    """Return an epoch of the peer."""
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


PEER = "cca-zoo, an epoch of DCCA"
OURS: dict[str, Callable[[], Task]] = {
    "earsight, an epoch of dcca": lambda: ours("dcca"),
    "the same with a trivial loss": lambda: ours("dcca", trivial=True),
    "earsight, an epoch of s_dcca": lambda: ours("s_dcca"),
}
CONTENDERS = OURS | {PEER: zoo}


def peak_of(name: str) -> float:
    """Run one contender in a process of its own and return what it took at most."""
    command = [sys.executable, __file__, "--peak", name]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(run.stdout.splitlines()[-1]))


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
        print(peak_resident_mib())
        return
    tasks, missing = with_peers({name: make() for name, make in OURS.items()}, {PEER: zoo})
    results = compare(tasks, rounds=options.rounds, threads=options.threads, peaks=False)
    for name, row in results.items():
        row["peak_mib"] = peak_of(name)
    dcca, trivial, s_dcca = (results[name] for name in OURS)
    aims = [
        Aim("dcca: times the trivial loss", 1.5, 1 / trivial["ratio"]),
        Aim("s_dcca: times the trivial loss", 1.5, s_dcca["ratio"] / trivial["ratio"]),
    ]
    if PEER in results:
        peer = results[PEER]
        aims += [
            Aim("times faster than cca-zoo", 1, peer["ratio"], at_least=True),
            Aim("times its memory", 1, dcca["peak_mib"] / peer["peak_mib"]),
        ]
    report(
        f"An epoch of deep CCA, {N:,} × ({P}, {Q}), {HIDDEN}-{HIDDEN}-{K}, batches of {BATCH:,}",
        results,
        options.out / "deep_cca.json",
        aims=aims,
        threads=options.threads,
        **missing,
    )


if __name__ == "__main__":
    main()

"""The loss of all triplets and its gradient, and a step of the triplet network.

Aims: the loss with its gradient at least 2 times faster than pytorch-metric-learning's, at batches
of 45, 200 and 1,000; a step of TNN as published at most 1.5 times the same step with a trivial
loss. Small batches are timed many in a row; the seconds are those of one. pytorch-metric-learning
writes every triplet down, 90 million at 1,000 rows, and takes gigabytes there; torch's memory is
not measured.

    python benchmarks/triplets.py [--threads 1] [--rounds 7] [--out build/benchmarks]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import earsight
from _harness import Aim, Task, compare, report, sized, with_peers
from earsight.methods import Rows
from earsight.methods._deep.branches import Branches
from earsight.methods._deep.trainer import Training
from earsight.methods._deep.triplets import triplet_loss
from earsight.methods._deep.types import Batch
from earsight.methods.tnn import _Problem

BATCHES = sized({45: 20, 200: 10, 1000: 1}, {45: 20})  # rows: how many losses are timed in a row
CLASSES, K, MARGIN = 10, 10, 0.5
PEER = "pytorch-metric-learning"
STEPS, WIDTH = sized(50, 5), 9  # of 45 rows, on Cluster-CCA's nine dimensions
ROWS = 45 * STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    aims: list[Aim] = []
    missing: dict[str, str] = {}
    for size in BATCHES:
        rounds = options.rounds if size < 1000 else 2
        tasks, missing = losses(size)
        one = dict.fromkeys(tasks, 1 / BATCHES[size])
        found = compare(tasks, rounds=rounds, threads=options.threads, scale=one, peaks=False)
        results |= {f"{name}, batch {size}": row for name, row in found.items()}
        if PEER in found:
            faster = found[PEER]["ratio"]
            aims.append(Aim(f"times faster than {PEER} at {size}", 2, faster, at_least=True))
    found = compare(epochs(), rounds=options.rounds, threads=options.threads, peaks=False)
    results |= found
    trivial = found["the same with a trivial loss"]["ratio"]
    aims.append(Aim("TNN: times the trivial step", 1.5, 1 / trivial))
    report(
        f"All triplets of a batch, {CLASSES} classes, {K} dimensions, margin {MARGIN}",
        results,
        options.out / "triplets.json",
        aims=aims,
        threads=options.threads,
        **missing,
    )


def losses(size: int) -> tuple[dict[str, Task], dict[str, str]]:
    """Return both ways from two batches of points to the gradient of the loss, and what lacks."""
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.rand(size, K, generator=draw, requires_grad=True) for _ in range(2))
    own, other = (torch.randint(CLASSES, (size,), generator=draw) for _ in range(2))

    def ours() -> Tensor:
        return triplet_loss(a, b, own[:, None] == other, margin=MARGIN)

    def gradients(loss: Callable[[], Tensor]) -> Task:
        return lambda: [torch.autograd.grad(loss(), (a, b)) for _ in range(BATCHES[size])]

    def theirs() -> Task:
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.reducers import MeanReducer

        squared = LpDistance(power=2, normalize_embeddings=False)
        peer = TripletMarginLoss(margin=MARGIN, distance=squared, reducer=MeanReducer())

        def loss() -> Tensor:
            return peer(a, own, ref_emb=b, ref_labels=other)

        if size < 1000:
            torch.testing.assert_close(ours(), loss(), atol=1e-5, rtol=1e-4)
        return gradients(loss)

    return with_peers({"earsight": gradients(ours)}, {PEER: theirs})


@dataclass
class Trivial:
    """The same networks with a loss that costs next to nothing."""

    module: nn.ModuleList

    def loss(self, batch: Batch) -> Tensor:
        first, second = (net(x) for net, x in zip(self.module, batch.views.values(), strict=False))
        return (first - second).square().mean()


def epochs() -> dict[str, Task]:
    """Return an epoch of TNN as published, and the same with the trivial loss."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    views = {name: rng.standard_normal((ROWS, WIDTH)) for name in ("audio", "visual")}
    rows = Rows(views=views, labels=dict.fromkeys(views, labels))
    model: Any = earsight.method("tnn", device="cpu")

    def branches() -> Branches:
        return Branches(model, rows, K, rng, output="tanh-sigmoid")

    tnn = Training(model, _Problem(model, branches()), rows)
    trivial = Training(model, Trivial(branches().module), rows)
    return {
        f"earsight, {STEPS} steps of TNN": lambda: tnn.epoch(1),
        "the same with a trivial loss": lambda: trivial.epoch(1),
    }


if __name__ == "__main__":
    main()

"""Every figure of rankings, 10,000 × 10,000 and 100,000 × 10,000: against scikit-learn, and a sort.

`evaluate` gives every figure of both directions: average precision, its curve, precision at k, and
where rows are paired recall, ranks and reciprocal ranks. scikit-learn's loop gives average
precision alone, and `np.argsort` nothing but an order of the same similarities, in blocks of as
many queries as ours holds at a time. Both run on a sample of the queries of each direction, scaled
to all of them; the table says how many. Aims: at least 10 times faster than scikit-learn, at most
2 times the argsort, and the memory of a block.

    python benchmarks/ranking.py [--threads 1] [--rounds 3] [--out build/benchmarks]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

import earsight
from _growth import grow
from _harness import Aim, Task, compare, report, sized
from earsight.similarity import _BLOCK

K, CLASSES = 10, 10
PEER, FLOOR = 250, 100  # one in so many queries is given to scikit-learn and to argsort


def points(n_audio: int, n_visual: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return points of two modalities around the centres of their classes, and the classes."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, K))
    counts = {"audio": n_audio, "visual": n_visual}
    labels = {name: np.arange(n) % CLASSES for name, n in counts.items()}
    z = {name: centres[own] + 2 * rng.normal(size=(len(own), K)) for name, own in labels.items()}
    return z, labels


def evaluation(z: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> Task:
    """Return our task: paired where the counts agree, so that every figure is known."""
    paired = len(z["audio"]) == len(z["visual"])
    given: Any = labels["audio"] if paired else labels
    return lambda: earsight.evaluate(z, labels=given)


def sample(
    z: dict[str, np.ndarray], labels: dict[str, np.ndarray], one_in: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return similarities of one in so many queries to all items, by direction, and the classes."""
    unit = {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in z.items()}
    return [
        (unit[a][::one_in] @ unit[b].T, labels[a][::one_in], labels[b])
        for a, b in (("audio", "visual"), ("visual", "audio"))
    ]


def scikit_learn(of: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[float]:
    """Score query by query."""
    return [
        float(average_precision_score(items == own, row))
        for similarity, queries, items in of
        for own, row in zip(queries, similarity, strict=True)
    ]


def sort(of: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Order the items of each query, in blocks of queries like ours."""
    for similarity, *_ in of:
        step = max(1, _BLOCK // similarity.shape[1])
        for start in range(0, len(similarity), step):
            np.argsort(similarity[start : start + step], axis=1)


def measured(
    n_audio: int, n_visual: int, rounds: int, threads: int
) -> tuple[dict[str, dict[str, float]], list[Aim]]:
    """Compare at one size; return the rows of the table and the aims."""
    z, labels = points(n_audio, n_visual)
    few, some = sample(z, labels, PEER), sample(z, labels, FLOOR)
    size = f"{n_audio:,} × {n_visual:,}"
    ours, theirs, order = (f"{who}, {size}" for who in ("earsight", "scikit-learn", "np.argsort"))
    results = compare(
        {
            ours: evaluation(z, labels),
            theirs: lambda: scikit_learn(few),
            order: lambda: sort(some),
        },
        rounds=rounds,
        threads=threads,
        scale={theirs: PEER, order: FLOOR},
    )
    aims = [
        Aim(f"times faster than scikit-learn, {size}", 10, results[theirs]["ratio"], at_least=True),
        Aim(f"times np.argsort, {size}", 2, 1 / results[order]["ratio"]),
    ]
    return results, aims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    n, many = sized((10_000, 100_000), (500, 2000))
    results, aims = measured(n, n, options.rounds, options.threads)
    larger, more = measured(many, n, min(options.rounds, 2), options.threads)
    z, _ = points(many, n)
    given = sum(x.nbytes for x in z.values()) / 2**20
    growth = grow(
        "ranking",
        "queries and items",
        sized([1250, 2500, 5000, 10_000], [100, 200, 400, 800]),
        lambda size: evaluation(*points(size, size)),
        threads=options.threads,
    )
    report(
        f"every figure of rankings, both directions, {CLASSES} classes, {K} dimensions",
        results | larger,
        options.out / "ranking.json",
        aims=[*aims, *more],
        growth=[growth],
        threads=options.threads,
        samples=f"scikit-learn ranks one query in {PEER} of each direction, np.argsort one in "
        f"{FLOOR}; their times are scaled to all of them, their memory is not",
        memory=f"the points of the larger case take {given:.1f} MiB; ours holds them once more at "
        f"unit length, {_BLOCK:,} similarities at a time, and the figures of each query",
    )


if __name__ == "__main__":
    main()

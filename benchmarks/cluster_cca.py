"""Fitting Cluster-CCA on rows as many and as wide as those of VEGAS: against CCA, against pairs.

Rows: 28,103 of 128 and 1024 float32 features in 10 classes, made up. Explicit pairing, CCA on every
pair of one class, is out of reach there (79 million pairs), so it is held against ours at 1,000
rows, which make 100,000 pairs; both find the same correlations. Aims: at most 1.3 times plain CCA
of the same rows; cost linear in rows.

    python benchmarks/cluster_cca.py [--threads 1] [--rounds 7] [--out build/benchmarks]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import earsight
from _growth import grow
from _harness import Aim, Task, compare, report, sized
from cca import P, Q, rows

CLASSES, RIDGE = 10, 0.1


def labelled(n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return two views and the class of each row, which moves both."""
    x, y = rows(n)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, n)
    for view in (x, y):
        view += rng.standard_normal((CLASSES, view.shape[1]), dtype=np.float32)[labels]
    return {"audio": x, "visual": y}, labels


def fit(name: str, views: dict[str, np.ndarray], labels: np.ndarray | None) -> Task:
    """Return a fit."""
    model: Any = earsight.method(name, ridge=RIDGE)
    return lambda: model.fit(views, labels=labels)


def pairs(views: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return every pair of one class as rows."""
    first, second = np.nonzero(labels[:, None] == labels)
    return {"audio": views["audio"][first], "visual": views["visual"][second]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    n, few = sized((28_103, 1000), (2000, 200))
    views, labels = labelled(n)
    tasks = {"earsight, cluster_cca": fit("cluster_cca", views, labels)}
    tasks["earsight, cca"] = fit("cca", views, None)
    results = compare(tasks, rounds=options.rounds, threads=options.threads)
    own, codes = labelled(few)
    explicit = pairs(own, codes)
    by_pairs = compare(
        {
            f"cluster_cca of {few:,} rows": fit("cluster_cca", own, codes),
            f"cca of their {len(explicit['audio']):,} pairs": fit("cca", explicit, None),
        },
        rounds=min(options.rounds, 3),
        threads=options.threads,
    )
    ours, theirs = (
        earsight.method(name, ridge=RIDGE, n_components=CLASSES - 1).fit(given, labels=own_labels)
        for name, given, own_labels in (
            ("cluster_cca", own, codes),
            ("cca", explicit, None),
        )
    )
    apart = np.abs(ours.correlations_ - theirs.correlations_).max()  # type: ignore[attr-defined]
    growth = grow(
        "cluster-cca",
        "rows",
        sized([7000, 14_000, 28_000, 56_000], [500, 1000, 2000, 4000]),
        lambda size: fit("cluster_cca", *labelled(size)),
        threads=options.threads,
    )
    report(
        f"Cluster-CCA, {n:,} × ({P}, {Q}), {CLASSES} classes, float32",
        results | by_pairs,
        options.out / "cluster_cca.json",
        aims=[Aim("times plain CCA", 1.3, 1 / results["earsight, cca"]["ratio"])],
        growth=[growth],
        threads=options.threads,
        ratios="the last two rows are held against each other",
        correlations_of_both_ways_differ_by_at_most=f"{apart:.1e}",
    )


if __name__ == "__main__":
    main()

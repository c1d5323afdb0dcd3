"""Scoring 10,000 queries on 10,000 items in 10 classes: against scikit-learn, and one argsort.

Aim: at least 8 times faster than scikit-learn's average precision, query by query. `evaluate` gives
every figure of both directions; the others give AP alone, or nothing but an order, and are run on
some of the queries and scaled to both directions of all of them.

    python benchmarks/ranking.py [--threads 1] [--rounds 5] [--out build/benchmarks]
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

import earsight
from _harness import compare, report

N, K, CLASSES = 10_000, 10, 10
PEER, FLOOR = 100, 1000  # queries given to scikit-learn and to argsort


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, N)
    centres = rng.normal(size=(CLASSES, K))
    z = {name: centres[labels] + 2 * rng.normal(size=(N, K)) for name in ("audio", "visual")}
    unit = {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in z.items()}
    similarity = unit["audio"][:FLOOR] @ unit["visual"].T

    def scikit_learn() -> float:
        rows = zip(labels[:PEER], similarity, strict=False)
        return float(np.mean([average_precision_score(labels == own, row) for own, row in rows]))

    results = compare(
        {
            "earsight": lambda: earsight.evaluate(z, labels=labels),
            "scikit-learn, one by one": scikit_learn,
            "np.argsort alone": lambda: np.argsort(similarity, axis=1),
        },
        rounds=options.rounds,
        threads=options.threads,
        scale={"scikit-learn, one by one": 2 * N / PEER, "np.argsort alone": 2 * N / FLOOR},
    )
    report(
        f"every figure of {N} × {N}, both directions, {CLASSES} classes",
        results,
        options.out / "ranking.json",
        threads=options.threads,
        scaled=f"scikit-learn from {PEER} queries, np.argsort from {FLOOR}; their memory is not",
        times_faster_than_scikit_learn=round(results["scikit-learn, one by one"]["ratio"], 1),
    )


if __name__ == "__main__":
    main()

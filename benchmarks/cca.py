"""Fitting CCA on 20,000 rows of 128 and 1024 features: against its products, and cca-zoo.

The floor is the three matrix products alone, `x.T @ x, y.T @ y, x.T @ y` in float32: numpy gives
the symmetric two to BLAS's own routine for them, at half the work. Aims: at most 1.5 times the
products, at least 4 times faster than cca-zoo, at most 64 MiB beside the data.

    python benchmarks/cca.py [--threads 1] [--rounds 11] [--out build/benchmarks]
"""

import argparse
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from threadpoolctl import threadpool_limits

import earsight
from _growth import grow
from _harness import Aim, Task, compare, report, sized, with_peers
from earsight import arrays, covariance, linalg

P, Q, K = 128, 1024, 10
FLOOR, PEER = "three products alone, float32", "cca-zoo"
STEPS = {
    "looking for NaN and infinity": (arrays, "bad_rows"),
    "shift, products, sums": (covariance.Moments, "add"),
    "covariances from the sums": (covariance.Moments, "covariance"),
    "whitening, singular values, weights": (linalg, "cca"),
}


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two views that share twenty dimensions of noise, float32."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 20), dtype=np.float32)
    x, y = (
        shared @ rng.standard_normal((20, d), dtype=np.float32)
        + 4 * rng.standard_normal((n, d), dtype=np.float32)
        for d in (P, Q)
    )
    return x, y


def fit(x: np.ndarray, y: np.ndarray) -> Task:
    """Return our fit."""
    model = earsight.method("cca", n_components=K, ridge=0)
    return lambda: model.fit({"audio": x, "visual": y})


def zoo(x: np.ndarray, y: np.ndarray) -> Task:
    """Return the peer's fit."""
    from cca_zoo.linear import CCA

    warnings.simplefilter("ignore")
    return lambda: CCA(n_components=K).fit([x, y])


def steps(task: Task, floor: Task, rounds: int, threads: int) -> str:
    """Say what each step of a fit takes of the processor, and the floor: the least of all runs."""
    spent: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **keywords: Any) -> Any:
            begun = time.process_time()
            try:
                return call(*args, **keywords)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - begun

        return wrapped

    runs = []
    with threadpool_limits(threads):
        for _ in range(sized(rounds, 1)):
            spent.clear()
            timed("the products alone", floor)()
            with ExitStack() as patched:
                for name, (owner, routine) in STEPS.items():
                    call = timed(name, getattr(owner, routine))
                    patched.enter_context(patch.object(owner, routine, call))
                timed("the whole fit", task)()
            runs.append(dict(spent))
    return "; ".join(f"{name} {1000 * min(one[name] for one in runs):.0f}" for name in runs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    n = sized(20_000, 2000)
    x, y = rows(n)

    def floor() -> object:
        return x.T @ x, y.T @ y, x.T @ y

    tasks, missing = with_peers(
        {"earsight": fit(x, y), FLOOR: floor},
        {PEER: lambda: zoo(x, y)},
    )
    results = compare(tasks, rounds=options.rounds, threads=options.threads)
    aims = [
        Aim("times the products", 1.5, 1 / results[FLOOR]["ratio"]),
        Aim("MiB beside the data", 64, results["earsight"]["peak_mib"]),
    ]
    if PEER in results:
        aims.append(Aim("times faster than cca-zoo", 4, results[PEER]["ratio"], at_least=True))
    growth = grow(
        "cca",
        "rows",
        sized([5000, 10_000, 20_000, 40_000, 80_000], [500, 1000, 2000, 4000]),
        lambda size: fit(*rows(size)),
        threads=options.threads,
    )
    report(
        f"CCA, {n:,} × ({P}, {Q}), {K} components, float32",
        results,
        options.out / "cca.json",
        aims=aims,
        growth=[growth],
        threads=options.threads,
        milliseconds=steps(fit(x, y), floor, options.rounds, options.threads),
        **missing,
    )


if __name__ == "__main__":
    main()

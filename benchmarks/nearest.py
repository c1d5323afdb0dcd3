"""The ten best of many, exactly: `earsight.nearest.top` against FAISS's flat index.

FAISS compares in single precision; ours gives the order of exact arithmetic. FAISS is handed unit
vectors in its own index, ours takes the gallery as it is and scales it anew each time.

    python benchmarks/nearest.py [--rounds 2] [--out build/benchmarks]
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from _growth import grow, resident_extra_mib
from _harness import Aim, Task, compare, report, sized, with_peers
from earsight.nearest import top

K = 10
CASES = sized(((1_000_000, 10, 10_000), (200_000, 384, 10_000)), ((5_000, 10, 50), (4_000, 32, 50)))
SIZES = sized((50_000, 100_000, 200_000, 400_000), (1000, 2000, 4000, 8000))


def vectors(n: int, width: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def flat(items: np.ndarray, queries: np.ndarray, threads: int) -> Task:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return lambda: index.search(queries, K)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    results, aims, missing = {}, [], {}
    for n, width, m in CASES:
        items, queries = vectors(n, width, 0), vectors(m, width, 1)
        case = f"{m:,} queries in {n:,} × {width}"
        tasks, missing = with_peers(
            {f"earsight, {case}": lambda items=items, q=queries: top(q, items, K)},
            {f"FAISS flat, {case}": lambda i=items, q=queries: flat(i, q, options.threads)},
        )
        found = compare(tasks, rounds=options.rounds, threads=options.threads, peaks=False)
        results |= found
        if not missing:
            theirs = found[f"FAISS flat, {case}"]["ratio"]
            aims.append(Aim(f"times FAISS flat, {case}", 1.2, round(1 / theirs, 2)))
    queries = vectors(sized(1000, 20), 10, 1)
    growth = grow(
        "nearest",
        "items of 10 dimensions",
        SIZES,
        lambda n: partial(top, queries, vectors(n, 10, 0), K),
        memory=resident_extra_mib,
    )
    report(
        f"the {K} best by cosine, exactly",
        results,
        options.out / "nearest.json",
        aims=aims,
        growth=[growth],
        threads=options.threads,
        **missing,
    )


if __name__ == "__main__":
    main()

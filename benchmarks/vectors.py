"""One question to a large table of vectors: against LanceDB bare, FAISS flat, and an exact scan.

"earsight" is what an open library asks: the table held in memory where it fits (256 MiB, then
exact), or else LanceDB's index, the answers scored in double precision. "LanceDB bare" is a search
of the very table, kept open, returning keys and distances. FAISS flat and the product with every
row have all vectors in memory, at unit length. All on one thread but LanceDB, which has its own.
Vectors are drawn around 1,000 centres, as clips of classes are; and once without any ("no groups":
24 hidden numbers and noise of a quarter of the energy), where LanceDB's own 20 parts find too few,
so that nothing is said of the time over it. Each contender has answered as many other questions
before those that count: parts of the index are read when they are first asked for. Cold: the first
question of a new process, straight to the table, after the system has been asked to forget its
files; the import of LanceDB is not counted.

    python benchmarks/vectors.py [--threads 1] [--out build/benchmarks]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lancedb
import numpy as np

from _harness import Aim, answered, percentiles, report, sized, with_peers
from disk import forget
from earsight.similarity import top
from earsight.vectors import InMemoryIndex, LanceIndex, Row

K, BATCH, QUESTIONS = 10, sized(50_000, 500), sized(100, 5)
PART = 50_000  # items compared at a time
CASES = sized(
    [(n, width, True) for n in (100_000, 1_000_000) for width in (10, 384)]
    + [(300_000, 384, False)],
    [(1_000, 10, True), (2_000, 10, False)],
)
P50 = {10: 5.0, 384: 20.0}  # milliseconds
Ask = Callable[[np.ndarray], list[str]]
Table = dict[str, dict[str, Any]]


def drawn(rng: np.random.Generator, shape: np.ndarray, n: int, grouped: bool) -> np.ndarray:
    if grouped:
        x = shape[rng.integers(0, len(shape), n)]
        x = x + 0.7 * rng.standard_normal(x.shape, dtype=np.float32)
    else:
        x = rng.standard_normal((n, len(shape)), dtype=np.float32) @ shape / len(shape) ** 0.5
        x += 0.5 * rng.standard_normal(x.shape, dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def build(folder: Path, n: int, width: int, grouped: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Write a table; return all vectors, questions, and the seconds that writing took."""
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(1000 if grouped else 24, width)).astype(np.float32)
    items = np.empty((n, width), np.float32)
    index = LanceIndex(folder, "vectors")
    begun = time.perf_counter()
    index.create(width)
    for start in range(0, n, BATCH):
        stop = min(start + BATCH, n)
        items[start:stop] = drawn(rng, shape, stop - start, grouped)
        rows = [Row(f"{i:08d}", f"{i:08d}", "visual", 0, 0.0, 1.0) for i in range(start, stop)]
        index.upsert(rows, items[start:stop])
    index.optimize()
    return items, drawn(rng, shape, 2 * QUESTIONS, grouped), time.perf_counter() - begun


def case(n: int, width: int, grouped: bool) -> str:
    return f"{n:,} × {width}" + ("" if grouped else ", no groups")


def contenders(
    index: InMemoryIndex | LanceIndex, folder: Path, items: np.ndarray, threads: int
) -> tuple[dict[str, Ask], dict[str, str]]:
    """Return what gives the keys of the best for a question, and which peers are missing."""
    table = lancedb.connect(str(folder)).open_table("vectors")

    def bare(question: np.ndarray) -> list[str]:
        found = table.search(question).distance_type("cosine").select(["key", "_distance"])
        return [row["key"] for row in found.limit(K).to_list()]

    def every(question: np.ndarray) -> list[str]:
        similar = items @ question
        best = np.argpartition(similar, -K)[-K:]
        return [f"{i:08d}" for i in best[np.argsort(-similar[best])]]

    def flat() -> Ask:
        import faiss

        faiss.omp_set_num_threads(threads)
        held = faiss.IndexFlatIP(items.shape[1])
        held.add(items)
        return lambda question: [f"{i:08d}" for i in held.search(question[None], K)[1][0]]

    tasks: dict[str, Any] = {
        "earsight": lambda question: [hit.row.key for hit in index.search(question[None], K)[0]],
        "LanceDB bare": bare,
        "an exact scan": every,
    }
    return with_peers(tasks, {"FAISS flat": flat})


def best_of(items: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Return the K best of all items for each question, exactly; a part at a time, for memory."""
    found = []
    for start in range(0, len(items), PART):
        rows, scores = top(questions, items[start : start + PART], K)
        found.append((rows + start, scores))
    rows, scores = (np.hstack(parts) for parts in zip(*found, strict=True))
    return np.take_along_axis(rows, np.lexsort((rows, -scores))[:, :K], axis=1)


def of_table(
    folder: Path, n: int, width: int, grouped: bool, threads: int
) -> tuple[Table, float, dict[str, str]]:
    """Return the rows of one case, our median ms over LanceDB bare, and the missing peers."""
    items, questions, written = build(folder, n, width, grouped)
    truth = [{f"{i:08d}" for i in row} for row in best_of(items, questions)]
    begun = time.perf_counter()
    held = InMemoryIndex.of(LanceIndex(folder, "vectors"))
    opened = time.perf_counter() - begun
    tasks, missing = contenders(held or LanceIndex(folder, "vectors"), folder, items, threads)
    right: dict[str, list[float]] = {name: [] for name in tasks}

    def asked(name: str, number: int) -> None:
        right[name].append(len(truth[number] & {*tasks[name](questions[number])}) / K)

    ways = {name: partial(asked, name) for name in tasks}
    times = answered(ways, QUESTIONS, before=QUESTIONS, threads=threads)
    rows: Table = {}
    for name, row in percentiles(times).items():
        rows[f"{name}, {case(n, width, grouped)}"] = row | {
            "recall": round(float(np.mean(right[name])), 4)
        }
    ours, bare, *_ = rows.values()
    over = 1000 * float(np.median(np.subtract(times["earsight"], times["LanceDB bare"])))
    ours["cold ms"], bare["cold ms"] = (cold(folder, questions[0], code) for code in COLD)
    ours["held"] = f"in {opened:.1f} s" if held else "no"
    ours["written in s"] = round(written)
    return rows, over, missing


COLD = (
    f"LanceIndex(Path(folder), 'vectors').search(q, {K})",
    "lancedb.connect(folder).open_table('vectors').search(q[0]).distance_type('cosine')"
    f".select(['key', '_distance']).limit({K}).to_list()",
)


def cold(folder: Path, question: np.ndarray, ask: str) -> float:
    """Return the milliseconds of a first question, without the import of LanceDB."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            forget(file)
    code = (
        "import json, sys, time, lancedb, numpy as np; from pathlib import Path\n"
        "from earsight.vectors import LanceIndex\n"
        "folder, question = json.loads(sys.stdin.read()); q = np.array([question], np.float32)\n"
        f"begun = time.perf_counter(); {ask}\n"
        "print(1000 * (time.perf_counter() - begun))"
    )
    given = json.dumps([str(folder), question.tolist()])
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return round(float(done.stdout), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    results: Table = {}
    aims, recalls, over = [], [], []
    missing: dict[str, str] = {}
    for n, width, grouped in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows, slower, missing = of_table(Path(folder), n, width, grouped, options.threads)
        results |= rows
        ours, name = next(iter(rows.values())), case(n, width, grouped)
        recalls.append(ours["recall"])
        over += [slower] if grouped else []
        if width in P50:
            aims.append(Aim(f"ms, median, {name}", P50[width], ours["p50 ms"]))
    aims.append(Aim("recall, the least", 0.99, min(recalls), at_least=True))
    aims.append(Aim("ms over LanceDB bare where there are groups, the most", 1.0, max(over)))
    report(
        f"the {K} best of a table on disk, one question at a time",
        results,
        options.out / "vectors.json",
        aims=aims,
        threads=options.threads,
        questions=f"{QUESTIONS} a case, to each contender in turns",
        **missing,
    )


if __name__ == "__main__":
    main()

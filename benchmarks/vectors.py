"""One question to a large table of vectors: ours against LanceDB bare, and against every row.

"earsight" is what an open library asks: the table held in memory where it fits (256 MiB, then
exact), or else LanceDB's index, the answers scored in double precision. "LanceDB bare" is a search
of the very table, kept open, returning keys and distances. Vectors are drawn around 1,000 centres,
as clips of classes are. Cold: the first question of a new process, straight to the table; the pages
of its files may still be in the system's cache.

    python benchmarks/vectors.py [--questions 200] [--out build/benchmarks]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lancedb
import numpy as np

from _harness import Aim, report, sized
from earsight.nearest import top
from earsight.vectors import HeldIndex, LanceIndex, Row

K, BATCH = 10, sized(50_000, 500)
CASES = sized(
    [(n, width) for n in (100_000, 1_000_000) for width in (10, 384, 394)],
    [(1_000, 10), (2_000, 10)],
)
P50 = {10: 5.0, 384: 20.0}  # milliseconds


def drawn(rng: np.random.Generator, centres: np.ndarray, n: int) -> np.ndarray:
    x = centres[rng.integers(0, len(centres), n)]
    x = x + 0.7 * rng.normal(size=x.shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def build(folder: Path, n: int, width: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Write a table; return all vectors, questions, and the seconds that writing took."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, width)).astype(np.float32)
    items = np.empty((n, width), np.float32)
    index = LanceIndex(folder, "vectors")
    begun = time.perf_counter()
    index.create(width)
    for start in range(0, n, BATCH):
        stop = min(start + BATCH, n)
        items[start:stop] = drawn(rng, centres, stop - start)
        rows = [Row(f"{i:08d}", f"{i:08d}", "visual", 0, 0.0, 1.0) for i in range(start, stop)]
        index.upsert(rows, items[start:stop])
    index.optimize()
    return items, drawn(rng, centres, sized(200, 5)), time.perf_counter() - begun


def timed(
    ask: Callable[[np.ndarray], list[str]], questions: np.ndarray
) -> tuple[list[float], list]:
    seconds, answers = [], []
    for question in questions:
        begun = time.perf_counter()
        answers.append(ask(question))
        seconds.append(time.perf_counter() - begun)
    return seconds, answers


def of_table(folder: Path, n: int, width: int) -> dict[str, dict[str, object]]:
    items, questions, written = build(folder, n, width)
    truth = [{f"{i:08d}" for i in row} for row in top(questions, items, K)[0]]
    table = lancedb.connect(str(folder)).open_table("vectors")
    begun = time.perf_counter()
    held = HeldIndex.of(LanceIndex(folder, "vectors"))
    index = held or LanceIndex(folder, "vectors")
    opened = time.perf_counter() - begun

    def ours(question: np.ndarray) -> list[str]:
        return [hit.row.key for hit in index.search(question[None], K)[0]]

    def bare(question: np.ndarray) -> list[str]:
        found = table.search(question).distance_type("cosine").select(["key", "_distance"])
        return [row["key"] for row in found.limit(K).to_list()]

    def every(question: np.ndarray) -> list[str]:
        similar = items @ question
        best = np.argpartition(similar, -K)[-K:]
        return [f"{i:08d}" for i in best]

    case, rows = f"{n:,} × {width}", {}
    contenders = {"earsight": ours, "LanceDB bare": bare, "a product with every row": every}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, list[list[str]]] = {name: [] for name in contenders}
    for ask in contenders.values():
        timed(ask, questions[:20])
    for question in questions:  # in turns, so that a slow second hits all of them
        for name, ask in contenders.items():
            seconds, found = timed(ask, question[None])
            times[name] += seconds
            answers[name] += found
    for name in contenders:
        recall = np.mean([len(t & set(a)) / K for t, a in zip(truth, answers[name], strict=True)])
        p50, p99 = 1000 * np.percentile(times[name], [50, 99])
        rows[f"{name}, {case}"] = {
            "p50 ms": round(float(p50), 2),
            "p99 ms": round(float(p99), 2),
            "recall": round(float(recall), 4),
        }
    rows[f"earsight, {case}"]["held"] = f"in {opened:.1f} s" if held else "no"
    rows[f"earsight, {case}"] |= {
        "cold ms": cold(folder, questions[0]),
        "written in s": round(written),
    }
    over = 1000 * np.median(np.subtract(times["earsight"], times["LanceDB bare"]))
    rows[f"earsight, {case}"]["over bare ms"] = round(float(over), 2)
    return rows


def cold(folder: Path, question: np.ndarray) -> float:
    """Return the milliseconds of a first question, without the import of LanceDB."""
    code = (
        "import json, sys, time, lancedb, numpy as np; from pathlib import Path\n"
        "from earsight.vectors import LanceIndex\n"
        "folder, question = json.loads(sys.stdin.read()); q = np.array([question], np.float32)\n"
        f"begun = time.perf_counter(); LanceIndex(Path(folder), 'vectors').search(q, {K})\n"
        "print(1000 * (time.perf_counter() - begun))"
    )
    given = json.dumps([str(folder), question.tolist()])
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return round(float(done.stdout), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    results: dict[str, dict[str, object]] = {}
    aims = []
    for n, width in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows = of_table(Path(folder), n, width)
        results |= rows
        ours, case = rows[f"earsight, {n:,} × {width}"], f"{n:,} × {width}"
        aims.append(Aim(f"ms over LanceDB bare, {case}", 1.0, float(str(ours["over bare ms"]))))
        aims.append(Aim(f"recall, {case}", 0.99, float(str(ours["recall"])), at_least=True))
        if width in P50:
            aims.append(Aim(f"ms, median, {case}", P50[width], float(str(ours["p50 ms"]))))
    report(
        f"the {K} best of a table on disk, one question at a time",
        results,
        options.out / "vectors.json",
        aims=aims,
    )


if __name__ == "__main__":
    main()

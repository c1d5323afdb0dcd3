"""Fitting CCA from a file larger than memory should hold: against reading alone, and the products.

A feature file of 2 million rows of 128 and 1024 float32 features (9.2 GB) is made in the temporary
folder (TMPDIR says where) and deleted; with less than 20 GB free there it is left out, with the
reason. Each contender is a process of its own that reads from the disk, not from what the system
still remembers of the file, and the peak is all that this process ever held. The products alone
run over rows that lie in memory, as many of them. Aims: at most 1.2 times the larger of reading
and products; the same memory at 0.2 and at 2 million rows.

    python benchmarks/disk.py [--threads 1] [--rounds 3] [--rows 2000000] [--out build/benchmarks]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

import earsight
from _growth import peak_resident_mib
from _harness import Aim, report, sized
from cca import P, Q, rows
from earsight.features import FeatureBatches

MADE = 100_000  # different rows; the file repeats them
NEEDED = 20 * 10**9
ONE = 20_000  # rows that the products alone go over again and again


def write(file: Path, n: int) -> None:
    """Write a feature file of n rows, and see it onto the disk."""
    import h5py

    few = min(n, MADE)
    views = dict(zip(("audio", "visual"), rows(few), strict=True))
    with h5py.File(file, "w", track_order=True) as out:
        for name, x in views.items():
            array = out.create_dataset(name, shape=(n, x.shape[1]), dtype=x.dtype)
            for start in range(0, n, few):
                array[start : start + few] = x[: min(few, n - start)]
        out.attrs["format"] = 1
        out.attrs["modalities"] = json.dumps([*views])
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def forget(file: Path) -> None:
    """Have the system forget what it remembers of a file."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fit(file: Path, n: int) -> None:
    """Fit from the file."""
    earsight.method("cca", ridge=0).fit_batches(FeatureBatches(file))


def read(file: Path, n: int) -> None:
    """Read the file in the same batches, and do nothing with them."""
    for _ in FeatureBatches(file)._read():
        pass


def multiply(file: Path, n: int) -> None:
    """Do the three products of n rows, which lie in memory."""
    x, y = rows(min(n, ONE))
    begun = time.perf_counter()
    for start in range(0, n, ONE):
        a, b = x[: n - start], y[: n - start]
        _ = (a.T @ a, b.T @ b, a.T @ b)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


TASKS = {"earsight, from disk": fit, "reading alone": read, "products alone": multiply}


def alone(name: str, file: Path, n: int, threads: int) -> tuple[float, float]:
    """Run one contender in a process of its own; return seconds, and the peak in MiB."""
    forget(file)
    command = [sys.executable, __file__, "--task", name, "--file", str(file), "--rows", str(n)]
    command += ["--threads", str(threads)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, float] = {}
    for line in run.stdout.splitlines():
        told = json.loads(line) | told
    return told["seconds"], told["peak_mib"]


def measure(
    n: int, rounds: int, threads: int, folder: Path
) -> tuple[dict[str, dict[str, float]], float]:
    """Return the rows of the table, and how often the larger of both floors our time is."""
    file = folder / f"{n}.h5"
    write(file, n)
    try:
        found = [{k: alone(k, file, n, threads) for k in TASKS} for _ in range(rounds)]
    finally:
        file.unlink()
    ours = next(iter(TASKS))
    table = {
        f"{name}, {n:,} rows": {
            "seconds": statistics.median(one[name][0] for one in found),
            "ratio": statistics.median(one[name][0] / one[ours][0] for one in found),
            "peak_mib": max(one[name][1] for one in found),
            "rounds": rounds,
        }
        for name in TASKS
    }
    _, *floors = TASKS
    times = statistics.median(one[ours][0] / max(one[f][0] for f in floors) for one in found)
    return table, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=sized(2_000_000, 40_000))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        fit_few = earsight.method("cca", ridge=0).fit  # what is imported for it is not timed
        fit_few(dict(zip(("audio", "visual"), rows(2 * Q), strict=True)))
        with threadpool_limits(options.threads):
            begun = time.perf_counter()
            TASKS[options.task](options.file, options.rows)
            seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, "peak_mib": peak_resident_mib()}))
        return
    few = options.rows // 10
    with tempfile.TemporaryDirectory() as folder:
        free = shutil.disk_usage(folder).free
        results, times = measure(few, sized(options.rounds, 1), options.threads, Path(folder))
        aims = [Aim(f"times the larger floor, {few:,} rows", 1.2, times)]
        facts = {}
        if free >= sized(NEEDED, 0):
            more, times = measure(options.rows, 1, options.threads, Path(folder))
            results |= more
            peaks = [row["peak_mib"] for name, row in results.items() if name.startswith("earsi")]
            aims.append(Aim(f"times the larger floor, {options.rows:,} rows", 1.2, times))
            aims.append(Aim("peak at all rows over that at a tenth", 1.1, peaks[1] / peaks[0]))
        else:
            facts["left_out"] = (
                f"{options.rows:,} rows: they need {NEEDED / 1e9:.0f} GB free for temporary files, "
                f"and there are {free / 1e9:.0f}; set TMPDIR to a folder with more"
            )
    report(
        f"CCA from disk, up to {options.rows:,} × ({P}, {Q}) float32",
        results,
        options.out / "disk.json",
        aims=aims,
        threads=options.threads,
        beside="one thread of Python that reads ahead",
        peak="all that the process held, libraries and three batches of 4,096 rows (19 MB each) "
        "included; it differs by as much from run to run",
        **facts,
    )


if __name__ == "__main__":
    main()

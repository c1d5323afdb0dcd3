"""Times several ways of doing one thing against each other, so that the ratio can be trusted.

All run in one process, with the same number of BLAS threads, in turns: a slow second of the
machine hits all of them alike. Of each round the ratio to Earsight's own contender is kept; what is
reported is the median of the ratios, not the ratio of medians.

`EARSIGHT_BENCH_QUICK=1` (`python -m benchmarks --quick`) shrinks the work to a smoke test.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

Task = Callable[[], object]
Sized = TypeVar("Sized")

ABSENT = 77  # the exit code of a benchmark that lacks what it needs, as of automake's tests
OTHER_WEIGHTS = "has the wrong "  # as in __main__.py
PACKAGES = ("numpy", "scipy", "scikit-learn", "cca-zoo", "pytorch-metric-learning", "torch", "h5py",
            "onnxruntime", "av", "lancedb", "faiss-cpu")  # fmt: skip


class Aim(NamedTuple):
    """What was wished for, and what came.

    Attributes:
        what: In words, such as "times the products".
        limit: The bound.
        got: The measured number.
        at_least: Whether more is better.
    """

    what: str
    limit: float
    got: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the number is on the right side of the bound."""
        return self.got >= self.limit if self.at_least else self.got <= self.limit


def is_quick() -> bool:
    """Return whether only a smoke test is wanted."""
    return os.environ.get("EARSIGHT_BENCH_QUICK") == "1"


def sized(full: Sized, quick: Sized) -> Sized:
    """Return the size of the work: the full one, or that of a smoke test."""
    return quick if is_quick() else full


def compare(
    tasks: Mapping[str, Task],
    *,
    rounds: int = 7,
    threads: int = 1,
    scale: Mapping[str, float] = {},
    against: Mapping[str, str] = {},
    peaks: bool = True,
) -> dict[str, dict[str, float]]:
    """Time each task `rounds` times in turns, after one round that does not count.

    Args:
        tasks: name → what to run.
        rounds: How often each is timed.
        threads: BLAS and OpenMP threads.
        scale: name → what its time is multiplied by, where a task does a part of the work.
        against: name → the task that it is held against; those not named, against the first.
        peaks: Measure memory, too, in a run more; of no use where others than Python allocate.

    Returns:
        name → seconds (median), ratio (median over rounds of its time over that of the task it is
        held against), rounds, and peak_mib (what it allocated at most, numpy's arrays included, in
        a run that is not timed).
    """
    rounds = sized(rounds, 1)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    with threadpool_limits(threads):
        for turn in range(rounds + 1):
            for name, task in tasks.items():
                start = time.perf_counter()
                task()
                if turn:
                    times[name].append((time.perf_counter() - start) * scale.get(name, 1.0))
        most = {name: peak_mib(task) for name, task in tasks.items()} if peaks else {}
    return summary(times, most, against)


def summary(
    times: Mapping[str, Sequence[float]],
    peaks: Mapping[str, float],
    against: Mapping[str, str] = {},
) -> dict[str, dict[str, float]]:
    """Return the rows of a table from the seconds of each round."""
    first = next(iter(times))
    rows: dict[str, dict[str, float]] = {}
    for name, own in times.items():
        ratio = _ratio(own, times[against.get(name, first)])
        rows[name] = {"seconds": statistics.median(own), "ratio": ratio}
        rows[name] |= {"peak_mib": peaks[name]} if name in peaks else {}
        rows[name]["rounds"] = len(own)
    return rows


def _ratio(own: Sequence[float], other: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def answered(
    tasks: Mapping[str, Callable[[int], object]],
    questions: int,
    *,
    before: int = 0,
    threads: int = 1,
) -> dict[str, list[float]]:
    """Put the same questions to each task in turns, after some that do not count.

    Args:
        tasks: name → what answers a question, by its number. From 0 on they count; those that do
            not have the numbers from `questions` on.
        questions: How many count.
        before: How many do not; 0: a tenth of those that do.
        threads: BLAS and OpenMP threads.

    Returns:
        name → the seconds of each question.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    before = before or -(-questions // 10)
    with threadpool_limits(threads):
        for number in [*range(questions, questions + before), *range(questions)]:
            for name, task in tasks.items():
                start = time.perf_counter()
                task(number)
                times[name].append(time.perf_counter() - start)
    return {name: own[-questions:] for name, own in times.items()}


def percentiles(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Return p50 and p99 in milliseconds, and the median of the ratios to the first task."""
    first = next(iter(times.values()))
    made = {}
    for name, own in times.items():
        p50, p99 = (round(1000 * float(x), 2) for x in np.percentile(own, [50, 99]))
        made[name] = {"p50 ms": p50, "p99 ms": p99, "ratio": _ratio(own, first)}
    return made


def peak_mib(task: Task) -> float:
    """Run a task once and return what it allocated at most in MiB, numpy's arrays included."""
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def with_peers(
    tasks: Mapping[str, Task], peers: Mapping[str, Callable[[], Task]]
) -> tuple[dict[str, Task], dict[str, str]]:
    """Add the peers that are installed.

    Args:
        tasks: What is always there.
        peers: name → a function that imports the peer and returns its task.

    Returns:
        All tasks, and name → why a peer is missing.
    """
    found, missing = dict(tasks), {}
    for name, make in peers.items():
        try:
            found[name] = make()
        except ImportError as error:
            missing[name] = f"not measured: {error}. It comes with the extra [bench]."
    return found, missing


def absent(why: str) -> NoReturn:
    """End a benchmark that lacks what it needs: the page says why, and nothing has failed."""
    print(why, file=sys.stderr)
    raise SystemExit(ABSENT)


def only_absent(error: Exception) -> str:
    """Return why weights cannot be had; weights that were had and are others are a fault."""
    if OTHER_WEIGHTS in str(error):
        raise error
    return str(error)


def measured() -> dict[str, Any]:
    """Return what a number depends on: the machine, its load, versions, and the commit."""
    root = Path(__file__).parent
    commit = _git("rev-parse", "--short", "HEAD", folder=root)
    changed = _git("status", "--porcelain", "--", "../src", ".", folder=root)
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "commit": (commit or "unknown") + (" and changes" if changed else ""),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _git(*words: str, folder: Path) -> str:
    try:
        run = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except OSError:  # no git
        return ""
    return run.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def report(
    title: str,
    results: Mapping[str, Mapping[str, Any]],
    file: Path,
    *,
    aims: Sequence[Aim] = (),
    growth: Sequence[Mapping[str, Any]] = (),
    **facts: Any,
) -> None:
    """Print a table and write it, with the machine and what else should be known, as JSON.

    Args:
        title: What was done.
        results: Contender → column → value.
        file: Where the JSON goes.
        aims: What was wished for; a smoke test is not held to it.
        growth: What `_growth.grow` returned.
        facts: Whatever else should stand below the table.
    """
    aims = () if is_quick() else aims
    print(f"\n{title}")
    for key, value in facts.items():
        print(f"  {key}: {value}")
    for name, row in results.items():
        cells = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                 for key, value in row.items())  # fmt: skip
        print(f"  {name:36}" + "  ".join(cells))
    for aim in aims:
        print(f"  {'met' if aim.met else 'NOT MET'}: {_told(aim)}")
    for curve in growth:
        print(f"  {curve['name']}: time ~ n^{curve['time']:.2f}, memory ~ n^{curve['memory']:.2f}")
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "title": title,
        "results": results,
        "facts": facts,
        "aims": [{"told": _told(aim), "met": aim.met} for aim in aims],
        "growth": list(growth),
        "measured": measured(),
    }
    file.write_text(json.dumps(record, indent=1))
    print(f"\n  written to {file}")


def _told(aim: Aim) -> str:
    return f"{aim.what}: {aim.got:.2f} ({'≥' if aim.at_least else '≤'} {aim.limit:g})"

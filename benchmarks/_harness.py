"""Times several ways of doing one thing against each other, so that the ratio can be trusted.

All run in one process, with the same number of BLAS threads, in turns: a slow second of the
machine hits all of them alike. Of each round the ratio to the first contender is kept; what is
reported is the median of the ratios, not the ratio of medians.
"""

import json
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

Task = Callable[[], object]


def compare(
    tasks: Mapping[str, Task], *, rounds: int = 7, threads: int = 1, scale: Mapping[str, float] = {}
) -> dict[str, dict[str, float]]:
    """Time each task `rounds` times in turns, after one round that does not count.

    Args:
        tasks: name → what to run; the first is what the others are held against.
        rounds: How often each is timed.
        threads: BLAS and OpenMP threads.
        scale: name → what its time is multiplied by, where a task does a part of the work.

    Returns:
        name → seconds (median), ratio (median over rounds of its time over the first's), and
        peak_mib (what it allocated at most, numpy's arrays included, in a run that is not timed).
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    with threadpool_limits(threads):
        for turn in range(rounds + 1):
            for name, task in tasks.items():
                start = time.perf_counter()
                task()
                if turn:
                    times[name].append((time.perf_counter() - start) * scale.get(name, 1.0))
        peaks = {name: _peak_mib(task) for name, task in tasks.items()}
    first = next(iter(times.values()))
    return {
        name: {
            "seconds": statistics.median(own),
            "ratio": statistics.median(a / b for a, b in zip(own, first, strict=True)),
            "peak_mib": peaks[name],
        }
        for name, own in times.items()
    }


def _peak_mib(task: Task) -> float:
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def report(
    title: str, results: Mapping[str, Mapping[str, float]], file: Path, **facts: Any
) -> None:
    """Print a table and write it, with the machine and what else should be known, as JSON."""
    print(f"\n{title}")
    for key, value in facts.items():
        print(f"  {key}: {value}")
    print(f"\n  {'':32}{'seconds':>10}{'ratio':>8}{'peak MiB':>10}")
    for name, row in results.items():
        print(f"  {name:32}{row['seconds']:10.3f}{row['ratio']:8.2f}{row['peak_mib']:10.1f}")
    machine = {"processor": platform.processor() or platform.machine(), "system": platform.system()}
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"title": title, "results": results, "facts": facts, "machine": machine}
    file.write_text(json.dumps(record, indent=1))
    print(f"\n  written to {file}")

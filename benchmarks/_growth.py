"""Growth: the same work at several sizes, the exponent of its time and memory, and a picture."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from _harness import Task, is_quick, peak_mib, sized

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def grow(
    name: str,
    unit: str,
    sizes: Sequence[int],
    make: Callable[[int], Task],
    *,
    rounds: int = 3,
    threads: int = 1,
    memory: Callable[[Task], float] = peak_mib,
) -> dict[str, Any]:
    """Time one kind of work at four or more sizes and fit time = a·n^b, memory likewise.

    Args:
        name: Of the curve; its picture is `docs/pictures/growth-<name>.svg`.
        unit: What a size counts, such as "rows".
        sizes: At least four, rising.
        make: Prepares the work of one size; what it returns is timed.
        rounds: How often each size is timed, in turns; the median counts.
        threads: BLAS and OpenMP threads.
        memory: Runs a task and returns its peak in MiB; as a rule what Python allocates.

    Returns:
        What `report` takes: name, unit, rows (size, seconds, peak_mib), exponents `time` and
        `memory`, and the name of the picture.

    Raises:
        ValueError: Fewer than four sizes.
    """
    if len(sizes) < 4:
        raise ValueError(f"A growth curve needs at least four sizes; got {len(sizes)}.")
    tasks = {n: make(n) for n in sizes}
    times: dict[int, list[float]] = {n: [] for n in sizes}
    with threadpool_limits(threads):
        for turn in range(sized(rounds, 1) + 1):
            for n, task in tasks.items():
                start = time.perf_counter()
                task()
                if turn:
                    times[n].append(time.perf_counter() - start)
        peaks = {n: memory(task) for n, task in tasks.items()}
    rows = [
        {"size": n, "seconds": statistics.median(own), "peak_mib": peaks[n]}
        for n, own in times.items()
    ]
    return curve(name, unit, rows)


def curve(name: str, unit: str, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the record of a curve from rows (size, seconds, peak_mib), and draw it."""
    sizes = [row["size"] for row in rows]
    record = {
        "name": name,
        "unit": unit,
        "rows": [dict(row) for row in rows],
        "time": exponent(sizes, [row["seconds"] for row in rows]),
        "memory": exponent(sizes, [row["peak_mib"] for row in rows]),
        "picture": f"growth-{name}.svg",
    }
    if not is_quick():
        draw(record, PICTURES / str(record["picture"]))
    return record


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return b of the least-squares fit log v = log a + b·log n.

    >>> round(exponent([1, 2, 4, 8], [3, 12, 48, 192]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def draw(record: Mapping[str, Any], file: Path) -> None:
    """Draw time and memory over size, both axes logarithmic, with the fitted lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = np.array([row["size"] for row in record["rows"]], dtype=float)
    with pyplot.rc_context({"svg.hashsalt": "earsight", "font.size": 9}):
        figure, axes = pyplot.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
        for axis, column, label, slope in (
            (axes[0], "seconds", "seconds", record["time"]),
            (axes[1], "peak_mib", "peak MiB", record["memory"]),
        ):
            values = np.array([row[column] for row in record["rows"]])
            at_one = np.exp(np.mean(np.log(values) - slope * np.log(sizes)))
            axis.loglog(sizes, values, "o", color="#1b6ca8")
            axis.loglog(sizes, at_one * sizes**slope, "-", color="#d1495b", lw=1)
            axis.set(xlabel=record["unit"], ylabel=label, title=f"~ n^{slope:.2f}")
            axis.set_xticks(sizes, [f"{int(n):,}" for n in sizes], rotation=30)
            axis.minorticks_off()
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Date": None})
        pyplot.close(figure)


def peak_resident_mib() -> float:
    """Return how much memory this process held at most, in MiB; read on Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: memory is measured on Linux alone")


def resident_extra_mib(task: Task) -> float:
    """Run a task and return how far the process grew beyond what it held before, in MiB.

    It sees what native libraries allocate, too (FAISS, LanceDB, torch), in steps of pages.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_resident_mib()
    task()
    return max(peak_resident_mib() - before, 1 / 256)

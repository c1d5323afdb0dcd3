"""What moments cost: hours in memory, and whole questions to open libraries of made-up vectors."""

import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import earsight
from _harness import Task, sized
from _synthetic import synthetic_library
from earsight.arrays import unit_rows
from earsight.library.search.peaks import Peak, best_peaks
from earsight.library.search.query_expansion import expand_query, similar_seconds
from earsight.library.search.time_points import Block


def scan(hours: int) -> Task:
    """Return what finds the ten best moments of a recording: all is scored twice, for company."""
    n = 3600 * hours
    rng = np.random.default_rng(0)
    heard, seen = (
        Block(["x"], np.array([0, n]), unit_rows(points), np.ones(n, bool))
        for points in rng.standard_normal((2, n, 384), dtype=np.float32)
    )
    query = heard.points[n // 2]

    def best() -> list[Peak]:
        like = similar_seconds(heard.scores(query), heard.bounds)
        weights = np.array([score for _, _, score in like])
        vector = expand_query(query, weights, seen.points[[second for _, second, _ in like]])
        return best_peaks(seen.scores(vector), seen.bounds, 10)

    return best


def questions(n_clips: int, seconds: int) -> dict[str, str]:
    """Return what questions to an open library cost: n clips of so many seconds, a step each."""
    with tempfile.TemporaryDirectory() as folder:
        synthetic_library(Path(folder), n_clips, seconds=seconds)
        with earsight.Library(folder) as library:
            library.warm()
            turns = count(1)

            def ask(**how: object) -> None:
                library.search(clip=1 + next(turns) % n_clips, by="audio", **how)

            begun = time.perf_counter()
            ask(moments=True)
            first = time.perf_counter() - begun
            return {
                "moments, warm": f"{median_ms(lambda: ask(moments=True)):.0f} ms",
                "clips, warm": f"{median_ms(ask):.0f} ms",
                "moments, first question": f"{first:.1f} s",
                "points in memory": f"{n_clips * seconds * 384 * 4 / 1e6:.0f} MB",
            }


def median_ms(task: Callable[[], object]) -> float:
    taken = []
    with threadpool_limits(1):
        for _ in range(12):
            begun = time.perf_counter()
            task()
            taken.append(time.perf_counter() - begun)
    return 1000 * float(np.median(taken[2:]))


def libraries() -> dict[str, object]:
    """Return what whole questions cost, by the library they are put to."""
    shapes = sized(
        {"10,000 clips of 10 s": (10_000, 10), "100 recordings of an hour": (100, 3600)},
        {"200 clips of 10 s": (200, 10)},
    )
    return {
        name: ", ".join(f"{what} {cost}" for what, cost in questions(n_clips, seconds).items())
        for name, (n_clips, seconds) in shapes.items()
    }

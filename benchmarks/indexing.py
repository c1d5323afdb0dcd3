"""Indexing a folder of 1,000 clips, for the first and the second time.

The clips are drawn, some dozens of them, and made a thousand contents by a few bytes at the end
that no player reads. First time, without learning and then with it: against decoding alone, and
against the networks alone (fed with blocks that were decoded before), both with as many processes.
What is learned is also learned once more by one process, which is how it would be on one core.
Second time, as a command: against a walk of the folder that asks for every file's size and time.

    python benchmarks/indexing.py [--clips 1000] [--out build/benchmarks]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from _growth import curve, resident_extra_mib
from _harness import Aim, report, sized
from earsight import engine
from earsight.demo import draw
from earsight.extractors import _base, extract_all
from earsight.extractors.runtime.threads import use_one_thread
from earsight.library.embedding.extraction import Sources
from earsight.library.indexing.pipeline import index
from earsight.media import Report

PER_CLASS = sized(4, 1)
SIZES = sized((60, 125, 250, 1000), (2, 3, 4, 5))


def make(folder: Path, drawn: list[Path], n: int) -> None:
    """Write n clips of different contents: each ends in an MP4 box "free", which players skip."""
    for i in range(n):
        source = drawn[i % len(drawn)]
        target = folder / source.parent.name / f"{i:05d}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        with target.open("ab") as file:
            file.write((16).to_bytes(4, "big") + b"free" + i.to_bytes(8, "big"))


@cache
def _whole() -> list[Any]:
    sources = Sources()
    return list(sources.extractors().values())


def decode(clip: Path) -> None:
    """Read what the extractors need, and drop it."""
    needs = {e.needs for e in map(_base._network, _whole()) if e.needs is not None}
    for _ in _base._reader(clip, list(needs), float("inf")):
        pass


class _Again:
    """Blocks that were decoded before."""

    def __init__(self, blocks: list[Any]) -> None:
        self.report = Report()
        self._blocks = blocks

    def __iter__(self) -> Iterator[Any]:
        yield from self._blocks


_real = _base._reader


@cache
def _blocks(clip: Path, needs: tuple[Any, ...]) -> list[Any]:
    return list(_real(clip, list(needs), float("inf")))


def networks(clip: Path) -> None:
    """Run the networks on blocks that this process has decoded once."""
    _base._reader = lambda path, needs, _: _Again(_blocks(path, tuple(needs)))  # type: ignore
    extract_all(clip, _whole())


def all_of(work: Callable[[Path], None], clips: list[Path], skip: int = 0) -> float:
    """Return the seconds that work takes on the clips, all cores, after the first `skip`."""
    begun = time.perf_counter()
    done = engine.run(work, clips, workers=engine.default_workers(), start=use_one_thread)
    for n_done, _ in enumerate(done, 1):
        if n_done == skip:
            begun = time.perf_counter()
    return time.perf_counter() - begun


def walk(folder: Path) -> int:
    return sum(
        os.stat(os.path.join(where, name)).st_size  # noqa: PTH116
        for where, _, names in os.walk(folder)
        for name in names
    )


def seconds(task: Callable[[], object]) -> float:
    begun = time.perf_counter()
    task()
    return time.perf_counter() - begun


def command(folder: Path) -> None:
    words = [sys.executable, "-m", "earsight", "index", str(folder), "--quiet"]
    subprocess.run(words, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=max(SIZES))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    rows: list[dict[str, float]] = []
    parts: list[tuple[float, float]] = []  # reading, learning
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        draw(top / "drawn", per_class=PER_CLASS)
        drawn = sorted(path for path in (top / "drawn").rglob("*.mp4"))
        index(top / "drawn")  # weights are fetched, files are in the system's cache
        for n in SIZES:
            clips = top / f"clips-{n}"
            make(clips, drawn, n)
            grown = resident_extra_mib(
                lambda clips=clips: parts.append(
                    (
                        seconds(lambda: index(clips, learn="never")),
                        seconds(lambda: index(clips, learn="auto")),
                    )
                )
            )
            rows.append({"size": n, "seconds": sum(parts[-1]), "peak_mib": grown})
        alone = seconds(lambda: index(clips, rebuild=True, workers=1))
        files = sorted(clips.rglob("*.mp4"))
        decoding = all_of(decode, files)
        warm = engine.default_workers() * len(drawn)
        again = [drawn[i % len(drawn)] for i in range(2 * warm + len(files))]
        network = all_of(networks, again, skip=2 * warm)
        second = min(seconds(lambda: command(clips)) for _ in range(sized(5, 1)))
        walking = min(seconds(lambda: walk(clips)) for _ in range(5))
    first = rows[-1]["seconds"]
    larger = max(decoding, network)
    results = {
        "earsight, first time": {"seconds": first, "ratio": 1.0},
        "of that, reading": {"seconds": parts[-1][0], "ratio": parts[-1][0] / first},
        "of that, learning": {"seconds": parts[-1][1], "ratio": parts[-1][1] / first},
        "learning by one process": {"seconds": alone, "ratio": alone / first},
        "decoding alone": {"seconds": decoding, "ratio": decoding / first},
        "networks alone": {"seconds": network, "ratio": network / first},
        "earsight index again, the whole command": {"seconds": second, "ratio": second / first},
        "a walk of the folder": {"seconds": walking, "ratio": walking / first},
    }
    report(
        f"a folder of {max(SIZES)} drawn clips, {engine.default_workers()} processes",
        results,
        options.out / "indexing.json",
        aims=[
            Aim("times the larger of decoding and networks", 1.5, round(first / larger, 2)),
            Aim("s for the second time, less 3 walks", 0.5, round(second - 3 * walking, 2)),
        ],
        growth=[curve("indexing", "clips", rows)],
    )


if __name__ == "__main__":
    main()

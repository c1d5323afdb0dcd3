"""Indexing thousands of short files: what each costs beside decoding and the networks.

The files are sounds of 0.2 s, all of one size and no two alike. Each round times, one after the
other, `earsight index` of two files, which is its start; of all of them; and the floor: as many
processes, each of which decodes its share and runs the networks on it in a plain loop, timed from
its second file on. The ratio is that of a round: (all − start) / floor.

    python benchmarks/short_files.py [--files 2000] [--rounds 3] [--other SRC]
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

from _harness import Aim, report, sized, summary
from earsight.library.embedding.extraction import Sources, read_clip

RATE, SECONDS, WORKERS = 16_000, 0.2, 2
OURS, FLOOR = "earsight index", "decoding and networks"


def make(folder: Path, n: int) -> list[Path]:
    """Write n short sounds: a tone in noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    t = np.arange(round(RATE * SECONDS)) / RATE
    for number in range(n):
        tone = 8000 * np.sin(2 * np.pi * (100 + number % 3000) * t)
        with wave.open(str(folder / f"{number:05d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((tone + rng.normal(0, 300, len(t))).astype("<i2").tobytes())
    return sorted(folder.glob("*.wav"))


class Cost(NamedTuple):
    """What one run of `earsight index` took.

    Attributes:
        seconds: Of the whole command.
        processor: Seconds of it, of all its processes.
        first: Seconds to the first line.
        memory: The most that the command itself held at a time, in MiB, not its workers.
    """

    seconds: float
    processor: float
    first: float
    memory: float


def command(folder: Path, source: str) -> Cost:
    """Index a folder anew."""
    shutil.rmtree(folder / ".earsight", ignore_errors=True)
    words = [sys.executable, "-m", "earsight", "index", str(folder), "--workers", str(WORKERS)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        words, env=os.environ | {"PYTHONPATH": source}, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    process.stderr.readline()
    first = time.perf_counter() - begun
    process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}.")
    processor = used.ru_utime + used.ru_stime
    return Cost(time.perf_counter() - begun, processor, first, used.ru_maxrss / 1024)


def loop(files: list[Path]) -> tuple[float, float]:
    """Return the seconds, and those of the processor, of reading all files but the first."""
    os.environ["EARSIGHT_THREADS"] = "1"
    sources = Sources()
    read_clip(files[0], sources)
    begun, before = time.perf_counter(), time.process_time()
    for file in files[1:]:
        read_clip(file, sources)
    return time.perf_counter() - begun, time.process_time() - before


def floor(files: list[Path]) -> tuple[float, float]:
    """Return the seconds of the slower process, and those of the processor of all."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        found = pool.map(loop, [files[n::WORKERS] for n in range(WORKERS)], chunksize=1)
    return max(seconds for seconds, _ in found), sum(processor for _, processor in found)


def main() -> None:
    """Time, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=sized(2000, 200))
    parser.add_argument("--rounds", type=int, default=sized(3, 1))
    parser.add_argument("--other", default="", help="The src folder of another Earsight.")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    sources = {OURS: str(Path(__file__).parents[1] / "src")}
    sources |= {"the other earsight": options.other} if options.other else {}
    times: dict[str, list[float]] = {name: [] for name in (*sources, FLOOR)}
    processor: dict[str, list[float]] = {name: [] for name in times}
    wholes: list[Cost] = []
    Sources().prepare()  # no weights, no benchmark
    with tempfile.TemporaryDirectory() as name:
        files = make(Path(name) / "all", options.files)
        make(Path(name) / "two", WORKERS)
        for _ in range(options.rounds):
            for what, source in sources.items():
                start, whole = (command(Path(name) / one, source) for one in ("two", "all"))
                times[what].append(whole.seconds - start.seconds)
                processor[what].append(whole.processor - start.processor)
                wholes += [whole] if what == OURS else []
            spent, worked = floor(files)
            times[FLOOR].append(spent)
            processor[FLOOR].append(worked)
    results = summary(times, {}, against=dict.fromkeys(times, FLOOR))
    for what, row in summary(processor, {}, against=dict.fromkeys(times, FLOOR)).items():
        results[what] |= {"processor s": row["seconds"], "processor ratio": round(row["ratio"], 2)}
    first = statistics.median(one.first for one in wholes)
    report(
        f"{options.files:,} sounds of {SECONDS} s, {WORKERS} processes, beyond the start",
        results,
        options.out / "short_files.json",
        aims=[
            Aim("times decoding and networks", 1.3, round(results[OURS]["ratio"], 2)),
            Aim("s to the first line", 3.0, round(first, 2)),
        ],
        threads=1,
        memory=f"the command itself held {max(one.memory for one in wholes):.0f} MiB at most",
    )


if __name__ == "__main__":
    main()

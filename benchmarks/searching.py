"""Answers from an open library of 100,000 clips, whole, against LanceDB's own search.

A question by a clip, by words, or within one label goes the whole way: words are embedded, files
given once, with their label and length. "LanceDB bare" ranks rows of the library's own table, kept
open, and returns keys and distances. Vectors are made up, 384 wide, two for each clip; what answers
a million of them is measured by `vectors`. All on one thread but LanceDB, which has its own, for
both contenders. Warm questions are put in turns. Cold: the first one of a new process, its imports
and the opening of the library included; the files may still be in the system's cache. Aims: a
median under 20 ms, at most 1 ms over LanceDB; the slowest under 100 ms.

    python benchmarks/searching.py [--clips 100000] [--out build/benchmarks]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lancedb
import numpy as np

import earsight
from _growth import grow, resident_extra_mib
from _harness import Aim, Task, answered, percentiles, report, sized
from _synthetic import synthetic_library

TOP = 20
WORDS = ("a dog barks", "rain on a roof", "a train passes", "someone plays the piano")
QUESTIONS = sized(200, 10)
CLIPS = sized(100_000, 800)
ASK = """
import sys, time
begun = time.perf_counter()
import earsight
with earsight.Library(sys.argv[1]) as library:
    opened = time.perf_counter()
    library.search(**({"text": "a dog barks"} if sys.argv[2] == "words" else {"clip": 7}), top=20)
print(1000 * (time.perf_counter() - begun), 1000 * (time.perf_counter() - opened))
"""


def cold(clips: Path, by: str) -> str:
    """Return the milliseconds of a new process's first question, and of these, of the question."""
    command = [sys.executable, "-c", ASK, str(clips), by]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    whole, question = map(float, done.stdout.split())
    return f"{whole:.0f} ms, {question:.0f} of them for the question"


def questions(library: earsight.Library) -> dict[str, object]:
    """Return what answers question i, by contender."""
    table = lancedb.connect(str(library.folder / "vectors")).open_table("embedding-1")
    points = library.embeddings("audio").vectors

    def alone(i: int) -> object:
        found = table.search(points[i % len(points)]).distance_type("cosine")
        found = found.where("modality = 'visual'").select(["content", "_distance"])
        return found.limit(TOP).to_list()

    def number(i: int) -> int:
        return 1 + i % len(points)

    return {
        "earsight, by a clip": lambda i: library.search(clip=number(i), by="audio", top=TOP),
        "LanceDB bare": alone,
        "earsight, by words": lambda i: library.search(text=f"{WORDS[i % 4]} {i}", top=TOP),
        "earsight, by a clip, one label": lambda i: library.search(
            clip=number(i), by="audio", top=TOP, label="class 3"
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    sizes = [options.clips // 8, options.clips // 4, options.clips // 2, options.clips]
    with tempfile.TemporaryDirectory() as folder:
        libraries: dict[int, earsight.Library] = {}
        for n in sizes:
            synthetic_library(Path(folder) / str(n), n)
        largest = Path(folder) / str(options.clips)
        first = {by: cold(largest, by) for by in ("words", "a clip")}
        for n in sizes:
            libraries[n] = earsight.Library(Path(folder) / str(n))
            begun = time.perf_counter()
            libraries[n].warm()
            warm = time.perf_counter() - begun
        library = libraries[options.clips]
        times = answered(questions(library), QUESTIONS, threads=options.threads)
        results = percentiles(times)
        over = np.subtract(times["earsight, by a clip"], times["LanceDB bare"])

        def asking(n: int) -> Task:
            numbers = iter(range(1, 10**9))
            return lambda: [
                libraries[n].search(clip=1 + next(numbers) % n, by="audio", top=TOP)
                for _ in range(sized(20, 2))
            ]

        growth = grow(
            "search", "clips", sizes, asking, threads=options.threads, memory=resident_extra_mib
        )
        for one in libraries.values():
            one.close()
    slowest = {name: 1000 * max(own) for name, own in times.items()}
    report(
        f"the best {TOP} of {options.clips:,} clips, from a library that is open",
        results,
        options.out / "searching.json",
        aims=[
            Aim("ms over LanceDB bare, by a clip", 1, 1000 * float(np.median(over))),
            Aim("ms, median, by a clip", 20, results["earsight, by a clip"]["p50 ms"]),
            Aim("ms, slowest, by a clip", 100, slowest["earsight, by a clip"]),
            Aim("ms, slowest, by words", 100, slowest["earsight, by words"]),
        ],
        growth=[growth],
        threads=options.threads,
        LanceDB="on threads of its own, for both contenders",
        questions=f"{QUESTIONS} of each kind; growth is of twenty by a clip",
        seconds_to_warm_it=round(warm, 2),
        **{f"cold, by {by}": told for by, told in first.items()},
    )


if __name__ == "__main__":
    main()

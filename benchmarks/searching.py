"""Answers from an open library of 10,000 clips, against LanceDB's own search of the same vectors.

Aim: under 100 ms for words and for clips of the library, warm. "LanceDB alone" opens nothing and
ranks rows; ours also embeds the words, gives each file once, and knows its label and length.

    python benchmarks/searching.py [--clips 10000] [--rounds 30] [--out build/benchmarks]
"""

import argparse
import tempfile
import time
from itertools import count
from pathlib import Path

import lancedb

import earsight
from _harness import compare, report
from _synthetic import synthetic_library

TOP = 20
WORDS = ("a dog barks", "rain on a roof", "a train passes", "someone plays the piano")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        synthetic_library(clips, options.clips)
        begun = time.perf_counter()
        library = earsight.Library(clips)
        library.warm()
        warm = time.perf_counter() - begun
        table = lancedb.connect(str(library.folder / "vectors")).open_table("embedding-1")
        points = library.embeddings("audio").vectors
        turns = {name: count() for name in ("lance", "clip", "words", "label")}

        def alone() -> object:
            query = points[next(turns["lance"]) % len(points)]
            found = table.search(query).distance_type("cosine").where("modality = 'visual'")
            return found.select(["content", "_distance"]).limit(TOP).to_list()

        def by_clip() -> object:
            return library.search(clip=1 + next(turns["clip"]), by="audio", top=TOP)

        def by_words() -> object:
            return library.search(text=WORDS[next(turns["words"]) % len(WORDS)], top=TOP)

        def of_a_label() -> object:
            number = 1 + next(turns["label"])
            return library.search(clip=number, by="audio", top=TOP, label="class 3")

        results = compare(
            {
                "LanceDB alone": alone,
                "earsight, by a clip": by_clip,
                "earsight, by words": by_words,
                "earsight, by a clip, one label": of_a_label,
            },
            rounds=options.rounds,
            threads=options.threads,
        )
        slowest = max(_time(by_words) for _ in range(100))
        library.close()
    report(
        f"the best {TOP} of {options.clips} clips, from a library that is open",
        results,
        options.out / "searching.json",
        threads=options.threads,
        seconds_to_open_and_warm=round(warm, 2),
        slowest_of_100_questions_by_words_in_ms=round(1000 * slowest, 1),
    )


def _time(task: object) -> float:
    begun = time.perf_counter()
    task()  # type: ignore[operator]
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

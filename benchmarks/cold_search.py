"""Processor time of a cold `earsight search`: a new process for each, user and system together.

Two installations are asked in turn, so that whatever else the machine does falls on both; each has
a library of its own, over the same folder of clips.

    python benchmarks/cold_search.py QUERY LIBRARY [--python .venv/bin/python]
        [--against OTHER/.venv/bin/python --against-library OTHER-LIBRARY] [--rounds 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path


def processor_time(python: Path, query: Path, library: Path) -> float:
    """Return the seconds of user and system time that one search takes, its children included."""
    before = os.times()
    command = [python, "-m", "earsight", "search", query, "--by", "audio", "--library", library]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("query", type=Path)
    parser.add_argument("library", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--against", type=Path)
    parser.add_argument("--against-library", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asked = {"this": (options.python, options.library)}
    if options.against:
        asked["other"] = (options.against, options.against_library or options.library)
    found: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(options.rounds + 1):
        for name, (python, library) in asked.items():
            found[name].append(processor_time(python, options.query, library))
    medians = {name: statistics.median(times[1:]) for name, times in found.items()}
    for name, seconds in medians.items():
        print(f"{name}: {seconds:.2f} s, median of {options.rounds}; {found[name][1:]}")
    if "other" in medians:
        print(f"this / other: {medians['this'] / medians['other']:.2f}")


if __name__ == "__main__":
    main()

"""Run benchmarks and write docs/benchmarks.md: `make bench`, or `python -m benchmarks [NAME…]`.

Each benchmark is a script of its own, run in a fresh process; what it measured comes back as JSON.
One that fails is told on the page and stops no other. One that lacks what it needs (weights, a
package, clips) is told there, too, and has not failed. `--quick` is a smoke test: tiny sizes, one
round, no page.
"""

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ABSENT = 77  # as in _harness.py, which imports what may be missing

HERE = Path(__file__).parent
ROOT = HERE.parent
OUT = Path("build/benchmarks")
PAGE = ROOT / "docs" / "benchmarks.md"
NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '([^.']+)")
NO_WEIGHTS = re.compile(r"earsight\.errors\.WeightsError: The weights .* could not be had")
OTHER_WEIGHTS = "has the wrong "  # checksum, or git blob id: they were had, and were not the ones

HEAD = """# Benchmarks

`make bench` writes this page; `python -m benchmarks NAME` runs one section again. No figure is
typed by hand.

Read the **ratio** first: above 1, Earsight is faster than that contender. Below 1 are floors: a
part of the work, done alone. A ratio is the median over rounds of a contender's time divided by the
time of the Earsight row above it (the one with 1.00) in the same round. Contenders run in one
process, in turns, with the same number of threads, after a round that does not count. Seconds are
medians and depend on the machine; ratios depend on it much less. Peak MiB is the most that Python
and numpy allocate beside the data. Aims were set before measuring, and stay whether met or not.
"""


def names() -> list[str]:
    """Return the benchmarks: the scripts of this folder."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.name.startswith("_"))


def main(words: list[str]) -> int:
    """Run, write the page, and return the exit code: 1 if a benchmark failed."""
    quick = "--quick" in words
    wanted = [word for word in words if word != "--quick"] or names()
    unknown = sorted({*wanted} - {*names()})
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(names())}.")
        return 2
    if not quick and (changed := changes()):
        print(
            "A published page must come from a commit; these files differ from it:\n"
            f"{changed}\nCommit or stash them, or look with --quick."
        )
        return 2
    out = OUT / "quick" if quick else OUT
    failed = [name for name in wanted if not run(name, out, quick)]
    if not quick:
        records = {name: out / f"{name}.json" for name in names()}
        PAGE.write_text(page({n: _read(file) for n, file in records.items() if file.exists()}))
        print(f"\nwritten to {PAGE}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def changes() -> str:
    """Return what differs from the commit in the code that is measured; nothing outside git."""
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--", "src", "benchmarks"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def run(name: str, out: Path, quick: bool) -> bool:
    """Run one benchmark; what goes wrong is kept as its record."""
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)
    environment = os.environ | ({"EARSIGHT_BENCH_QUICK": "1"} if quick else {})
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(out)]
    begun = time.monotonic()
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    record: dict[str, Any] = _read(file) if file.exists() else {"title": name}
    record["minutes"] = round((time.monotonic() - begun) / 60, 1)
    if done.returncode != 0:
        told = last_words(done.stderr)
        kind = "absent" if lacks(done.returncode, told) else "failed"
        record = {"title": name, kind: told.splitlines()[0], "minutes": record["minutes"]}
    elif not file.exists():
        record["failed"] = "it wrote nothing"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1))
    return "failed" not in record


def last_words(stderr: str) -> str:
    """Return the message that a benchmark ended with; that of an error may have several lines."""
    lines = stderr.strip().splitlines() or ["no message"]
    begun = [n for n, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    if not begun:
        return lines[-1]
    after = range(begun[-1] + 1, len(lines))
    return "\n".join(lines[next((n for n in after if lines[n][:1].strip()), -1) :])


def lacks(code: int, told: str) -> bool:
    """Return whether a benchmark ended because something is not there, by its last words.

    A module of our own that is not there is a mistake, and weights that are others are a fault.
    """
    if code == ABSENT:
        return True
    if found := NO_MODULE.match(told):
        return found[1] not in {"earsight", *(path.stem for path in HERE.glob("*.py"))}
    return bool(NO_WEIGHTS.match(told)) and OTHER_WEIGHTS not in told


def _read(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text())
    return record


def page(records: dict[str, dict[str, Any]]) -> str:
    """Return the text of docs/benchmarks.md."""
    minutes = sum(record.get("minutes", 0) for record in records.values())
    told = f"All sections together ran {minutes:.0f} minutes.\n"
    of = [record["measured"] for record in records.values() if "measured" in record]
    alike = len({_machine(one) for one in of}) == 1
    told += f"\nMeasured on: {_machine(of[0])}\n" if alike else ""
    return "\n".join([HEAD, told, *(section(n, r, alike) for n, r in records.items())])


def section(name: str, record: dict[str, Any], alike: bool) -> str:
    """Return the part of the page about one benchmark; the machine is told where it was another."""
    lines = [f"## `{name}`: {record['title']}\n"]
    if "failed" in record:
        return "\n".join([*lines, f"It did not run: {record['failed']}\n"])
    if "absent" in record:
        return "\n".join([*lines, f"Not measured here: {record['absent']}\n"])
    results = record.get("results", {})
    rounds = {row.pop("rounds", None) for row in results.values()} if _alike(results) else set()
    if results:
        lines += [*_table(results), ""]
    aims = record.get("aims", ())
    for met, word in ((False, "**aims not met**"), (True, "aims met")):
        told = [a["told"] for a in aims if a["met"] is met]
        lines += [f"- {word}: {'; '.join(told)}"] if told else []
    facts = {key: value for key, value in record.get("facts", {}).items() if key != "threads"}
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()]
    told = ", ".join(f"{n} rounds" for n in rounds)
    lines += [f"- {_conditions(record, alike, told)}"] if "measured" in record else []
    lines.append("")
    for curve in record.get("growth", ()):
        lines += _growth(curve)
    return "\n".join(lines)


def _table(results: dict[str, dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in results.values() for column in row))
    lines = [
        "| | " + " | ".join(column.replace("_mib", " MiB") for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for contender, row in results.items():
        cells = (_cell(column, row.get(column, "")) for column in columns)
        lines.append(f"| {contender} | " + " | ".join(cells) + " |")
    return lines


def _cell(column: str, value: Any) -> str:
    if column == "seconds" and value:
        return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
    digits = {"ratio": ".2f", "peak_mib": ".1f", "size": ","}.get(column, "")
    return f"{value:{digits}}" if value != "" else ""


def _machine(of: dict[str, Any]) -> str:
    """Say on what it was measured, and what of."""
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items())
    return (
        f"{of['processor']}, {of['cores']} cores, {of['system']}; Python {of['python']}, {versions}"
    )


def _alike(results: dict[str, dict[str, Any]]) -> bool:
    """Whether all rows were timed as often."""
    return len({row.get("rounds") for row in results.values()} - {None}) == 1


def _conditions(record: dict[str, Any], alike: bool, rounds: str) -> str:
    """Say where the numbers come from."""
    of, threads = record["measured"], record["facts"].get("threads")
    told = "" if alike else f"{_machine(of)}; "
    told += f"commit {of['commit']}, "
    told += f"{threads} thread{'s' if threads != 1 else ''}, " if threads else ""
    told += f"{rounds}, " if rounds else ""
    return f"{told}load {of['load']}, {record.get('minutes', 0)} minutes"


def _growth(curve: dict[str, Any]) -> list[str]:
    title = curve["name"].replace("-", " ")
    ends = [
        f"{row['size']:,} ({_cell('seconds', row['seconds'])} s, {row['peak_mib']:.1f} MiB)"
        for row in (curve["rows"][0], curve["rows"][-1])
    ]
    return [
        f"Growth with {curve['unit']}, from {ends[0]} to {ends[1]}: "
        f"time ~ n^{curve['time']:.2f}, memory ~ n^{curve['memory']:.2f}\n",
        f"![{title}](pictures/{curve['picture']})\n",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run benchmarks and write docs/benchmarks.md: `make bench`, or `python -m benchmarks [NAME…]`.

Each benchmark is a script of its own, run in a fresh process; what it measured comes back as JSON.
One that fails is told on the page and stops no other. `--quick` is a smoke test: tiny sizes, one
round, no page.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
OUT = Path("build/benchmarks")
PAGE = ROOT / "docs" / "benchmarks.md"
DIGITS = {"seconds": "{:.3f}", "ratio": "{:.2f}", "peak_mib": "{:.1f}", "size": "{:,}"}

HEAD = """# Benchmarks

Made by `make bench`; nothing here is typed by hand. Contenders run in one process, in turns, with
the same number of threads, after a round that does not count. A ratio is the median over rounds of
a contender's time over that of the first row in the same round: above 1, the first row is faster.
Seconds are medians and depend on the machine; ratios much less. Peak MiB is what Python and numpy
allocate at most beside the data, unless a section says otherwise.
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
    out = OUT / "quick" if quick else OUT
    failed = [name for name in wanted if not run(name, out, quick)]
    if not quick:
        records = {name: out / f"{name}.json" for name in names()}
        PAGE.write_text(page({n: _read(file) for n, file in records.items() if file.exists()}))
        print(f"\nwritten to {PAGE}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


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
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        record = {"title": name, "failed": last, "minutes": record["minutes"]}
    elif not file.exists():
        record["failed"] = "it wrote nothing"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1))
    return "failed" not in record


def _read(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text())
    return record


def page(records: dict[str, dict[str, Any]]) -> str:
    """Return the text of docs/benchmarks.md."""
    minutes = sum(record.get("minutes", 0) for record in records.values())
    told = f"All together they ran {minutes:.0f} minutes.\n"
    return "\n".join([HEAD, told, *(section(n, r) for n, r in records.items())])


def section(name: str, record: dict[str, Any]) -> str:
    """Return the part of the page about one benchmark."""
    lines = [f"## {record['title']}\n", f"`python -m benchmarks {name}`\n"]
    if "failed" in record:
        return "\n".join([*lines, f"It did not run: {record['failed']}\n"])
    if record.get("results"):
        lines += [*_table(record["results"]), ""]
    lines += [
        f"- {'met' if a['met'] else '**not met**'}: {a['told']}" for a in record.get("aims", ())
    ]
    facts = {key: value for key, value in record.get("facts", {}).items() if key != "threads"}
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()]
    lines += [f"- {_conditions(record)}"] if "measured" in record else []
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
        cells = (
            DIGITS.get(column, "{}").format(row[column]) if column in row else ""
            for column in columns
        )
        lines.append(f"| {contender} | " + " | ".join(cells) + " |")
    return lines


def _conditions(record: dict[str, Any]) -> str:
    """Say where the numbers come from."""
    of = record["measured"]
    threads = record["facts"].get("threads")
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items())
    return (
        f"{of['processor']}, {of['cores']} cores, {of['system']}"
        + (f", {threads} thread{'s' if threads != 1 else ''}" if threads else "")
        + f", load {of['load']} at the end; Python {of['python']}, {versions}; "
        f"commit {of['commit']}; took {record.get('minutes', 0)} minutes"
    )


def _growth(curve: dict[str, Any]) -> list[str]:
    title = curve["name"].replace("-", " ")
    rows = {f"{row['size']:,} {curve['unit']}": {k: v for k, v in row.items() if k != "size"}
            for row in curve["rows"]}  # fmt: skip
    return [
        f"Growth, {title}: time ~ n^{curve['time']:.2f}, memory ~ n^{curve['memory']:.2f}\n",
        *_table(rows),
        "",
        f"![{title}](pictures/{curve['picture']})\n",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

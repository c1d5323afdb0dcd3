"""Run benchmarks and write docs/benchmarks.md: `make bench`, or `python -m benchmarks [NAME…]`.

Each benchmark is a script of its own, run in a fresh process; what it measured comes back as JSON.
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = Path("build/benchmarks")
PAGE = HERE.parent / "docs" / "benchmarks.md"
DIGITS = {"seconds": "{:.3f}", "ratio": "{:.2f}", "peak_mib": "{:.1f}"}
PACKAGES = ("numpy", "scipy", "scikit-learn", "cca-zoo", "onnxruntime", "av", "torch")

HEAD = """# Benchmarks

Made by `make bench`; nothing here is typed by hand. Contenders run in one process, in turns, with
the same number of threads. A ratio is the median over rounds of a contender's time over ours in
the same round: above 1, ours is faster. Seconds are medians and depend on the machine; ratios
much less.
"""


def names() -> list[str]:
    """Return the benchmarks: the scripts of this folder."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.name.startswith("_"))


def main() -> None:
    for name in sys.argv[1:] or names():
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), "--out", str(OUT)], check=True)
    sections = [_section(name) for name in names() if (OUT / f"{name}.json").exists()]
    PAGE.write_text("\n".join([HEAD, _machine(), *sections]))
    print(f"\nwritten to {PAGE}")


def _machine() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()}, load "
        f"{load:.1f} at the end. Python {platform.python_version()}, {packages}. "
        f"Commit {commit or 'unknown'}.\n"
    )


def _section(name: str) -> str:
    record: dict[str, Any] = json.loads((OUT / f"{name}.json").read_text())
    columns = list(next(iter(record["results"].values())))
    lines = [
        f"## {record['title']}\n",
        f"`python -m benchmarks {name}`\n",
        "| | " + " | ".join(column.replace("_mib", " MiB") for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for contender, row in record["results"].items():
        cells = (DIGITS.get(column, "{}").format(row[column]) for column in columns)
        lines.append(f"| {contender} | " + " | ".join(cells) + " |")
    facts = [f"- {key.replace('_', ' ')}: {value}" for key, value in record["facts"].items()]
    return "\n".join([*lines, "", *facts, ""])


if __name__ == "__main__":
    main()

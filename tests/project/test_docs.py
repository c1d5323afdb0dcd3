"""What the pages of docs/ show is true: every command and every block of code in them runs.

A page's blocks run from top to bottom in one folder. A block `python file=NAME` is written there,
`toml` with entry points makes what was written a package, any other `python` block is a script of
its own. A `console` block runs its `$` lines; where output is shown it must come, word by word,
but with any numbers; a line `…` stands for any lines.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from earsight.demo import draw

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.M | re.S)
RUN = ("python", "console", "toml")
PAGES = sorted(
    page.name
    for page in DOCS.glob("*.md")
    if any(language in RUN for language, _, _ in BLOCK.findall(page.read_text()))
)
CLIPS = ("folder.md", "api.md", "scale.md")  # pages that speak of a folder `my-clips/`
ON_S3 = ("scale.md",)  # pages that speak of a bucket `clips`


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_runs(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name in ON_S3:
        request.getfixturevalue("s3")
    if name in CLIPS:
        draw(tmp_path / "my-clips", per_class=2)
    for language, file, code in BLOCK.findall((DOCS / name).read_text()):
        if file:
            assert len(code.splitlines()) < 40, f"{file} must stay under 40 lines"
            (tmp_path / file).write_text(code)
        elif language == "python":
            run([sys.executable, "-W", "error", "-c", code], tmp_path)
        elif language == "toml":
            register(tomllib.loads(code)["project"]["entry-points"], tmp_path)
        elif language == "console":
            for command, shown in commands(code):
                compare(command, shown, run(["bash", "-c", command], tmp_path))


def test_the_pages_are_found() -> None:
    assert "extending.md" in PAGES


def run(command: list[str], folder: Path) -> list[str]:
    """Run in `folder`, as someone would whose shell knows earsight; return the lines printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    source = os.pathsep.join([str(folder), str(DOCS.parent / "src")])  # whatever is installed
    environment = os.environ | {"PATH": path, "PYTHONPATH": source, "COLUMNS": "100"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}"
    return done.stdout.splitlines()


def register(groups: dict[str, dict[str, str]], folder: Path) -> None:
    """Put beside the modules what pip writes when it installs a package of entry points."""
    for group, points in groups.items():
        info = folder / f"{group.replace('.', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {group}\nVersion: 1.0\n")
        lines = [f"{name} = {module}\n" for name, module in points.items()]
        (info / "entry_points.txt").write_text("".join([f"[{group}]\n", *lines]))


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a console block, each with the lines shown under it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (found[-1][0][:-1] + line.strip(), [])
        else:
            found[-1][1].append(line)
    return found


def compare(command: str, shown: list[str], printed: list[str]) -> None:
    """Check that `printed` is what is shown, whatever the numbers are."""
    pattern = [r"(?:[^\n]*\n)*?" if line.strip() == "…" else plain(line) + r"\n" for line in shown]
    text = "".join(f"{normal(line)}\n" for line in printed)
    where = "".join(pattern)
    assert not shown or re.fullmatch(where, text), f"{command}\n" + "\n".join(printed)


def normal(line: str) -> str:
    """Return a line with its numbers and widths taken out."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d*\.?\d+", "0", line)).strip()


def plain(line: str) -> str:
    return re.escape(normal(line))

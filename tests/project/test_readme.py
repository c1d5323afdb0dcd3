"""What README shows is true: its Python runs, its commands and links exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from earsight.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    scores = names["scores"]
    assert scores["audio", "visual"].map > scores["audio", "visual"].map_chance  # type: ignore[index]


def test_its_commands_and_options_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = re.findall(r"^(?:\$ )?earsight (\w+)", "\n".join(blocks("")), re.M)
    assert {"index", "search", "evaluate"} <= set(shown) <= set(commands)
    options = {option for name in commands for p in commands[name].params for option in p.opts}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", README))
    assert named - {"--nproc-per-node"} <= options  # torchrun's own


def test_its_links_exist() -> None:
    for link in re.findall(r"\]\(([^)]+)\)|`(docs/[^`]+|src/[^`]+|NOTICE)`", README):
        target = link[0] or link[1]
        assert (ROOT / target).exists(), target


def test_the_tests_that_security_names_exist() -> None:
    named = set(re.findall(r"`(test_[\w*]+\.py)`", (ROOT / "SECURITY.md").read_text()))
    assert len(named) > 10
    for name in named:
        assert any((ROOT / "tests").rglob(name)), name


def test_its_pages_are_all_listed() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"`(docs/\w+\.md)`", README))

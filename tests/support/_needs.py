"""What a test needs, told from what it uses: a browser, a network, much time.

`make test-fast` leaves out what is marked so. A file needs what it imports needs, helpers in
tests/support included; a fixture adds to that. Nobody marks tests by hand.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
METHODS = HERE.parents[1] / "src" / "earsight" / "methods"
FIXTURES = {
    "browser": "browser",
    "s3": "network",
    "milvus": "network",
    "own_milvus": "network",
    "made": "slow",  # a folder that is indexed
    "library": "slow",
}
FOLDERS = {"distributed": "network", "end_to_end": "slow"}
# Modules → what they bring. Weights are fetched when they are not in the cache yet.
IMPORTS = {
    "subprocess": "slow",
    "multiprocessing": "slow",
    "earsight.cli": "slow",
    "earsight.demo": "slow",
    "earsight.engine": "slow",
    "earsight.extraction": "slow",
    "earsight.library": "slow",
    "earsight.web": "slow",
    "earsight.methods._deep": "slow",  # torch
    "earsight.extractors": "network",
    "torch": "slow",
    "transformers": "slow",
}


@cache
def imported(file: Path) -> frozenset[str]:
    """Return the modules that a file of tests imports, also inside functions and helpers."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    helpers = {HERE / f"{name.partition('.')[0]}.py" for name in found if name.startswith("_")}
    return frozenset(found).union(*(imported(one) for one in helpers if one.is_file()))


def needs(file: Path, fixtures: set[str]) -> set[str]:
    """Return the markers of a test in `file` that uses `fixtures`."""
    if file.is_relative_to(HERE.parent):
        folder = file.relative_to(HERE.parent).parts[0]
    else:
        return set()  # a doctest of the source
    made = {marker for name, marker in FIXTURES.items() if name in fixtures}
    made |= {FOLDERS[folder]} if folder in FOLDERS else set()
    for name, marker in IMPORTS.items():
        if any(one == name or one.startswith(f"{name}.") for one in imported(file)):
            made.add(marker)
    return made


@cache
def networks() -> frozenset[str]:
    """Return the names of the methods that train a network, which takes torch and time."""
    files = [file for file in METHODS.glob("*.py") if any("_deep" in x for x in imported(file))]
    return frozenset(file.stem for file in files)


def mark(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs; one that is given a method's name, by that method too."""
    for item in items:
        made = needs(item.path, {*getattr(item, "fixturenames", ())})
        given = getattr(item, "callspec", None)
        values = given.params.values() if given else ()
        names = {value.partition(":")[0] for value in values if isinstance(value, str)}
        made |= {"slow"} if names & networks() else set()
        for marker in made:
            item.add_marker(marker)


def left_out(file: Path, expression: str) -> bool:
    """Whether a file of tests need not even be imported, as all its tests are left out by -m."""
    out = {marker for marker in ("browser", "network", "slow") if f"not {marker}" in expression}
    return file.name.startswith("test_") and bool(needs(file, set()) & out)

"""Who may import whom: the table of docs/architecture.md, against what the source imports."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "earsight"

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
TO_ALL = "open to all"


def rooms(page: str) -> tuple[set[str], dict[str, set[str]]]:
    """Return what is open to all, and room → the rooms it may import, of the page's table."""
    table = page.partition("| room | what it does | may import |\n")[2].partition("\n\n")[0]
    everyone, may = set[str](), dict[str, set[str]]()
    for line in table.splitlines()[1:]:
        names, _, known = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)`", names):
            assert name not in may, f"{name} stands twice in the table"
            may[name] = {*re.findall(r"`(\w+)`", known)}
            everyone |= {name} if TO_ALL in known else set()
    return everyone, may


OPEN, MAY_KNOW = rooms(PAGE.read_text(encoding="utf-8"))
# Imported where they are used, never when a module of ours is imported.
HEAVY = {
    "av", "fastapi", "h5py", "huggingface_hub", "lancedb", "matplotlib", "onnx", "onnxruntime",
    "PIL", "pyarrow", "pymilvus", "ray", "safetensors", "scipy", "sklearn", "starlette",
    "tokenizers", "torch", "transformers", "uvicorn",
}  # fmt: skip
# Modules that are nothing but torch, and are imported by functions that need them.
TORCH_ONLY = {
    "alignment/soft.py",
    "methods/_deep/branches.py",
    "methods/_deep/checkpoint.py",
    "methods/_deep/distributed.py",
    "methods/_deep/losses.py",
    "methods/_deep/network.py",
    "methods/_deep/encoders.py",
    "methods/_deep/trainer.py",
    "methods/_deep/triplets.py",
}
# A room that is nothing without one of them, and is itself imported only when used.
AT_HOME = {
    "demo": {"PIL"},
    "pictures": {"PIL"},
    "linalg": {"scipy"},
    "web": {"fastapi", "starlette", "uvicorn"},
}
MAX_LINES = 400


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_known(path: Path) -> set[str]:
    names = imported(ast.parse(path.read_text()))
    known = {name.split(".")[1] for name in names if name.startswith("earsight.")}
    return {name for name in known if (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_knows_only_whom_it_may(path: Path) -> None:
    here = room(path)
    assert here in MAY_KNOW, f"{here} is a new room: give it a line in docs/architecture.md"
    strangers = rooms_known(path) - OPEN - MAY_KNOW[here] - {here}
    assert not strangers, f"{path.relative_to(ROOT)} must not know {sorted(strangers)}"


def test_every_room_in_the_table_exists() -> None:
    assert {room(path) for path in modules()} == set(MAY_KNOW)


def test_no_cycle_between_rooms() -> None:
    edges = {here: set[str]() for here in MAY_KNOW}
    for path in modules():
        edges[room(path)] |= rooms_known(path) - {room(path)}
    while edges:
        free = {here for here, known in edges.items() if not known & edges.keys()}
        assert free, f"a cycle among {sorted(edges)}"
        edges = {here: known for here, known in edges.items() if here not in free}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the modules that reach each other, group by group."""

    def reached(start: str) -> set[str]:
        found, todo = set[str](), [start]
        while todo:
            new = edges[todo.pop()] - found
            found |= new
            todo += new
        return found

    reach = {module: reached(module) for module in edges}
    return {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in edges
        if module in reach[module]
    }


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {frozenset("bc")}


def test_no_circle_among_modules() -> None:
    """Neither at import nor in functions; `TYPE_CHECKING` alone is no import."""
    paths = {module_of(path): path for path in modules()}
    edges = {}
    for module, path in paths.items():
        body = [node for node in ast.parse(path.read_text()).body if not _typing(node)]
        edges[module] = set[str]()
        for node in ast.walk(ast.Module(body, [])):
            names = imported(ast.Module([node], [])) if isinstance(node, ast.ImportFrom) else set()
            names = {name.removeprefix("earsight.") for name in names} & paths.keys()
            if len(names) > 1:  # `from package import module` needs the module alone
                names -= {str(node.module).removeprefix("earsight.")}  # type: ignore[attr-defined]
            edges[module] |= names - {module}
    assert not circles(edges)


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if str(path.relative_to(ROOT)) not in TORCH_ONLY],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    at_top = ast.Module([n for n in ast.parse(path.read_text()).body if not _typing(n)], [])
    top = {
        name
        for node in at_top.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Try)
        for name in imported(node)
    }
    heavy = {name.split(".")[0] for name in top} & HEAVY - AT_HOME.get(room(path), set())
    assert not heavy, f"{path.relative_to(ROOT)} imports {sorted(heavy)} at its top"


def _typing(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, earsight.cli as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit as e: assert not e.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stderr.splitlines()}
    assert not loaded & (HEAVY | {"numpy", "pydantic"})


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_nothing_in_the_package_reads_the_shared_folder() -> None:
    for path in modules():
        assert "../shared" not in path.read_text()
        assert "shared/" not in path.read_text()

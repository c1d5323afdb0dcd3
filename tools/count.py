"""Count what makes a house hard to read: `make count`, or `python tools/count.py [--strict]`.

Lines and files a folder, import circles, long functions and files, many positional parameters,
private names of other folders, functions imported under another name. `--strict` ends with 1 where
a limit is broken.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "earsight"
SOURCE = ROOT / "src" / PACKAGE
MOST_LINES, MOST_IN_A_FUNCTION, MOST_POSITIONAL = 350, 60, 4
SHOWN = 10  # offenders of each kind


class Module(NamedTuple):
    """A file of the package: its dotted name, path, lines and tree."""

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def folder(self) -> str:
        """The dotted name of the folder that it lies in."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]


class Import(NamedTuple):
    """A name of the package that a module imports: from which module, which, and as what."""

    module: str
    name: str
    alias: str | None


def modules(source: Path = SOURCE) -> dict[str, Module]:
    """Return the modules below a package's folder by their dotted names."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = [source.name, *path.relative_to(source).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, len(text.splitlines()), ast.parse(text))
    return found


def imports(module: Module, known: dict[str, Module]) -> Iterator[Import]:
    """Yield what a module imports from its own package, also inside functions.

    What is under `if TYPE_CHECKING` is never imported.
    """
    top = module.name.partition(".")[0]
    for node in ast.walk(ast.Module([one for one in module.tree.body if not _is_typing(one)], [])):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] == top:
                    yield Import(name.name, "", name.asname)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == top:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                if inner in known:
                    yield Import(inner, "", name.asname)
                else:
                    yield Import(node.module or "", name.name, name.asname)


def _is_typing(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of names that reach each other, smallest first.

    >>> circles({"a": {"b"}, "b": {"a"}, "c": {"a"}})
    [['a', 'b']]
    """
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen, left = set[str](), [*edges[start]]
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += edges.get(name, ())
        reached[start] = seen
    groups = {
        tuple(sorted(b for b in seen if a in reached.get(b, ()))): None
        for a, seen in reached.items()
        if a in seen
    }
    return sorted((list(group) for group in groups), key=lambda group: (len(group), group))


def functions(module: Module) -> Iterator[tuple[str, int, int]]:
    """Yield each function's name, its lines, and how many positional parameters it has."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
            own = [name for name in positional if name not in ("self", "cls")]
            where = f"{module.name}.{node.name}"
            yield where, (node.end_lineno or node.lineno) - node.lineno + 1, len(own)


def graph(known: dict[str, Module]) -> dict[str, set[str]]:
    """Return module → the modules that it imports; the package itself names all, so it is out."""
    inner = {name: module for name, module in known.items() if "." in name}
    return {
        name: {one.module for one in imports(module, known) if one.module in inner} - {name}
        for name, module in inner.items()
    }


def rooms(known: dict[str, Module], edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return room → the rooms that it imports: a folder, or a file beside the folders.

    A folder below `_name` or inside another one but `library` belongs to that one.
    """

    def room(name: str) -> str:
        parts = name.split(".")
        inside = parts[1] == "library" and f"{'.'.join(parts[:3])}" in known
        return ".".join(parts[: 3 if inside else 2])

    made: dict[str, set[str]] = {}
    for name, targets in edges.items():
        made.setdefault(room(name), set()).update({*map(room, targets)} - {room(name)})
    return made


def private(known: dict[str, Module]) -> list[str]:
    """Return the imports of a name or a file of another folder that begins with an underscore."""
    found = []
    for module in known.values():
        for one in imports(module, known):
            target = known.get(one.module)
            home = target.folder if target else one.module
            hidden = one.name.startswith("_") and not one.name.startswith("__")
            parts = one.module.split(".")
            at = next((i for i, part in enumerate(parts) if part.startswith("_")), len(parts))
            outside = at < len(parts) and not f"{module.name}.".startswith(
                ".".join(parts[:at]) + "."
            )
            if outside or (hidden and home != module.folder):
                found.append(f"{module.name} imports {one.module}{'.' * bool(one.name)}{one.name}")
    return found


def renamed(known: dict[str, Module]) -> list[str]:
    """Return the names of ours that are imported as something else."""
    return [
        f"{module.name} imports {one.module}.{one.name} as {one.alias}"
        for module in known.values()
        for one in imports(module, known)
        if one.name and one.alias and one.alias != one.name
    ]


def faults(known: dict[str, Module]) -> dict[str, list[str]]:
    """Return what breaks a limit, by kind, the worst first."""
    edges = graph(known)
    every = [one for module in known.values() for one in functions(module)]
    longest = sorted(every, key=lambda one: -one[1])
    widest = sorted(every, key=lambda one: -one[2])
    files = sorted(known.values(), key=lambda module: -module.lines)
    return {
        "import circles between files": [" ⇄ ".join(group) for group in circles(edges)],
        "import circles between rooms": [
            " ⇄ ".join(group) for group in circles(rooms(known, edges))
        ],
        f"files above {MOST_LINES} lines": [
            f"{module.lines} {module.name}" for module in files if module.lines > MOST_LINES
        ],
        f"functions above {MOST_IN_A_FUNCTION} lines": [
            f"{lines} {name}" for name, lines, _ in longest if lines > MOST_IN_A_FUNCTION
        ],
        f"functions with more than {MOST_POSITIONAL} positional parameters": [
            f"{wide} {name}" for name, _, wide in widest if wide > MOST_POSITIONAL
        ],
        "private names of another folder": private(known),
        "imported under another name": renamed(known),
    }


def main(words: list[str]) -> int:
    """Print the counts; return 1 where `--strict` is given and a limit is broken."""
    for top in ("src", "tests", "benchmarks", "tools", "examples"):
        files = [*(ROOT / top).rglob("*.py")]
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        print(f"{top:12}{lines:8,} lines{len(files):6} files")
    known = modules()
    print(f"\n{'folder':36}{'files':>6}{'lines':>8}")
    count, lines = Counter[str](), Counter[str]()
    for module in known.values():
        count[module.folder] += 1
        lines[module.folder] += module.lines
    for folder in sorted(count):
        print(f"{folder:36}{count[folder]:6}{lines[folder]:8,}")
    found = faults(known)
    for kind, each in found.items():
        print(f"\n{len(each)} {kind}")
        for one in each[:SHOWN]:
            print(f"    {one}")
        if len(each) > SHOWN:
            print(f"    … and {len(each) - SHOWN} more")
    return int("--strict" in words and any(found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

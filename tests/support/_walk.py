"""Which rooms of the source something passes on its way, from the calls that are handed it.

    PYTHONPATH=src python tests/support/_walk.py search QUERY -l CLIPS    # prints a query's walk

A room is a folder of the source, or a module at its top. A room is entered by a call from another
room; a return is no entry. What is open to every room (paths, arrays, errors) is none.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2] / "src" / "earsight"
OPEN = {"arrays.py", "errors.py", "paths.py", "prefetch.py", "untrusted.py"}


class Walk:
    """The calls by which a traced thing was handed on.

    Attributes:
        calls: "FILE:FUNCTION", one after another.
        entries: Room → how often it was entered.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.entries: Counter[str] = Counter()

    def __str__(self) -> str:
        rooms = ", ".join(f"{room} {n}x" for room, n in self.entries.items())
        return "\n".join([*self.calls, f"{len(self.entries)} rooms: {rooms}"])


def room_of(frame: FrameType | None) -> str | None:
    """Return the room of the innermost frame that is ours."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT):
            inside = file.relative_to(ROOT)
            return str(inside.parent) if len(inside.parts) > 1 else inside.name
        frame = frame.f_back
    return None


@contextmanager
def walking(carries: Callable[[Any], bool], *, itself: str = "") -> Iterator[Walk]:
    """Record the calls of this thread into the source with an argument for which `carries` holds.

    Args:
        carries: Whether a value is the traced thing, or made of it.
        itself: The file of the traced thing's own class, whose methods are not on the way.
    """
    walk = Walk()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(f"{ROOT}/"):
            return
        file = str(Path(code.co_filename).relative_to(ROOT))
        n = code.co_argcount + code.co_kwonlyargcount
        if file in OPEN | {itself}:
            return
        if not any(carries(frame.f_locals.get(name)) for name in code.co_varnames[:n]):
            return
        walk.calls.append(f"{file}:{code.co_name}")
        room = room_of(frame)
        if room is not None and room != room_of(frame.f_back):
            walk.entries[room] += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield walk
    finally:
        sys.setprofile(before)


def walk_of_a_query(arguments: list[str]) -> Walk:
    """Run a search on the command line; follow its file by any name, and what is made of it."""
    from earsight.cli import app
    from earsight.library.search.query import EmbeddedQuery, Query
    from earsight.library.search.results import SearchResults

    name = Path(arguments[1]).name

    def carries(value: Any) -> bool:
        if isinstance(value, str | Path):
            return Path(value).name == name
        return isinstance(value, Query | EmbeddedQuery | SearchResults)

    with walking(carries, itself="library/search/query.py") as walk:
        app(arguments, standalone_mode=False)
    return walk


if __name__ == "__main__":
    sys.stderr.write(f"{walk_of_a_query(sys.argv[1:])}\n")

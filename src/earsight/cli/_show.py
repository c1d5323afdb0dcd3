"""How the command line shows things: progress and notes on stderr, results on stdout."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_EVERY = 5.0  # seconds between lines where there is no terminal


def say(text: str) -> None:
    """Print a line for people, on stderr."""
    sys.stderr.write(text + "\n")


def out(text: str) -> None:
    """Print a line of the result, on stdout."""
    sys.stdout.buffer.write((text + "\n").encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def printable(text: str) -> str:
    """Return text on one line: control characters of a file's name as escapes.

    >>> printable("two\\nlines.mp4")
    'two\\\\nlines.mp4'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def short(path: str) -> str:
    """Return a path as seen from here, where it lies below."""
    here = os.getcwd() + os.sep  # noqa: PTH109 - a Path would lose the trailing separator
    return printable(path.removeprefix(here))


def clock(seconds: float) -> str:
    """Return seconds as m:ss.

    >>> clock(75.4)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def plural(n: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "clip"), plural(3, "clip")
    ('1 clip', '3 clips')
    """
    return f"{n} {noun}" + ("" if n == 1 else "s")


def table(*columns: str) -> "Table":
    """Return an empty table without lines; the first column is left-aligned, others right."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return made


def show(made: "Table") -> None:
    """Print a table on stdout, as wide as it needs to be where there is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(made)


class Lines:
    """Progress as plain lines, at most one every few seconds; for logs and pipes."""

    def __init__(self) -> None:
        self._what, self._total, self._done = "", 0, 0
        self._begun = self._told = 0.0

    def start(self, what: str, total: int) -> None:
        """Begin a step."""
        self._what, self._total, self._done = what, total, 0
        self._begun = self._told = time.monotonic()

    def advance(self, note: str = "") -> None:
        """Count one item."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            left = (now - self._begun) / self._done * (self._total - self._done)
            say(f"{self._what}: {self._done} of {self._total}, {clock(left)} left")

    def finish(self) -> None:
        """End the step."""
        spent = time.monotonic() - self._begun
        say(f"{self._what}: {self._done} of {self._total} in {spent:.1f} s")

    def say(self, text: str) -> None:
        """Print a line."""
        say(printable(text))


class Bar:
    """Progress as a bar with rate and time left; for terminals."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._bar: Any = None
        self._task: Any = None

    def start(self, what: str, total: int) -> None:
        """Begin a step."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}", markup=True),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total, note="")
        self._bar.start()

    def advance(self, note: str = "") -> None:
        """Count one item."""
        from rich.markup import escape

        self._bar.update(self._task, advance=1, note=escape(printable(note)[-40:]))

    def finish(self) -> None:
        """End the step, or leave it where it stands."""
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(printable(text), markup=False)


@contextmanager
def progress() -> Iterator[Lines | Bar]:
    """Give a bar for a terminal, lines for anything else; the terminal is left as it was."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.finish()

"""How the command line shows things: progress and notes on stderr, results on stdout.

How much is said is chosen once for a run: `--quiet` leaves results and what is wrong, `-v` adds the
reasons that the library logs.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from earsight.paths import on_one_line, readable

if TYPE_CHECKING:
    from rich.table import Table

_EVERY = 5.0  # seconds between lines where there is no terminal; …
_SOON = 0.5  # … the first of a step comes after so many
_TICK = 0.25
_LINE = threading.Lock()
_RATE_AFTER = 1.0  # seconds of a step before its rate means anything
_quiet = False
_bar: "Bar | None" = None  # what holds the terminal's last line just now


class _Reasons(logging.Handler):
    """Shows what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as a line."""
        warn(printable(record.getMessage()))


_REASONS = _Reasons()


def speak(*, quiet: bool = False, verbose: bool = False) -> None:
    """Choose how much this run says; at most one of the two."""
    global _quiet
    _quiet = quiet
    log = logging.getLogger("earsight")
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    downloads = logging.getLogger("earsight.weights.progress")
    downloads.setLevel(logging.ERROR if quiet else logging.INFO)
    if _REASONS not in log.handlers:
        log.addHandler(_REASONS)


def say(text: str) -> None:
    """Print a line for people, on stderr, unless they want quiet."""
    if not _quiet:
        warn(text)


def warn(text: str) -> None:
    """Print a line about something wrong, on stderr, also to those who want quiet."""
    if _bar is not None:
        _bar.above(text)
    else:
        sys.stderr.write(text + "\n")


def out(text: str) -> None:
    """Print a line of the result, on stdout."""
    sys.stdout.buffer.write((text + "\n").encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def printable(text: str) -> str:
    """Return text on one line: control characters as escapes, no letters as signs.

    >>> printable("two\\nlines %FF.mp4")
    'two\\\\nlines \ufffd.mp4'
    """
    return on_one_line(readable(text))


def printable_lines(text: str) -> str:
    """Return text of several lines, each made printable: what a file is called moves no cursor."""
    return "\n".join(map(printable, text.split("\n")))


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


def speed(done: float, seconds: float) -> str:
    """Return a rate as it is put behind a count; nothing while it would mean nothing.

    >>> speed(30, 10.0), speed(3, 60.0), speed(1, 0.1)
    (', 3.0 a second', ', 0.05 a second', '')
    """
    if not done or seconds < _RATE_AFTER:
        return ""
    rate = done / seconds
    return f", {rate:.{1 if rate >= 1 else 2}f} a second"


def size(n_bytes: float) -> str:
    """Return bytes with a unit.

    >>> size(700), size(2_500_000), size(3 * 2**30)
    ('0.7 kB', '2.5 MB', '3.2 GB')
    """
    for power, unit in ((9, "GB"), (6, "MB")):
        if n_bytes >= 10**power:
            return f"{n_bytes / 10**power:.1f} {unit}"
    return f"{n_bytes / 1000:.1f} kB"


def plural(n: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "clip"), plural(3, "clip"), plural(2, "copy", "copies")
    ('1 clip', '3 clips', '2 copies')
    """
    return f"{n} {noun if n == 1 else nouns or noun + 's'}"


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


_SILENCE = 1.0  # seconds
_waiting: list[threading.Timer] = []


class Lines:
    """Progress as plain lines, one soon and then one every few seconds; for logs and pipes.

    They come also while nothing is done, as at a long clip: from a thread of their own.
    """

    def __init__(self) -> None:
        self._what, self._total, self._done = "", 0, 0
        self._begun = self._told = 0.0
        self._over = threading.Event()

    def start(self, what: str, total: int) -> None:
        """Begin a step."""
        _begins()
        self.leave()
        self._what, self._total, self._done = what, total, 0
        self._begun = time.monotonic()
        self._told = self._begun - _EVERY + _SOON
        self._over = threading.Event()
        threading.Thread(target=self._follow, args=(self._over,), daemon=True).start()

    def advance(self, note: str = "") -> None:
        """Count one item."""
        self._done += 1
        self._tell()

    def _follow(self, over: threading.Event) -> None:
        while not over.wait(_TICK):
            self._tell()

    def _tell(self) -> None:
        with _LINE:
            now = time.monotonic()
            if now - self._told < _EVERY or self._over.is_set():
                return
            self._told = now
        spent = now - self._begun
        told = f"{self._what}: {self._done} of {self._total}{speed(self._done, spent)}"
        if self._done:
            told += f", {clock(spent / self._done * (self._total - self._done))} left"
        say(told)

    def leave(self) -> None:
        """Say no more of the step, over or not."""
        self._over.set()

    def finish(self) -> None:
        """End the step; one that was over at once is not worth a line."""
        self.leave()
        spent = time.monotonic() - self._begun
        if spent < _RATE_AFTER:
            return
        rate = speed(self._done, spent)
        say(f"{self._what}: {self._done} of {self._total} in {spent:.1f} s{rate}")

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
        _begins()
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        class Speed(ProgressColumn):
            def render(self, task: Task) -> str:
                return speed(task.completed, task.elapsed or 0.0).removeprefix(", ")

        self.finish()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            Speed(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
            expand=True,  # the note is cut, so that it all stays on one line
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
        say(printable(text))

    def above(self, text: str) -> None:
        """Print a line above the bar, whoever says it."""
        self._console.print(text, markup=False)


@contextmanager
def soon(what: str) -> Iterator[None]:
    """Say what is done once it takes a second without a step of progress: whoever waits sees it."""
    timer = threading.Timer(_SILENCE, say, [what])
    timer.daemon = True
    _waiting.append(timer)
    timer.start()
    try:
        yield
    finally:
        _begins()


def _begins() -> None:
    """A step of progress begins, so nothing else need be said."""
    while _waiting:
        _waiting.pop().cancel()


@contextmanager
def busy(with_what: str) -> Iterator[None]:
    """Show on a terminal what takes a while; the line is gone when it is done."""
    if _quiet or not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(f"{with_what} …")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


@contextmanager
def progress() -> Iterator[Lines | Bar]:
    """Give a bar for a terminal, lines for anything else; the terminal is left as it was."""
    global _bar
    if _quiet or not sys.stderr.isatty():
        lines = Lines()
        try:
            yield lines
        finally:
            lines.leave()
        return
    before, _bar = _bar, Bar()
    try:
        yield _bar
    finally:
        _bar.finish()
        _bar = before

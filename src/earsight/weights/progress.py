"""How far a download is: a callback; a bar on stderr if that is a terminal, else lines logged."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[str, int, int | None], None]
"""Called with what is read, the bytes so far, and all of them where that is known."""

LOG = logging.getLogger(__name__)
_EVERY = 5.0  # seconds between lines
_RATE_AFTER = 2.0  # seconds of arriving bytes before their rate means anything


def silent(what: str, done: int, total: int | None) -> None:
    """Report to nobody."""


@contextmanager
def terminal_bar() -> Iterator[Progress]:
    """Draw a bar on stderr if it is a terminal, else log a line every few seconds.

    Whoever wants neither sets this module's logger to ERROR.
    """
    if LOG.getEffectiveLevel() >= logging.ERROR:
        yield silent
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _lines()


def named(name: str, several: bool, progress: Progress) -> Progress:
    """Return a callback that calls what is read by the name that was asked for.

    Args:
        name: Of the weights.
        several: Whether they come as several files, which are told apart.
        progress: Is called.
    """

    def show(what: str, done: int, total: int | None) -> None:
        progress(f"{name}, {what}" if several else name, done, total)

    return show


class Arriving:
    """Bytes that arrive, in words: megabytes throughout, and no time left before there is a rate.

    >>> arriving = Arriving()
    >>> arriving.told(1_000_000, 50_000_000, now=10.0)  # what was waited for the first is no rate
    '1.0 of 50.0 MB'
    >>> arriving.told(5_000_000, 50_000_000, now=14.0)
    '5.0 of 50.0 MB, 1.0 MB a second, 0:45 left'
    """

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def told(self, done: int, total: int | None, now: float) -> str:
        """Return how much is here, how fast it comes and how long it still takes."""
        self._first = self._first or (now, done)
        since, before = self._first
        text = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
        if now - since < _RATE_AFTER or done <= before:
            return text
        rate = (done - before) / (now - since)
        text += f", {rate / 1e6:.1f} MB a second"
        if not total:
            return text
        left = round((total - done) / rate)
        return f"{text}, {left // 60}:{left % 60:02d} left"


def _lines() -> Progress:
    arriving: dict[str, Arriving] = {}
    told_at = time.monotonic()

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal told_at
        now = time.monotonic()
        told = arriving.setdefault(what, Arriving()).told(done, total, now)
        if now - told_at >= _EVERY:
            told_at = now
            LOG.info("Fetching %s: %s", what, told)

    return show


def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, tuple[Any, Arriving]] = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = (bars.add_task(f"Fetching {what}", total=total, told=""), Arriving())
            task, arriving = tasks[what]
            told = arriving.told(done, total, time.monotonic())
            bars.update(task, completed=done, total=total, told=told)

        yield show

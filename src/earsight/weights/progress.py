"""How far a download is: a callback; a bar on stderr if that is a terminal, else lines logged."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]
"""Called with what is read, the bytes so far, and all of them where that is known."""

LOG = logging.getLogger(__name__)
_EVERY = 5.0  # seconds between lines


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


def _lines() -> Progress:
    begun = told = time.monotonic()

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < _EVERY:
            return
        told = now
        rate = done / (now - begun)
        of = f" of {total / 1e6:.1f}" if total else ""
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        LOG.info("%s: %.1f%s MB, %.1f MB a second%s", what, done / 1e6, of, rate / 1e6, left)

    return show


def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bars(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show

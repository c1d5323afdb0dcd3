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


@contextmanager
def terminal_bar() -> Iterator[Progress]:
    """Draw a bar on stderr if it is a terminal, else log a line every few seconds.

    To have neither, set this module's logger to ERROR.
    """
    if LOG.getEffectiveLevel() >= logging.ERROR:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _lines()


def _lines() -> Progress:
    told_at = time.monotonic()

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _EVERY:
            told_at = time.monotonic()
            of = f" of {total / 1e6:.1f}" if total else ""
            LOG.info("Fetching %s: %.1f%s MB", what, done / 1e6, of)

    return show


def _bar() -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        *(bars.TextColumn("Fetching {task.description}"), bars.BarColumn()),
        *(bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn()),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, bars.TaskID] = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield show

"""Work in the background, one job of a kind at a time, with its progress for the page."""

import threading
import time
from collections.abc import Callable
from typing import Any

from earsight.errors import EarsightError
from earsight.library.progress import Progress
from earsight.web.error_handlers import as_unicode
from earsight.web.models import JobProgress

_MAX_MESSAGES = 50


class Job:
    """A kind of work that can be started again when it has ended; it is its own `Progress`."""

    def __init__(self, work: Callable[[Progress], dict[str, Any]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._now = JobProgress(running=False)
        self._begun = 0.0

    def begin(self) -> None:
        """Start, unless it runs already."""
        with self._lock:
            if self._now.running:
                return
            self._now = JobProgress(running=True, report=self._now.report)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        report, error = None, None
        try:
            report = self._work(self)
        except Exception as problem:  # the page must learn that it ended
            kind = "" if isinstance(problem, EarsightError) else f"{type(problem).__name__}: "
            error = as_unicode(f"{kind}{problem}")
        with self._lock:
            self._now.running, self._now.what, self._now.error = False, "", error
            self._now.report = report or self._now.report

    def progress(self) -> JobProgress:
        """Return how far it is, or how it ended."""
        with self._lock:
            now = self._now.model_copy()
            spent = time.monotonic() - self._begun
        if now.running and now.done and spent > 0:
            now.rate = now.done / spent
            now.seconds_left = (now.total - now.done) / now.rate
        return now

    def start(self, what: str, total: int) -> None:
        """A step of `total` items begins."""
        with self._lock:
            self._now.what, self._now.done, self._now.total = what, 0, total
            self._begun = time.monotonic()

    def advance(self, note: str = "") -> None:
        """One item of the current step is done."""
        with self._lock:
            self._now.done += 1

    def finish(self) -> None:
        """The current step is over."""

    def say(self, text: str) -> None:
        """A line for people."""
        with self._lock:
            self._now.messages = [*self._now.messages, as_unicode(text)][-_MAX_MESSAGES:]

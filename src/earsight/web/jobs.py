"""Work in the background, one piece of a kind at a time, with its progress for the page."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from earsight.errors import EarsightError
from earsight.library.progress import Progress
from earsight.web.error_handlers import as_unicode

_MESSAGES = 50  # kept


class Job:
    """A kind of work that can be started again when it has ended; it is its own `Progress`.

    Args:
        work: Is told where to report its progress; returns what the page shows.
    """

    def __init__(self, work: Callable[[Progress], dict[str, Any]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._running = False
        self._messages: deque[str] = deque(maxlen=_MESSAGES)
        self._what, self._done, self._total = "", 0, 0
        self._begun = 0.0
        self._error: str | None = None
        self._result: dict[str, Any] | None = None

    def begin(self) -> None:
        """Start, unless it is at work."""
        with self._lock:
            if self._running:
                return
            self._running = True
            self._messages.clear()
            self._what, self._done, self._total = "", 0, 0
            self._error = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._work(self)
        except EarsightError as problem:
            error = str(problem)
        except Exception as problem:  # the page must learn that it ended
            error = f"{type(problem).__name__}: {problem}"
        with self._lock:
            self._running = False
            self._error = None if error is None else as_unicode(error)
            self._result = result or self._result

    def snapshot(self) -> dict[str, Any]:
        """Return where it stands: running, what, done, total, rate, seconds_left, …"""
        with self._lock:
            spent = time.monotonic() - self._begun
            known = self._running and self._done > 0
            rate = self._done / spent if known and spent > 0 else None
            left = (self._total - self._done) / rate if rate else None
            return {
                "running": self._running,
                "what": self._what if self._running else "",
                "done": self._done,
                "total": self._total,
                "rate": rate,
                "seconds_left": left,
                "messages": list(self._messages),
                "error": self._error,
                "report": self._result,
            }

    # -- Progress --------------------------------------------------------------------------------

    def start(self, what: str, total: int) -> None:
        """A step of `total` items begins."""
        with self._lock:
            self._what, self._done, self._total = what, 0, total
            self._begun = time.monotonic()

    def advance(self, note: str = "") -> None:
        """One item of the current step is done."""
        with self._lock:
            self._done += 1

    def finish(self) -> None:
        """The current step is over."""

    def say(self, text: str) -> None:
        """A line for people."""
        with self._lock:
            self._messages.append(as_unicode(text))

"""Work in the background, one job of a kind at a time, with its progress for the page."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from earsight.errors import EarsightError
from earsight.library.progress import Progress
from earsight.web.error_handlers import as_unicode

_MAX_MESSAGES = 50


class Job:
    """A kind of work that can be started again when it has ended; it is its own `Progress`."""

    def __init__(self, work: Callable[[Progress], dict[str, Any]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._running = False
        self._messages: deque[str] = deque(maxlen=_MAX_MESSAGES)
        self._what, self._done, self._total, self._begun = "", 0, 0, 0.0
        self._error: str | None = None
        self._result: dict[str, Any] | None = None

    def begin(self) -> None:
        """Start, unless it runs already."""
        with self._lock:
            if self._running:
                return
            self._running, self._error = True, None
            self._messages.clear()
            self._what, self._done, self._total = "", 0, 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._work(self)
        except Exception as problem:  # the page must learn that it ended
            kind = "" if isinstance(problem, EarsightError) else f"{type(problem).__name__}: "
            error = as_unicode(f"{kind}{problem}")
        with self._lock:
            self._running, self._error = False, error
            self._result = result or self._result

    def snapshot(self) -> dict[str, Any]:
        """Return the fields of `models.IndexAnswer`."""
        with self._lock:
            spent = time.monotonic() - self._begun
            rate = self._done / spent if self._running and self._done and spent > 0 else None
            return {
                "running": self._running,
                "what": self._what if self._running else "",
                "done": self._done,
                "total": self._total,
                "rate": rate,
                "seconds_left": (self._total - self._done) / rate if rate else None,
                "messages": list(self._messages),
                "error": self._error,
                "report": self._result,
            }

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

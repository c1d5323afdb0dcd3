"""A day of `earsight index --watch`, on a clock of its own."""

from pathlib import Path
from typing import Any

import pytest

from earsight.library.indexing import watch as module
from earsight.library.indexing.pipeline import IndexReport
from earsight.library.indexing.watch import watch_folder


class StoppedError(Exception):
    pass


class Day:
    """Runs `watch` on a clock of its own; between two looks, what was planned happens."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, library: str | None = None
    ) -> None:
        self.folder, self.library, self.now = folder, library, 0.0
        self.plan: list[Any] = []
        self.reports: list[IndexReport] = []
        self.said: list[str] = []
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if not self.plan:
            raise StoppedError
        happens = self.plan.pop(0)
        if happens is not None:
            happens()

    def say(self, text: str) -> None:
        self.said.append(text)

    def start(self, what: str, total: int) -> None: ...

    def advance(self, note: str = "") -> None: ...

    def finish(self) -> None: ...

    def watch(self, *plan: Any) -> None:
        self.plan = list(plan)
        with pytest.raises(StoppedError):
            watch_folder(
                self.folder,
                self.reports.append,
                library=self.library,
                progress=self,
                workers=1,
                every=2,
                settle=5,
            )

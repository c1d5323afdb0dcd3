"""Work in processes of this machine.

A worker that dies (a decoder may crash on a hostile file) takes one item with it, never the run,
and no worker outlives its parent.
"""

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from tempfile import TemporaryDirectory
from typing import Any, Generic

from earsight.engine import _worker
from earsight.engine._base import TICK, Item, Result, WorkerDied

_GRACE = 5.0  # seconds that a process which is ended may take
_AHEAD = 0.25  # seconds of work, by what the last item took, that lie ready at a worker, …
_MOST = 16  # … at most so many items


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    start: Callable[[], None] | None = None,
    tick: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | WorkerDied]]:
    """Yield (item, result) as they come, from `workers` processes.

    `items` is drawn from only as fast as workers take it, so that memory is bounded by the workers,
    not by the collection: one for each, and more where they are done in no time. An error that
    `work` raises is raised here; a death is yielded as `WorkerDied` after a second try, alone in a
    process of its own, at the end.

    Args:
        work: A function that a process can import.
        items: What to work on; it may be a generator that prepares each item.
        workers: Number of processes, at least 1.
        start: Called once in each new process.
        tick: Called here every half second while nothing comes.
    """
    with TemporaryDirectory(prefix="earsight-work-", ignore_cleanup_errors=True) as scratch:
        new = partial(_Worker, work, start, scratch)
        many = _Pool(new, items, workers, tick)
        yield from many.results()
        for suspect in many.suspects:
            alone = _Pool(new, [suspect], 1, tick)
            yield from alone.results()
            for item in alone.suspects:
                yield item, WorkerDied("The process that read it crashed, twice.")


class _Worker(Generic[Item]):
    """One process, and the items that lie at it, the one that it works on first."""

    def __init__(
        self, work: Callable[[Item], Any], start: Callable[[], None] | None, scratch: str
    ) -> None:
        self.process, self.pipe = _worker.spawn(_worker.serve, work, start, scratch, daemon=False)
        # Whoever draws no more results, and does not say so, must not hold up the end of Python.
        self._at_exit = weakref.finalize(self, self.process.kill)
        self.items: deque[Item] = deque()
        self.is_ready = self.is_recalled = False
        self._last = _AHEAD  # seconds that the last item took

    @property
    def room(self) -> int:
        """How many items more it should have; where they take long, others may be free earlier."""
        if not self.is_ready or self.is_recalled:
            return 0
        return max(1, min(_MOST, int(_AHEAD / max(self._last, 1e-6)))) - len(self.items)

    def give(self, item: Item) -> None:
        """Let it work on an item after those that it has."""
        self.items.append(item)
        with suppress(OSError):  # it has died: the next look at the pipe tells
            self.pipe.send(item)

    def recall(self) -> None:
        """Ask for what it has not begun."""
        self.is_recalled = True
        with suppress(OSError):
            self.pipe.send_bytes(_worker.RECALL)

    def hear(self) -> tuple[str, Any]:
        """Return the next answer.

        Raises:
            EOFError, OSError: It has died.
        """
        kind, outcome, spent = self.pipe.recv()
        if kind == _worker.READY:
            self.is_ready = True
        elif kind == _worker.BACK:
            self.is_recalled = False
        else:
            self._last = spent
        return kind, outcome

    def end(self, *, now: bool) -> None:
        """Let it end once it is done, or kill it."""
        self._at_exit.detach()
        if now:
            self.process.kill()
            self.process.join(_GRACE)
        else:
            with suppress(OSError):
                self.pipe.send_bytes(_worker.END)
        self.pipe.close()


class _Pool(Generic[Item]):
    """Workers that share items.

    Attributes:
        suspects: Items at which a process died, once all the others are done.
    """

    def __init__(
        self,
        new: Callable[[], _Worker[Item]],
        items: Iterable[Item],
        workers: int,
        tick: Callable[[], None] | None,
    ) -> None:
        self.suspects: list[Item] = []
        self._new, self._n, self._tick = new, workers, tick
        self._items = iter(items)
        self._again: deque[Item] = deque()  # what was taken from a worker before it began
        self._are_more = True
        self._workers: list[_Worker[Item]] = []

    def results(self) -> Iterator[tuple[Item, Any]]:
        """Yield (item, result) as they come; whoever leaves early waits for nothing."""
        try:
            while self._hand_out():
                timeout = 0.0 if self._could_hand_out else TICK
                ready = wait([worker.pipe for worker in self._workers], timeout)
                if not ready and timeout:
                    self._wait_on()
                for worker in [one for one in self._workers if one.pipe in ready]:
                    try:
                        kind, outcome = worker.hear()
                    except (EOFError, OSError):
                        self._bury(worker)
                        continue
                    if kind == _worker.FAILED:
                        raise outcome
                    if kind == _worker.DONE:
                        yield worker.items.popleft(), outcome
                    elif kind == _worker.BACK:
                        self._take_back(worker, outcome)
        finally:
            while self._workers:
                worker = self._workers.pop()
                worker.end(now=bool(worker.items))

    def _hand_out(self) -> bool:
        """Give each worker with room one item; return whether any result is to come."""
        idle = [one for one in self._workers if one.room > 0]
        fewest = sorted(idle, key=lambda one: len(one.items))
        starting = [None] * (self._n - len(self._workers))
        free = sum(not one.items for one in idle)
        for worker in (*fewest[:free], *starting, *fewest[free:]):
            for item in self._drawn():
                if worker is None:
                    worker = self._new()
                    self._workers.append(worker)
                worker.give(item)
        return any(worker.items for worker in self._workers)

    @property
    def _could_hand_out(self) -> bool:
        are_more = self._are_more or bool(self._again)
        return are_more and any(worker.room > 0 for worker in self._workers)

    def _drawn(self) -> Iterator[Item]:
        """Yield one item, if there is one."""
        if self._again:
            yield self._again.popleft()
        elif self._are_more:
            for item in self._items:
                yield item
                return
            self._are_more = False

    def _wait_on(self) -> None:
        """Nothing came; what lies at one who takes long is for those who have nothing to do."""
        if self._tick is not None:
            self._tick()
        if len(self._workers) == self._n and all(worker.items for worker in self._workers):
            return
        for worker in self._workers:
            if len(worker.items) > 1 and worker.is_ready and not worker.is_recalled:
                worker.recall()

    def _bury(self, worker: _Worker[Item]) -> None:
        self._workers.remove(worker)
        worker.end(now=True)
        if worker.items:
            self.suspects.append(worker.items.popleft())
            self._take_back(worker, len(worker.items))

    def _take_back(self, worker: _Worker[Item], n: int) -> None:
        for _ in range(n):
            self._again.appendleft(worker.items.pop())

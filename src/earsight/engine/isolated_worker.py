"""One process apart, for what may crash it or take too long; and several, for many such things."""

import queue
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from typing import Any

from earsight.engine import _worker
from earsight.engine._base import Item, NoTimeLeft, Result, TookTooLong, WorkerDied
from earsight.errors import BusyError


class IsolatedWorker:
    """One process that works on one item at a time, stays warm, and may die or be ended.

    Its temporary files lie in a folder of their own, which goes with it.

    Args:
        start: Called once in each new process.
    """

    def __init__(self, start: Callable[[], None] | None = None) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None
        self._clear: Callable[[], Any] | None = None  # removes its temporary files

    def call(
        self,
        work: Callable[[Item], Result],
        item: Item,
        seconds: float,
        *,
        wait: float | None = None,
    ) -> Result:
        """Return `work(item)`, done by the process; an error that it raises is raised here.

        Args:
            work: A function that a process can import.
            item: What to work on.
            seconds: After so long the process is ended; the next call starts another.
            wait: Seconds to wait for another thread's item; default: as long as it takes.

        Raises:
            TookTooLong: It was ended.
            BusyError: The other thread's item took longer than `wait`.
            WorkerDied: The process crashed.
        """
        if not self._lock.acquire(timeout=-1 if wait is None else wait):
            raise BusyError(f"Another was being worked on, and was not done within {wait:g} s.")
        try:
            return self._call(work, item, seconds)
        finally:
            self._lock.release()

    def _call(self, work: Callable[[Item], Result], item: Item, seconds: float) -> Result:
        if self._process is None or not self._process.is_alive():
            self._end()
            self._begin()
        pipe = self._pipe  # another thread may close all meanwhile
        assert pipe is not None
        try:
            pipe.send((work, item))
            if not pipe.poll(seconds):
                self._end()
                raise TookTooLong(f"It was not done within {seconds:g} s and was ended.")
            kind, outcome = pipe.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise WorkerDied("The process that worked on it crashed.") from error
        except BaseException:  # its answer must not be taken for the next one's
            self._end()
            raise
        if kind == _worker.FAILED:
            raise outcome
        result: Result = outcome
        return result

    def close(self) -> None:
        """End the process, at work or not."""
        self._end()

    def _begin(self) -> None:
        scratch = tempfile.mkdtemp(prefix="earsight-work-")
        self._clear = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._process, self._pipe = _worker.spawn(_serve, self._start, scratch, daemon=True)

    def _end(self) -> None:
        process, pipe, clear = self._process, self._pipe, self._clear
        self._process = self._pipe = self._clear = None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()
        if clear is not None:
            clear()


def run_within(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    each: float,
    all_of_them: float,
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | TookTooLong | WorkerDied]]:
    """Yield (item, result) as they come, or what ended it; an error of `work` is raised here.

    Args:
        work: A function that a process can import.
        items: What to work on.
        workers: Number of processes, at least 1.
        each: Seconds after which work on one item is ended; the others go on.
        all_of_them: Seconds after which everything is; what was at work then for less than `each`,
            or was not begun, comes as `NoTimeLeft`, which is a `TookTooLong`.
        start: Called once in each new process.
    """
    until = time.monotonic() + all_of_them
    aparts = [IsolatedWorker(start) for _ in range(workers)]
    idle: queue.SimpleQueue[IsolatedWorker] = queue.SimpleQueue()
    for apart in aparts:
        idle.put(apart)

    def one(item: Item) -> Result | TookTooLong | WorkerDied:
        apart = idle.get()
        left = until - time.monotonic()
        try:
            if left > 0:
                return apart.call(work, item, min(each, left))
        except WorkerDied as error:
            return error
        except TookTooLong as error:
            if each <= left:
                return error
        finally:
            idle.put(apart)
        return NoTimeLeft(f"There was no time left for it of {all_of_them:g} s.")

    with ThreadPoolExecutor(workers) as threads:
        try:
            given = {threads.submit(one, item): item for item in items}
            for done in as_completed(given):
                yield given[done], done.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for apart in aparts:
                apart.close()


def _serve(pipe: Connection, start: Callable[[], None] | None, scratch: str) -> None:
    _worker.begin(start, scratch)
    while True:
        try:
            work, item = pipe.recv()
        except (EOFError, OSError):
            return
        _worker.answer(pipe, *_worker.outcome_of(work, item))

"""Where work runs: in worker processes on this machine.

A worker that dies (a decoder may crash on a hostile file) takes one item with it, never the run,
and no worker outlives its parent.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from earsight.errors import BusyError, EarsightError

_TICK = 0.5  # seconds

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDied(EarsightError):  # noqa: N818 - it is what happened, told in the summary
    """The process that worked on an item was killed or crashed."""


class TookTooLong(EarsightError):  # noqa: N818 - it is what happened, told in the message
    """Work was ended because its time was over."""


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

    `items` is drawn from only as fast as workers take it, two for each worker at most, so that
    memory is bounded by the workers, not by the collection. An error that `work` raises is raised
    here; a death is yielded as `WorkerDied` after a second try alone in a process of its own.

    Args:
        work: A function that a process can import.
        items: What to work on; it may be a generator that prepares each item.
        workers: Number of processes, at least 1.
        start: Called once in each new process.
        tick: Called here every half second while nothing comes.
    """
    queue = iter(items)
    suspects: list[Item] = []
    more = True
    while more:
        pool = _pool(workers, start)
        pending: dict[Future[Result], Item] = {}
        try:
            while True:
                while more and len(pending) < 2 * workers:
                    try:
                        item = next(queue)
                    except StopIteration:
                        more = False
                        break
                    try:
                        pending[pool.submit(work, item)] = item
                    except BrokenProcessPool:  # a worker died while the item was drawn
                        suspects.append(item)
                        raise
                if not pending:
                    break
                done, _ = wait(pending, timeout=_TICK, return_when=FIRST_COMPLETED)
                if tick is not None and not done:
                    tick()
                for future in done:
                    item = pending[future]
                    result = future.result()
                    del pending[future]
                    yield item, result
        except BrokenProcessPool:
            suspects += pending.values()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        yield from _alone(work, suspects, start, tick)
        suspects.clear()


def _alone(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    start: Callable[[], None] | None,
    tick: Callable[[], None] | None,
) -> Iterator[tuple[Item, Result | WorkerDied]]:
    for item in items:
        pool = _pool(1, start)
        try:
            future = pool.submit(work, item)
            while not wait([future], timeout=_TICK).done:
                if tick is not None:
                    tick()
            yield item, future.result()
        except BrokenProcessPool as error:
            died = WorkerDied("The process that read it crashed, twice.")
            died.__cause__ = error
            yield item, died
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pool(workers: int, start: Callable[[], None] | None) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(start,))


def _begin(start: Callable[[], None] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Apart:
    """One process that works on one item at a time, stays warm, and may die or be ended.

    Args:
        start: Called once in each new process.
    """

    def __init__(self, start: Callable[[], None] | None = None) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

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
            self._begin()
        assert self._pipe is not None
        try:
            self._pipe.send((work, item))
            if not self._pipe.poll(seconds):
                self._end()
                raise TookTooLong(f"It was not done within {seconds:g} s and was ended.")
            is_error, outcome = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise WorkerDied("The process that worked on it crashed.") from error
        except BaseException:  # its answer must not be taken for the next one's
            self._end()
            raise
        if is_error:
            raise outcome
        result: Result = outcome
        return result

    def close(self) -> None:
        """End the process, at work or not."""
        self._end()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._start), daemon=True)
        self._process.start()
        theirs.close()

    def _end(self) -> None:
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()


def _serve(pipe: Connection, start: Callable[[], None] | None) -> None:
    _begin(start)
    while True:
        try:
            work, item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            outcome = (False, work(item))
        except Exception as error:
            outcome = (True, error)
        try:
            pipe.send(outcome)
        except Exception as error:  # an outcome that cannot travel
            pipe.send((True, RuntimeError(f"{type(error).__name__}: {error}")))

"""Work in processes of this machine.

A worker that dies (a decoder may crash on a hostile file) takes one item with it, never the run,
and no worker outlives its parent.
"""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

from earsight.engine._base import TICK, Item, Result, WorkerDied

_GRACE = 5.0  # seconds that a process which is ended may take


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
        pending: dict[Future[Result], Item] = {}
        with _pool(workers, start, pending) as pool, suppress(BrokenProcessPool):
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
                done, _ = wait(pending, timeout=TICK, return_when=FIRST_COMPLETED)
                if tick is not None and not done:
                    tick()
                for future in done:
                    item = pending[future]
                    result = future.result()
                    del pending[future]
                    yield item, result
        suspects += pending.values()
        yield from _alone(work, suspects, start, tick)
        suspects.clear()


def _alone(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    start: Callable[[], None] | None,
    tick: Callable[[], None] | None,
) -> Iterator[tuple[Item, Result | WorkerDied]]:
    for item in items:
        found: Result | WorkerDied
        pending = [item]
        try:
            with _pool(1, start, pending) as pool:
                future = pool.submit(work, item)
                while not wait([future], timeout=TICK).done:
                    if tick is not None:
                        tick()
                found = future.result()
                pending.clear()
        except BrokenProcessPool as error:
            found = WorkerDied("The process that read it crashed, twice.")
            found.__cause__ = error
        yield item, found


@contextmanager
def _pool(
    workers: int, start: Callable[[], None] | None, pending: Collection[object]
) -> Iterator[ProcessPoolExecutor]:
    """Give processes; once they are left, what is pending ends, and their temporary files go."""
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory(prefix="earsight-work-", ignore_cleanup_errors=True) as scratch:
        pool = ProcessPoolExecutor(
            workers, mp_context=context, initializer=begin, initargs=(start, scratch)
        )
        try:
            yield pool
        finally:
            if pending:  # nobody waits for it any more, and the end of this process would
                _stop(pool)
            pool.shutdown(wait=False, cancel_futures=True)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End what a pool is at; `terminate_workers` does so from Python 3.14 on."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE)


def begin(start: Callable[[], None] | None, scratch: str | None = None) -> None:
    """Begin the life of a worker, which ends with its parent's; temporary files go to `scratch`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tempfile.tempdir = scratch
    if start is not None:
        start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

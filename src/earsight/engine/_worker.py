"""What a worker process is made of: its start, its life beside its parent's, and its answers.

Parent and worker talk through one pipe and share nothing else. A named semaphore, as the queues of
`multiprocessing` need, would be left where the parent is killed, and told to its user as a leak.
"""

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import Empty, SimpleQueue
from typing import Any

RECALL, END = b"recall", b"end"  # what a parent sends beside pickled items; no pickle begins so
_SAFE = "PYTHONSAFEPATH"
_STARTING = threading.Lock()
READY, DONE, FAILED, BACK = "ready", "done", "failed", "back"  # what a worker answers


def spawn(target: Callable[..., None], *more: Any, daemon: bool) -> tuple[SpawnProcess, Connection]:
    """Start a process that calls `target(pipe, *more)`; return it and our end of the pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *more), daemon=daemon)
    with _undisturbed(), _not_from_here():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal stop the start of a process halfway, which it would answer with a traceback.

    Ctrl-C in a terminal is sent to all its processes. It never reaches those started here: their
    parent ends them.
    """
    held: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda sent, _: held.append(sent))
    with _not_from_here():
        resource_tracker.ensure_running()  # by itself it would do so later, and unblock signals
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for sent in held:
            signal.raise_signal(sent)


@contextmanager
def _not_from_here() -> Iterator[None]:
    """Let a new process import nothing from the current folder, which may be a received one.

    It begins with `python -c`, and so would look there first, for the standard library too.
    """
    with _STARTING:
        before = os.environ.get(_SAFE)
        os.environ[_SAFE] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SAFE]
            else:
                os.environ[_SAFE] = before


def begin(start: Callable[[], None] | None, scratch: str) -> None:
    """Begin the life of a worker, which ends with its parent's; temporary files go to `scratch`."""
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()
    tempfile.tempdir = scratch
    if start is not None:
        start()


def _end_with_parent(scratch: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _vanish(scratch)


def _vanish(scratch: str) -> None:
    """End this process at once; the parent cannot remove temporary files any more."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def outcome_of(work: Callable[[Any], Any], item: Any) -> tuple[str, Any]:
    """Return what working on an item gave: (DONE, result) or (FAILED, error)."""
    try:
        return DONE, work(item)
    except Exception as error:
        error.add_note(f"In the process that worked on it:\n{traceback.format_exc()}")
        return FAILED, error


def answer(pipe: Connection, kind: str, outcome: Any, *more: Any) -> None:
    """Send an outcome, or that it cannot travel; nobody to hear it ends this process."""
    try:
        pipe.send((kind, outcome, *more))
    except OSError:
        os._exit(1)
    except Exception as error:  # whatever an object of any kind raises when it is pickled
        pipe.send((FAILED, RuntimeError(f"{type(error).__name__}: {error}"), *more))


def serve(
    pipe: Connection,
    work: Callable[[Any], Any],
    start: Callable[[], None] | None,
    scratch: str,
) -> None:
    """Work on the items that come, in their order, until there are no more."""
    begin(start, scratch)
    given: SimpleQueue[bytes | None] = SimpleQueue()
    sending = threading.Lock()
    threading.Thread(target=_take, args=(pipe, given, sending, scratch), daemon=True).start()
    with sending:
        answer(pipe, READY, None, 0.0)
    while (packed := given.get()) is not None:
        begun = time.monotonic()
        kind, outcome = outcome_of(_Packed(work), packed)
        spent = time.monotonic() - begun
        with sending:
            answer(pipe, kind, outcome, spent)


class _Packed:
    """Work on an item that is still pickled; one that cannot be read is the item's failure."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def __call__(self, packed: bytes) -> Any:
        return self._work(pickle.loads(packed))  # noqa: S301 - the parent pickled it


def _take(
    pipe: Connection, given: "SimpleQueue[bytes | None]", sending: threading.Lock, scratch: str
) -> None:
    """Take what the parent sends as it comes, so that it never waits for a worker at work."""
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):  # the parent is gone, or wants nothing of it any more
            _vanish(scratch)
        if message == END:
            given.put(None)
            return
        if message != RECALL:
            given.put(message)
            continue
        n = 0
        try:
            while True:
                given.get_nowait()
                n += 1
        except Empty:
            with sending:
                answer(pipe, BACK, n, 0.0)

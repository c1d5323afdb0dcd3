"""Faces of clips for a server, a frame or the shape of the sound: made in processes apart.

A clip that crashes its decoder or takes for ever must not take the server with it. The processes
stay warm; one clip's sound is read at a time, so that frames never wait for more than a frame.
"""

import importlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight.engine import Apart, TookTooLong, WorkerDied
from earsight.errors import BusyError, MediaError
from earsight.library.reports import preview
from earsight.library.search.sandbox import limit_memory

PROCESSES = 2


@dataclass(frozen=True)
class Patience:
    """How long faces may take.

    Attributes:
        frame: Seconds after which reading a frame is ended.
        sound: Seconds after which reading a whole sound is ended.
        waiting: Seconds that one waits for those before it.
    """

    frame: float = 10.0
    sound: float = 60.0
    waiting: float = 20.0


class FaceReader:
    """Makes faces, two at a time.

    Args:
        patience: How long they may take.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._aparts = [Apart(limit_memory) for _ in range(PROCESSES)]
        self._idle: queue.LifoQueue[Apart] = queue.LifoQueue()  # the one that is warm comes first
        self._listening = threading.Lock()
        for apart in self._aparts:
            self._idle.put(apart)

    def picture(self, clip: Path, at: float) -> bytes:
        """Return the frame at `at` seconds as a JPEG (see `preview.picture`).

        Raises:
            MediaError: It cannot be read, took too long, or crashed its reader.
            BusyError: Those before it are still being read.
        """
        made: bytes = self._call(preview.picture, (clip, at), self._patience.frame)
        return made

    def peaks(self, clip: Path, n: int) -> tuple[list[float], float]:
        """Return how loud a clip is in `n` stretches, and its seconds (see `preview.peaks`).

        Raises:
            MediaError, BusyError: As `picture`.
        """
        until = time.monotonic() + self._patience.waiting
        if not self._listening.acquire(timeout=self._patience.waiting):
            raise _busy()
        try:
            heights, seconds = self._call(preview.peaks, (clip, n), self._patience.sound, until)
        finally:
            self._listening.release()
        return heights.tolist(), seconds

    def warm(self) -> None:
        """Start a process now, in the background, so that the first face need not wait."""

        def load() -> None:
            import contextlib

            with contextlib.suppress(Exception):  # the first face will tell
                self._call(_load, (), self._patience.sound)

        threading.Thread(target=load, daemon=True).start()

    def close(self) -> None:
        """End the processes."""
        for apart in self._aparts:
            apart.close()

    def _call(
        self,
        work: Callable[..., Any],
        arguments: tuple[Any, ...],
        patience: float,
        until: float | None = None,
    ) -> Any:
        until = time.monotonic() + self._patience.waiting if until is None else until
        with self._turn(until) as apart:
            try:
                return apart.call(_made, (work, arguments), patience)
            except TookTooLong as error:
                raise MediaError(f"Reading it took longer than {patience:g} s.") from error
            except WorkerDied as error:
                raise MediaError("Reading it crashed its decoder.") from error
            except MemoryError as error:
                raise MediaError("Reading it takes too much memory.") from error

    @contextmanager
    def _turn(self, until: float) -> Iterator[Apart]:
        try:
            apart = self._idle.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            raise _busy() from None
        try:
            yield apart
        finally:
            self._idle.put(apart)


def _busy() -> BusyError:
    return BusyError("Other clips are being looked at; try again in a moment.")


def _made(job: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    work, arguments = job
    return work(*arguments)


def _load() -> None:
    """Import what reads clips."""
    for name in ("av", "av.video.reformatter", "PIL.Image", "PIL.JpegImagePlugin"):
        importlib.import_module(name)

"""Untrusted files: decoded in processes of their own, with limits on memory and time.

Such a file may crash a decoder, claim a hundred hours, or take for ever. The processes stay warm
between files; one that takes too long is ended.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from earsight.engine import IsolatedWorker, TookTooLong, WorkerDied
from earsight.errors import BusyError, MediaError
from earsight.library.embedding.extraction import Sources, read_clip, why_no_vectors
from earsight.library.search.query import SandboxedFile, Timing
from earsight.library.search.timing import read_timing
from earsight.media import Status
from earsight.untrusted import content_hash

MEMORY = 6 << 30
"""Bytes of data that a process may have; a frame of 100 million pixels needs 1 GiB."""

T = TypeVar("T")


def limit_memory() -> None:
    """Let this process have so much data and no more."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def busy(name: str, seconds: float) -> BusyError:
    """Return the error of a file that waited in vain."""
    return BusyError(
        f"{name} waited {seconds:g} s for the file before it to be read; try again in a moment."
    )


class Sandbox:
    """Processes that call functions on untrusted files, each on one file at a time.

    Args:
        processes: How many.
        waiting: Seconds that a file waits for those before it.
    """

    def __init__(self, processes: int, waiting: float) -> None:
        self._waiting = waiting
        self._processes = [IsolatedWorker(limit_memory) for _ in range(processes)]
        self._idle: queue.LifoQueue[IsolatedWorker] = (
            queue.LifoQueue()
        )  # the one that is warm comes first
        for process in self._processes:
            self._idle.put(process)

    def call(
        self, work: Callable[[Any], T], job: object, name: str, *, seconds: float, waited: float = 0
    ) -> T:
        """Return `work(job)`.

        Args:
            work: A function that a process can import.
            job: What it takes.
            name: What errors call the file.
            seconds: After so long the process is ended.
            waited: Seconds that the file has waited already.

        Raises:
            MediaError: The file cannot be read, took too long or too much memory, or crashed the
                process.
            BusyError: Those before it are still being read.
        """
        with self._idle_process(name, max(0.0, self._waiting - waited)) as process:
            try:
                return process.call(work, job, seconds)
            except TookTooLong as error:
                raise MediaError(
                    f"{name} could not be read within {seconds:g} s; cut a shorter piece."
                ) from error
            except WorkerDied as error:
                raise MediaError(f"{name} cannot be read: it crashed its decoder.") from error
            except MemoryError as error:
                raise MediaError(
                    f"{name} cannot be read within {MEMORY >> 30} GiB of memory; cut a shorter or "
                    "smaller piece."
                ) from error
            except MediaError as error:
                raise MediaError(f"{name}: {error}") from error

    def warm(self, work: Callable[[Any], object], job: object, seconds: float) -> None:
        """Call a function in the background, so that the first file finds a process ready."""

        def load() -> None:
            with suppress(Exception):  # the first file will tell
                self.call(work, job, "", seconds=seconds)

        threading.Thread(target=load, daemon=True).start()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()

    @contextmanager
    def _idle_process(self, name: str, seconds: float) -> Iterator[IsolatedWorker]:
        try:
            process = self._idle.get(timeout=seconds)
        except queue.Empty:
            raise busy(name, self._waiting) from None
        try:
            yield process
        finally:
            self._idle.put(process)


@dataclass(frozen=True)
class _Job:
    path: Path
    sources: Sources
    max_seconds: float
    timing: bool


class UploadReader:
    """Reads uploads to search by, one at a time.

    Args:
        max_seconds: A file that claims or holds more is refused.
        patience: Seconds after which reading is ended.
        waiting: Seconds that a file waits for the one before it.
    """

    def __init__(self, max_seconds: float, patience: float, waiting: float = 60.0) -> None:
        self._max_seconds, self._patience = max_seconds, patience
        self._sandbox = Sandbox(1, waiting)

    def read(
        self, path: Path, name: str, sources: Sources, *, timing: bool = False
    ) -> SandboxedFile:
        """Return what a file sounds and looks like, and if `timing` when.

        Raises:
            MediaError: It cannot be read, is too long, took too long, or crashed its reader.
            BusyError: The file before it is still being read.
        """
        content = content_hash(path)
        job = _Job(path, sources, self._max_seconds, timing)
        vectors, times = self._sandbox.call(_read, job, name, seconds=self._patience)
        return SandboxedFile(name, content, vectors, times)

    def warm(self, sources: Sources) -> None:
        """Load the networks now, in the background, so that the first file need not wait."""
        self._sandbox.warm(_load, sources, self._patience)

    def close(self) -> None:
        """End the process."""
        self._sandbox.close()


def _read(job: _Job) -> tuple[dict[str, Any], Timing | None]:
    read = read_clip(job.path, job.sources, whole=True, max_seconds=job.max_seconds)
    if read.report.status is Status.UNREADABLE or not read.windows:
        raise MediaError(why_no_vectors(read, job.sources))
    vectors = {role: vector[None, :] for role, vector in read.windows[0].vectors.items()}
    return vectors, read_timing(job.path) if job.timing else None


def _load(sources: Sources) -> None:
    """Run the networks on a picture and on a second of silence."""
    import tempfile
    import wave

    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        picture, sound = Path(folder) / "grey.png", Path(folder) / "silence.wav"
        Image.new("RGB", (64, 64), (128, 128, 128)).save(picture)
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 16000))
        for path in (picture, sound):
            read_clip(path, sources, whole=True)

"""Files to search by that come from elsewhere: read in a process of their own, with limits.

Such a file may crash a decoder, claim a hundred hours, or take for ever. The process that reads it
stays warm between files; it is ended where it takes too long, and its memory is limited.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight.engine import Apart, TookTooLong, WorkerDied
from earsight.errors import BusyError, MediaError
from earsight.library.catalog.scan import content_of
from earsight.library.embedding.extraction import Sources, read_clip, why_nothing
from earsight.library.search.timing import Timing, read_timing
from earsight.media import Status

MEMORY = 6 << 30
"""Bytes of data that the process may have; a frame of 100 million pixels needs 1 GiB."""


@dataclass(frozen=True)
class Stranger:
    """A file that was read, ready to be searched by.

    Attributes:
        name: What to call it.
        content: SHA-256 of its bytes.
        vectors: Role → (1, d); empty where the content is one of the library's own.
        timing: When it sounds ("audio") and moves ("visual"); None: not read.
    """

    name: str
    content: str
    vectors: Mapping[str, Any]
    timing: Timing | None = None


@dataclass(frozen=True)
class _Job:
    path: Path
    sources: Sources
    max_seconds: float
    timing: bool


class StrangerReader:
    """Reads one file at a time.

    Args:
        max_seconds: A file that claims or holds more is refused.
        patience: Seconds after which reading is ended.
        waiting: Seconds that a file waits for the one before it.
    """

    def __init__(self, max_seconds: float, patience: float, waiting: float = 60.0) -> None:
        self._max_seconds, self._patience, self._waiting = max_seconds, patience, waiting
        self._apart = Apart(limit_memory)

    def read(self, path: Path, name: str, sources: Sources, *, timing: bool = False) -> Stranger:
        """Return what a file sounds and looks like, and if `timing` when.

        Raises:
            MediaError: It cannot be read, is too long, took too long, or crashed its reader.
            BusyError: The file before it is still being read.
        """
        content = content_of(path)
        try:
            job = _Job(path, sources, self._max_seconds, timing)
            vectors, times = self._apart.call(_read, job, self._patience, wait=self._waiting)
        except BusyError as error:
            raise BusyError(
                f"{name} waited {self._waiting:g} s for the file before it to be read; try again "
                "in a moment."
            ) from error
        except TookTooLong as error:
            raise MediaError(
                f"{name} could not be read within {self._patience:g} s; cut a shorter piece."
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
        return Stranger(name, content, vectors, times)

    def warm(self, sources: Sources) -> None:
        """Load the networks now, in the background, so that the first file need not wait."""

        def load() -> None:
            import contextlib

            with contextlib.suppress(Exception):  # the first file will tell
                self._apart.call(_load, sources, self._patience)

        threading.Thread(target=load, daemon=True).start()

    def close(self) -> None:
        """End the process."""
        self._apart.close()


def limit_memory() -> None:
    """Let this process have so much data and no more."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _read(job: _Job) -> tuple[dict[str, Any], Timing | None]:
    read = read_clip(job.path, job.sources, whole=True, max_seconds=job.max_seconds)
    if read.report.status is Status.UNREADABLE or not read.windows:
        raise MediaError(why_nothing(read, job.sources))
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

"""Offsets of clips and repaired copies, for a server: in a process apart, one clip at a time.

A clip that crashes its decoder or takes for ever must not take the server with it.
"""

from dataclasses import dataclass
from pathlib import Path

from earsight.alignment.clip_offset import align
from earsight.engine import Apart, TookTooLong, WorkerDied
from earsight.errors import MediaError
from earsight.library.search.sandbox import limit_memory
from earsight.media import shift_sound

_INTO = (".mp4", ".m4v", ".mov", ".mkv")  # containers that a copy can have; else it tries two


@dataclass(frozen=True)
class Found:
    """What the witnesses say of one clip.

    Attributes:
        seconds: By how much its sound comes after its sight; None: no answer.
        agreeing: Witnesses that agree.
        of: How many there are.
        why: Why there is no answer; empty where there is one.
        lasting: Whether the same would be found again; what took too long may not, another time.
    """

    seconds: float | None
    agreeing: int
    of: int
    why: str
    lasting: bool = True


@dataclass(frozen=True)
class _Copy:
    clip: Path
    folder: Path
    seconds: float


class OffsetReader:
    """Finds and repairs offsets, one at a time.

    Args:
        patience: Seconds after which work on a clip is ended.
        waiting: Seconds that a clip waits for the one before it.
    """

    def __init__(self, patience: float = 60.0, waiting: float = 20.0) -> None:
        self._patience, self._waiting = patience, waiting
        self._apart = Apart(limit_memory)

    def find(self, clip: Path) -> Found:
        """Return by how much the sound of a clip is off, or why that cannot be told.

        Raises:
            BusyError: The clip before it is still at work.
        """
        try:
            return self._apart.call(_find, clip, self._patience, wait=self._waiting)
        except TookTooLong:
            why = f"It took longer than {self._patience:g} s; earsight align has no such limit."
        except WorkerDied:
            why = "Reading it crashed its decoder."
        except MemoryError:
            why = "It takes too much memory."
        except MediaError as error:
            return Found(None, 0, 0, str(error))
        return Found(None, 0, 0, why, lasting=False)

    def repair(self, clip: Path, found: Found, folder: Path) -> Path:
        """Write a copy whose sound is in step into a folder of its own, and return it.

        Raises:
            MediaError: There is nothing to repair, or the streams cannot be copied.
            BusyError: The clip before it is still at work.
        """
        if found.seconds is None:
            raise MediaError(f"There is no offset to repair. {found.why}")
        job = _Copy(clip, folder, found.seconds)
        try:
            return self._apart.call(_repair, job, self._patience, wait=self._waiting)
        except TookTooLong as error:
            raise MediaError(
                f"Copying took longer than {self._patience:g} s; earsight align -o has no such "
                "limit."
            ) from error
        except WorkerDied as error:
            raise MediaError("Copying it crashed its decoder.") from error

    def close(self) -> None:
        """End the process."""
        self._apart.close()


def _find(clip: Path) -> Found:
    found = align(clip)
    return Found(found.offset.seconds, found.offset.agreement, found.witnesses, found.offset.why)


def _repair(job: _Copy) -> Path:
    ending = job.clip.suffix.lower()
    endings = (ending,) if ending in _INTO else (".mp4", ".mkv")
    for ending in endings:
        out = job.folder / f"repaired{ending}"
        try:
            shift_sound(job.clip, out, -job.seconds)
        except MediaError:
            if ending == endings[-1]:
                raise
        else:
            break
    return out

"""Follow a folder: index what comes once it has come whole, until somebody stops it.

The folder is walked every few seconds. That costs milliseconds for thousands of clips, works on
network disks, where the notices of an operating system do not arrive, and needs no package.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight.errors import EarsightError
from earsight.library.catalog.base import Store
from earsight.library.catalog.location import place_for, stands
from earsight.library.catalog.scan import File, scan
from earsight.library.embedding.settings import Settings
from earsight.library.indexing.forget import leave_out
from earsight.library.indexing.pipeline import IndexReport, index
from earsight.library.progress import Progress, Silent
from earsight.paths import as_text
from earsight.storage import Place

LOG = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two looks at the folder
SETTLE = 5.0  # seconds that size and time of a file must stay before it is read
_AFTER_ERROR = 30.0  # seconds until the next try
_BUSY = 20  # a look takes at most one part in so many of the time


class Settling:
    """Tells files that are still being written from those that have come whole.

    Args:
        settle: Seconds without a change after which a file is whole.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[File, float] = {}

    def growing(self, files: Iterable[File], now: float) -> set[bytes]:
        """Return the paths of those files that changed too short a time ago.

        Args:
            files: New and changed files as they are now; what is not among them is forgotten.
            now: Seconds of a clock that only goes forward.
        """
        before, self._since = self._since, {}
        for file in files:
            if file not in before:
                LOG.info("%s is new or changed; waiting for it to settle.", as_text(file.path))
            self._since[file] = before.get(file, now)
        return {file.path for file, since in self._since.items() if now - since < self._settle}


def watch(
    folder: Path,
    told: Callable[[IndexReport], None],
    *,
    library: str | Place | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    every: float = EVERY,
    settle: float = SETTLE,
    trust: bool = False,
    **changes: Any,
) -> None:
    """Index a folder, then again after each change of it; ends only by an exception.

    A clip that cannot be read, a full or unmounted disk and a library that another process works
    on are told of, and waited for; what the first `index` refuses is raised.

    Args:
        folder: The clips.
        told: Called with the report of each `index`.
        library: Where the library is kept; default `folder/.earsight`.
        workers: Processes that decode and extract; default: the cores.
        progress: Is told what happens.
        every: Seconds between two looks at the folder.
        settle: Seconds that a file must stay as it is before it is read.
        trust: As for `index`.
        changes: As for `index`; they hold for all that is indexed.

    Raises:
        InputError: A setting names something that is not there.
        LibraryError: The first `index` could not be done.
    """
    progress = progress or Silent()
    settling = Settling(settle)
    place = place_for(Path(folder), library)
    first, said = True, ""

    def say(text: str) -> None:  # once, however often it is found
        nonlocal said
        if text != said:
            said = text
            progress.say(text)

    while True:
        begun = time.monotonic()
        pause = every
        try:
            seen = _look(Path(folder), place, settling, changes, trust)
            pause = max(every, _BUSY * (time.monotonic() - begun))
            if first and seen.empty:
                say(f"{folder} holds nothing playable yet. Waiting for clips.")
            elif seen.work or (first and not seen.growing):
                report = index(
                    folder,
                    library=library,
                    workers=workers,
                    skip=seen.growing,
                    progress=progress,
                    trust=trust,
                    **changes,
                )
                told(report)
                first, said = False, ""
        except EarsightError as error:
            if first:
                raise
            say(f"{error} Waiting for it to pass.")
            pause = _AFTER_ERROR
        time.sleep(pause)


@dataclass(frozen=True)
class _Seen:
    """What one look at the folder found.

    Attributes:
        growing: Paths of files that may still be being written.
        work: Whether there is something to index.
        empty: Whether there is no media at all.
    """

    growing: set[bytes]
    work: bool
    empty: bool


def _look(
    folder: Path, place: Place, settling: Settling, changes: dict[str, Any], trust: bool
) -> _Seen:
    if stands(place):
        with Store.open(place, root=folder) as store:
            store.bind(folder, agree=trust)
            settings = Settings.agreed(store, changes, agree=trust)
            found, _ = leave_out(store, scan(folder, store.files(), settings.exclude))
    else:
        settings = Settings().changed(changes)
        found = scan(folder, (), settings.exclude)
    fresh, missing = found.fresh + found.texts.fresh, found.missing + found.texts.missing
    growing = settling.growing(fresh, time.monotonic())
    # What is missing may have moved, and be among the growing; a move costs no reading.
    work = len(fresh) > len(growing) or bool(missing and not growing)
    return _Seen(growing, work, empty=not (found.fresh or found.same or found.missing))

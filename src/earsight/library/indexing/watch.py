"""Follow a folder: index each file once it has stopped changing, until somebody stops it.

The folder is walked every few seconds. That costs milliseconds for thousands of clips, and works on
network disks, where an operating system does not report changes.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight.errors import EarsightError
from earsight.library.catalog.open import exists, library_of_clips, open_library
from earsight.library.catalog.scan import File, scan, without_forgotten
from earsight.library.embedding.settings import Settings
from earsight.library.indexing.pipeline import IndexReport, index
from earsight.library.progress import Progress, Silent
from earsight.paths import as_text
from earsight.storage import Location

LOG = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two looks at the folder
SETTLE = 5.0  # seconds that size and time of a file must stay before it is read
_AFTER_ERROR = 30.0  # seconds until the next try
_BUSY = 20  # a look takes at most one part in so many of the time


class Settling:
    """Tells files that are still being written from those that are complete.

    Args:
        settle: Seconds without a change after which a file is complete.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[File, float] = {}

    def growing(self, files: Iterable[File], now: float) -> set[bytes]:
        """Return the paths of those files that changed too short a time ago.

        Args:
            files: New and changed files as they are now.
            now: Seconds of a clock that only goes forward.
        """
        before, self._since = self._since, {}
        for file in files:
            if file not in before:
                LOG.info("%s is new or changed; waiting for it to settle.", as_text(file.path))
            self._since[file] = before.get(file, now)
        return {file.path for file, since in self._since.items() if now - since < self._settle}


def watch_folder(
    folder: Path,
    on_report: Callable[[IndexReport], None],
    *,
    library: str | Location | None = None,
    progress: Progress | None = None,
    every: float = EVERY,
    settle: float = SETTLE,
    **options: Any,
) -> None:
    """Index a folder, then again after each change of it; ends only by an exception.

    A full or unmounted disk, or a library that another process writes, is reported and waited for.
    What the first `index` refuses is raised.

    Args:
        folder: The clips.
        on_report: Called with the report of each `index`.
        library: Where the library is kept; default `folder/.earsight`.
        progress: Receives what happens.
        every: Seconds between two looks at the folder.
        settle: Seconds that a file must stay as it is before it is read.
        options: What else `index` takes: `workers`, `trust` and settings.

    Raises:
        InputError: A setting names something that does not exist.
        LibraryError: The first `index` could not be done.
    """
    say = _SayOnce(progress or Silent())
    settling, first = Settling(settle), True
    location = library_of_clips(Path(folder), library)
    while True:
        begun = time.monotonic()
        pause = every
        try:
            seen = _look(Path(folder), location, settling, **options)
            pause = max(every, _BUSY * (time.monotonic() - begun))
            if first and seen.empty:
                say(f"{folder} holds nothing playable yet. Waiting for clips.")
            elif seen.work or (first and not seen.growing):
                on_report(
                    index(folder, library=library, skip=seen.growing, progress=progress, **options)
                )
                first, say.last = False, ""
        except EarsightError as error:
            if first:
                raise
            say(f"{error} Waiting for it to pass.")
            pause = _AFTER_ERROR
        time.sleep(pause)


class _SayOnce:
    """Says a line to people, but not twice in a row."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self.last = progress, ""

    def __call__(self, text: str) -> None:
        if text != self.last:
            self.last = text
            self._progress.say(text)


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
    folder: Path,
    location: Location,
    settling: Settling,
    *,
    workers: int | None = None,  # what `index` takes beside them
    trust: bool = False,
    **changes: Any,
) -> _Seen:
    if exists(location):
        with open_library(location) as catalog:
            catalog.bind(folder, agree=trust)
            settings = Settings.agreed(catalog, changes, agree=trust)
            found, _ = without_forgotten(catalog, scan(folder, catalog.files(), settings.exclude))
    else:
        settings = Settings().changed(changes)
        found = scan(folder, (), settings.exclude)
    fresh, missing = found.fresh + found.texts.fresh, found.missing + found.texts.missing
    growing = settling.growing(fresh, time.monotonic())
    # What is missing may have moved, and be among the growing; a move costs no reading.
    work = len(fresh) > len(growing) or bool(missing and not growing)
    return _Seen(growing, work, empty=not (found.fresh or found.same or found.missing))

"""When clips sound and move: kept by content, or read from their files and then kept.

It is read when it is first asked for, from the candidates alone, and kept in a table of its own:
it takes every frame of a clip, where an index looks at a few a second, and most clips are never
asked about timing.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from earsight import engine
from earsight.alignment import rhythm
from earsight.errors import EarsightError, InputError, LibraryError, MediaError
from earsight.extractors import extract_all
from earsight.extractors.motion import Motion
from earsight.extractors.onsets import Onsets
from earsight.features import FeatureSequence
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.scan import content_of
from earsight.library.embedding.feature_tables import Tables
from earsight.library.progress import Progress
from earsight.library.search.results import Answer, Result
from earsight.vectors import StoredSequence

LOG = logging.getLogger(__name__)

AGAIN = 600.0  # seconds after which a file is tried again that took too long, or crashed
MAX_SECONDS = 600.0  # a longer file is not read for its timing
WIDTHS = {"audio": 2, "visual": 4 * rhythm.PARTS}

Timing = Mapping[str, FeatureSequence]  # "audio": `heard`; "visual": `seen`; empty where it is not


def read_timing(path: Path) -> Timing:
    """Read both sides of one file: when it sounds, and when it moves.

    Raises:
        MediaError: It cannot be read, or is longer than 600 s.
    """
    found, report = extract_all(path, (Onsets(), Motion()), max_seconds=MAX_SECONDS)
    if not found:
        raise MediaError(f"{path} could not be read. {report.message}".rstrip())
    made = {side: empty(width) for side, width in WIDTHS.items()}
    if "onsets" in found:
        made["audio"] = rhythm.heard(found["onsets"])
    if "motion" in found:
        made["visual"] = rhythm.seen(found["motion"])
    return made


def empty(width: int) -> FeatureSequence:
    """Return a sequence of no steps."""
    return FeatureSequence(np.zeros((0, width), np.float32), np.zeros(0), 1 / rhythm.RATE)


def here(one: Result) -> LibraryClip | None:
    """Return a clip on this machine that holds an answer; a file elsewhere is never opened."""
    copies = () if one.clip is None else (one.clip, *one.others)
    return next((clip for clip in copies if clip.root is not None), None)


@cache
def _version() -> str:
    """Return what tells one way of reading timing from another."""
    made = (Onsets().fingerprint, Motion().fingerprint, rhythm.RATE, rhythm.PARTS, rhythm.KINDS)
    return hashlib.sha256(repr(made).encode()).hexdigest()[:16]


class Slow:
    """What took too long to read, or crashed its reader, by content, and what was said of it.

    For `AGAIN` seconds it is not tried with no more time than it had; a busy machine may have been
    why, so then it is.
    """

    def __init__(self) -> None:
        self._noted: dict[str, tuple[Exception, float, float]] = {}

    def note(self, content: str, error: Exception, given: float) -> None:
        """Remember what came of reading for `given` seconds."""
        self._noted[content] = error, given, time.monotonic()

    def still(self, content: str, given: float) -> Exception | None:
        """Return what to expect of reading for `given` seconds; None: try."""
        error, had, when = self._noted.get(content, (None, 0.0, 0.0))
        return error if had >= given and time.monotonic() - when < AGAIN else None


class Timings:
    """The timing of a library's clips, by content: kept, or read and then kept.

    Args:
        tables: The library's.
        file: The query's, where it is here.
        timing: The query's own, where it was read elsewhere.
        patience: Seconds from now that all reading may take, the query's and the clips', half of
            them for a single file; None: as long as it takes.
        slow: What is known of slow files; what is found out is noted there.

    Attributes:
        patience: As it was given.
        each: Seconds for a single file, None where there is no end.
        unread: How many clips there was no time left for, when they were last asked for.
        slow: How many took longer than `each`, or crashed, then or a while ago.
    """

    def __init__(
        self,
        tables: Tables,
        file: Path | None,
        timing: Timing | None,
        patience: float | None = None,
        slow: Slow | None = None,
    ) -> None:
        self._kept, self._file, self._timing = tables.timing, file, timing
        self._known = slow or Slow()
        self._until = time.monotonic() + (patience or 0.0)
        self.patience = patience
        self.each = None if patience is None else patience / 2
        self.unread = self.slow = 0

    def query(self, answer: Answer, progress: Progress) -> Timing:
        """Return the query's timing.

        Raises:
            InputError: It was not read, and its file is not here.
            MediaError: It cannot be read, is longer than 600 s, or took too long.
        """
        if self._timing is not None:
            return self._timing
        content = answer.content or ""
        if content in (known := self._stored([content])):
            return known[content]
        own = next((here(one) for one in answer if one.is_query), None)
        if own is not None:
            read, why = self._read({content: own}, progress)
            if content in why:
                raise MediaError(f"{answer.query} has no timing to search by. {why[content]}")
            return read[content]
        if self._file is None:
            raise InputError(
                f"The timing of {answer.query} was not read with it; ask by a file that is here."
            )
        if self.each is None:
            return read_timing(self._file)
        timing: Timing | Exception | None = self._known.still(content, self.each)
        if timing is None:
            ((_, timing),) = engine.run_within(
                read_timing, [self._file], workers=1, each=self.each, all_of_them=self._left()
            )
            self._note(content, timing)
        if isinstance(timing, Exception):
            raise MediaError(f"{answer.query} has no timing to search by. {timing}")
        return timing

    def of(self, files: Mapping[str, LibraryClip | None], progress: Progress) -> dict[str, Timing]:
        """Return content → timing; empty sides where a file cannot be read, or is not here.

        Args:
            files: Content → a clip of this machine that holds it; None: it is on another one.
            progress: Told of each file that must be read.
        """
        known = self._stored(files)
        missing = {c: file for c, file in files.items() if file is not None and c not in known}
        read, why = self._read(missing, progress) if missing else ({}, {})
        self.unread = sum(isinstance(error, engine.NoTimeLeft) for error in why.values())
        self.slow = sum(map(_is_slow, why.values())) if self.each is not None else 0
        nothing = {side: empty(width) for side, width in WIDTHS.items()}
        return dict.fromkeys(files, nothing) | known | read

    def _read(
        self, files: Mapping[str, LibraryClip], progress: Progress
    ) -> tuple[dict[str, Timing], dict[str, Exception]]:
        """Read files and keep what was read; return it, and why others could not be read."""
        read: dict[str, Timing] = {}
        bounds = None
        why: dict[str, Exception] = {}
        if self.each is not None:
            bounds = self.each, self._left()
            found = {content: self._known.still(content, self.each) for content in files}
            why = {content: error for content, error in found.items() if error is not None}
            files = {content: clip for content, clip in files.items() if content not in why}
        if not files:
            return read, why
        progress.start("Reading when they sound and move", len(files))
        for content, timing in _read(files, bounds):
            if isinstance(timing, Exception):
                LOG.info("%s: %s", files[content].file, timing)
                why[content] = timing
            else:
                read[content] = timing
            self._note(content, timing)
            progress.advance(files[content].file.name)
        progress.finish()
        self._keep(read)
        return read, why

    def _left(self) -> float:
        return self._until - time.monotonic()

    def _note(self, content: str, found: Timing | Exception) -> None:
        if self.each is not None and isinstance(found, Exception) and _is_slow(found):
            self._known.note(content, found, self.each)

    def _stored(self, contents: Iterable[str]) -> dict[str, Timing]:
        if not self._kept.exists:
            return {}
        found: dict[str, dict[str, FeatureSequence]] = {}
        for item in self._kept.read({"content": list(contents), "source": _version()}):
            found.setdefault(item.content, {})[item.key.rpartition(":")[2]] = item.sequence
        return {content: sides for content, sides in found.items() if len(sides) == len(WIDTHS)}

    def _keep(self, read: Mapping[str, Timing]) -> None:
        """Keep what was read. Where the library cannot be written, it is read again next time."""
        items = [
            StoredSequence(f"{content}:{side}", content, _version(), sequence)
            for content, timing in read.items()
            for side, sequence in timing.items()
        ]
        try:
            self._kept.create()
            self._kept.upsert(items)
        except LibraryError as error:
            LOG.info("The timing of %d clips could not be kept: %s", len(read), error)


def _is_slow(error: Exception) -> bool:
    """Whether a file took longer than a file may, or crashed: another one need not wait for it."""
    late = isinstance(error, engine.TookTooLong) and not isinstance(error, engine.NoTimeLeft)
    return late or isinstance(error, engine.WorkerDied)


def _read(
    files: Mapping[str, LibraryClip], bounds: tuple[float, float] | None
) -> Iterator[tuple[str, Timing | Exception]]:
    """Yield each content with its timing, read in worker processes, or with why it has none.

    Args:
        files: Content → clip.
        bounds: Seconds for one of them, and for all; None: as long as it takes.
    """
    workers = min(engine.default_workers(), len(files))
    if bounds is None:
        found = engine.run(_do, files.items(), workers=workers, start=_start_worker)
    else:
        found = engine.run_within(
            _do,
            files.items(),
            workers=workers,
            each=bounds[0],
            all_of_them=bounds[1],
            start=_start_worker,
        )
    for (content, _), result in found:
        yield content, result


def _do(job: tuple[str, LibraryClip]) -> Timing | EarsightError:
    """Read a clip, if its file still holds the content that its timing is kept by."""
    content, clip = job
    try:
        before = _stamp(clip.file)
        if before != (clip.size, clip.mtime_ns) and content_of(clip.file) != content:
            raise MediaError(f"{clip.file} has changed since it was indexed; index again.")
        timing = read_timing(clip.file)
        if _stamp(clip.file) != before:
            raise MediaError(f"{clip.file} changed while it was read.")
    except OSError as error:
        return MediaError(f"{clip.file} cannot be opened: {error.strerror}.")
    except EarsightError as error:
        return error
    return timing


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _start_worker() -> None:
    os.environ["EARSIGHT_THREADS"] = "1"

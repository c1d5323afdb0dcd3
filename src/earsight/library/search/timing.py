"""When clips sound and move: stored by content, or read from their files and then stored.

It is read when it is first asked for, from the candidates alone, and stored in a table of its own:
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
from earsight.library.progress import Progress
from earsight.library.search.query import Timing
from earsight.library.search.results import SearchResults
from earsight.untrusted import content_hash
from earsight.vectors import SequenceStore, StoredSequence

LOG = logging.getLogger(__name__)

RETRY_AFTER = 600.0  # seconds after which a file is tried again that took too long, or crashed
MAX_SECONDS = 600.0  # a longer file is not read for its timing
WIDTHS = {"audio": 2, "visual": 4 * rhythm.PARTS}


def read_timing(path: Path) -> Timing:
    """Read both sides of one file: when it sounds, and when it moves.

    Raises:
        MediaError: It cannot be read, or is longer than 600 s.
    """
    found, report = extract_all(path, (Onsets(), Motion()), max_seconds=MAX_SECONDS)
    if not found:
        raise MediaError(f"{path} could not be read. {report.message}".rstrip())
    timing = {side: empty(width) for side, width in WIDTHS.items()}
    if "onsets" in found:
        timing["audio"] = rhythm.heard(found["onsets"])
    if "motion" in found:
        timing["visual"] = rhythm.seen(found["motion"])
    return timing


def empty(width: int) -> FeatureSequence:
    """Return a sequence of no steps."""
    return FeatureSequence(np.zeros((0, width), np.float32), np.zeros(0), 1 / rhythm.RATE)


@cache
def _version() -> str:
    """Return what tells one way of reading timing from another."""
    made = (Onsets().fingerprint, Motion().fingerprint, rhythm.RATE, rhythm.PARTS, rhythm.KINDS)
    return hashlib.sha256(repr(made).encode()).hexdigest()[:16]


class SlowFiles:
    """What took too long to read, or crashed its reader, by content, and what was said of it.

    For `RETRY_AFTER` seconds it is tried only with more time than it had; a busy machine may have
    been why, so then it is.
    """

    def __init__(self) -> None:
        self._errors: dict[str, tuple[Exception, float, float]] = {}

    def add(self, content: str, found: Timing | Exception, seconds: float) -> None:
        """Remember what came of reading for so many seconds, if it was too slow or crashed."""
        if isinstance(found, Exception) and _is_slow(found):
            self._errors[content] = found, seconds, time.monotonic()

    def expect(self, content: str, seconds: float) -> Exception | None:
        """Return what reading for so many seconds would end with; None: try."""
        error, had, when = self._errors.get(content, (None, 0.0, 0.0))
        return error if had >= seconds and time.monotonic() - when < RETRY_AFTER else None


class Timings:
    """The timing of a library's clips, by content: stored, or read and then stored.

    Args:
        stored: The library's table.
        file: The query's file, where it is on this machine.
        timing: The query's own timing, where it was read in the sandbox.
        patience: Seconds from now that all reading may take, the query's and the clips', half of
            them for a single file; None: as long as it takes.
        slow_files: What is known of slow files; what is found out is added.

    Attributes:
        patience: As it was given.
        each: Seconds for a single file, None where there is no limit.
        n_unread: How many clips there was no time left for, when they were last asked for.
        n_slow: How many took longer than `each`, or crashed, then or a while ago.
    """

    def __init__(
        self,
        stored: SequenceStore,
        *,
        file: Path | None = None,
        timing: Timing | None = None,
        patience: float | None = None,
        slow_files: SlowFiles | None = None,
    ) -> None:
        self._stored, self._file, self._timing = stored, file, timing
        self._slow_files = slow_files or SlowFiles()
        self._until = time.monotonic() + (patience or 0.0)
        self.patience = patience
        self.each = None if patience is None else patience / 2
        self.n_unread = self.n_slow = 0

    def query(self, results: SearchResults, progress: Progress) -> Timing:
        """Return the query's timing.

        Raises:
            InputError: It was not read, and its file is not on this machine.
            MediaError: It cannot be read, is longer than 600 s, or took too long.
        """
        if self._timing is not None:
            return self._timing
        content = results.content or ""
        timing: Timing | Exception | None = self._load([content]).get(content)
        if timing is None:
            clip = next((one.local_clip for one in results if one.is_query), None)
            if clip is not None:
                timing = self._read({content: clip}, progress)[content]
            elif self._file is not None:
                timing = self._read_query(self._file, content)
            else:
                raise InputError(
                    f"The timing of {results.query} is not known, since its file is not on this "
                    "machine. Search by a file of this machine."
                )
        if isinstance(timing, Exception):
            raise MediaError(f"{results.query} has no timing to search by. {timing}")
        return timing

    def of(self, clips: Mapping[str, LibraryClip | None], progress: Progress) -> dict[str, Timing]:
        """Return content → timing; empty sides where a file cannot be read, or is elsewhere.

        Args:
            clips: Content → a clip of this machine that holds it; None: it is on another one.
            progress: Told of each file that must be read.
        """
        known = self._load(clips)
        missing = {c: clip for c, clip in clips.items() if clip is not None and c not in known}
        found = self._read(missing, progress)
        errors = [one for one in found.values() if isinstance(one, Exception)]
        self.n_unread = sum(isinstance(error, engine.NoTimeLeft) for error in errors)
        self.n_slow = sum(map(_is_slow, errors)) if self.each is not None else 0
        nothing = {side: empty(width) for side, width in WIDTHS.items()}
        read = {c: one for c, one in found.items() if not isinstance(one, Exception)}
        return dict.fromkeys(clips, nothing) | known | read

    def _read(
        self, clips: Mapping[str, LibraryClip], progress: Progress
    ) -> dict[str, Timing | Exception]:
        """Return what files gave, or why they gave nothing; what was read is stored."""
        found: dict[str, Timing | Exception] = {}
        limits = None
        if self.each is not None:
            limits = self.each, self._seconds_left()
            expected = {content: self._slow_files.expect(content, self.each) for content in clips}
            found = {content: error for content, error in expected.items() if error is not None}
        todo = {content: clip for content, clip in clips.items() if content not in found}
        if not todo:
            return found
        progress.start("Reading the timing of clips", len(todo))
        for content, timing in _read_clips(todo, limits):
            if isinstance(timing, Exception):
                LOG.info("%s: %s", todo[content].file, timing)
            if self.each is not None:
                self._slow_files.add(content, timing, self.each)
            found[content] = timing
            progress.advance(todo[content].file.name)
        progress.finish()
        self._store({c: one for c, one in found.items() if not isinstance(one, Exception)})
        return found

    def _read_query(self, file: Path, content: str) -> Timing | Exception:
        if self.each is None:
            return read_timing(file)
        timing: Timing | Exception | None = self._slow_files.expect(content, self.each)
        if timing is None:
            left = self._seconds_left()
            ((_, timing),) = engine.run_within(
                read_timing, [file], workers=1, each=self.each, all_of_them=left
            )
            self._slow_files.add(content, timing, self.each)
        return timing

    def _seconds_left(self) -> float:
        return self._until - time.monotonic()

    def _load(self, contents: Iterable[str]) -> dict[str, Timing]:
        if not self._stored.exists:
            return {}
        found: dict[str, dict[str, FeatureSequence]] = {}
        for item in self._stored.read({"content": list(contents), "source": _version()}):
            found.setdefault(item.content, {})[item.key.rpartition(":")[2]] = item.sequence
        return {content: sides for content, sides in found.items() if len(sides) == len(WIDTHS)}

    def _store(self, read: Mapping[str, Timing]) -> None:
        """Store what was read. Where the library cannot be written, it is read again next time."""
        items = [
            StoredSequence(f"{content}:{side}", content, _version(), sequence)
            for content, timing in read.items()
            for side, sequence in timing.items()
        ]
        try:
            self._stored.create()
            self._stored.upsert(items)
        except LibraryError as error:
            LOG.info("The timing of %d clips could not be stored: %s", len(read), error)


def _is_slow(error: Exception) -> bool:
    """Whether a file took longer than a file may, or crashed: another one need not wait for it."""
    late = isinstance(error, engine.TookTooLong) and not isinstance(error, engine.NoTimeLeft)
    return late or isinstance(error, engine.WorkerDied)


def _read_clips(
    clips: Mapping[str, LibraryClip], limits: tuple[float, float] | None
) -> Iterator[tuple[str, Timing | Exception]]:
    """Yield each content with its timing, read in worker processes, or with why it has none.

    Args:
        clips: Content → clip.
        limits: Seconds for one of them, and for all; None: as long as it takes.
    """
    workers = min(engine.default_workers(), len(clips))
    if limits is None:
        found = engine.run(_read_indexed, clips.items(), workers=workers, start=_start_worker)
    else:
        found = engine.run_within(
            _read_indexed,
            clips.items(),
            workers=workers,
            each=limits[0],
            all_of_them=limits[1],
            start=_start_worker,
        )
    for (content, _), result in found:
        yield content, result


def _read_indexed(job: tuple[str, LibraryClip]) -> Timing | EarsightError:
    """Read a clip, if its file still holds the content that its timing is stored by."""
    content, clip = job
    try:
        before = _stamp(clip.file)
        if before != (clip.size, clip.mtime_ns) and content_hash(clip.file) != content:
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

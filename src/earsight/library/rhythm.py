"""Answers in the order of their timing: of the clips that fit by meaning, whose sight caused this?

What is compared (see `alignment.rhythm`) is read when it is first asked for, from the candidates
alone, and kept in a table of its own: it takes every frame of a clip, where an index looks at a
few a second, and most clips are never asked about timing.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from earsight.library.answers import Answer, Result
from earsight.library.clips import LibraryClip
from earsight.library.progress import Progress, Silent
from earsight.library.scan import content_of
from earsight.library.tables import Tables
from earsight.vectors import StoredSequence

LOG = logging.getLogger(__name__)

CANDIDATES = 100  # answers that are put in another order
OTHERS = 16  # clips whose sounds (or sights) say what any of them reaches
MAX_SECONDS = 600.0  # a longer file is not read for its timing
SHORTEST = 1.0  # seconds that must be there to have a timing
REACH = 0.5  # seconds by which a sound may be off
_SIDES = ("audio", "visual")
_NOTHING = {"audio": "begins to sound", "visual": "moves"}
_WIDTHS = {"audio": 2, "visual": 4 * rhythm.PARTS}

Timing = Mapping[str, FeatureSequence]  # "audio": `heard`; "visual": `seen`; empty where it is not


def read_timing(path: Path) -> Timing:
    """Read both sides of one file: when it sounds, and when it moves.

    Raises:
        MediaError: It cannot be read, or is longer than 600 s.
    """
    found, report = extract_all(path, (Onsets(), Motion()), max_seconds=MAX_SECONDS)
    if not found:
        raise MediaError(f"{path} could not be read. {report.message}".rstrip())
    made = {side: _empty(width) for side, width in _WIDTHS.items()}
    if "onsets" in found:
        made["audio"] = rhythm.heard(found["onsets"])
    if "motion" in found:
        made["visual"] = rhythm.seen(found["motion"])
    return made


def _empty(width: int) -> FeatureSequence:
    return FeatureSequence(np.zeros((0, width), np.float32), np.zeros(0), 1 / rhythm.RATE)


@cache
def _version() -> str:
    """Return what tells one way of reading timing from another."""
    made = (Onsets().fingerprint, Motion().fingerprint, rhythm.RATE, rhythm.PARTS, rhythm.KINDS)
    return hashlib.sha256(repr(made).encode()).hexdigest()[:16]


def candidates(top: int, *, moments: bool = False) -> int:
    """Return how many answers are put in the order of their timing, to keep `top`.

    Raises:
        InputError: They would be moments; or `top` is not above 0.
    """
    if moments:
        raise InputError("`rhythm` ranks clips, `moments` parts of them; ask for one of the two.")
    if top < 1:
        raise InputError(f"`top` must be at least 1; got {top}.")
    return max(top, CANDIDATES)


class Timings:
    """The timing of a library's clips, by content: kept, or read and then kept.

    Args:
        tables: The library's.
        file: The query's, where it is here.
        timing: The query's own, where it was read elsewhere.
    """

    def __init__(self, tables: Tables, file: Path | None, timing: Timing | None) -> None:
        self._kept, self._file, self._timing = tables.timing, file, timing

    def query(self, answer: Answer, progress: Progress) -> Timing:
        """Return the query's timing.

        Raises:
            InputError: It was not read, and its file is not here.
            MediaError: It cannot be read, or is longer than 600 s.
        """
        if self._timing is not None:
            return self._timing
        content = answer.content or ""
        if content in (known := self._stored([content])):
            return known[content]
        own = next((_here(one) for one in answer if one.is_query), None)
        if own is not None:
            read, why = self._read({content: own}, progress)
            if content in why:
                raise MediaError(f"{answer.query} has no timing to search by. {why[content]}")
            return read[content]
        if self._file is None:
            raise InputError(
                f"The timing of {answer.query} was not read with it; ask by a file that is here."
            )
        return read_timing(self._file)

    def of(self, files: Mapping[str, LibraryClip | None], progress: Progress) -> dict[str, Timing]:
        """Return content → timing; empty sides where a file cannot be read, or is not here.

        Args:
            files: Content → a clip of this machine that holds it; None: it is on another one.
            progress: Told of each file that must be read.
        """
        known = self._stored(files)
        missing = {c: file for c, file in files.items() if file is not None and c not in known}
        read = self._read(missing, progress)[0] if missing else {}
        nothing = {side: _empty(width) for side, width in _WIDTHS.items()}
        return dict.fromkeys(files, nothing) | known | read

    def _read(
        self, files: Mapping[str, LibraryClip], progress: Progress
    ) -> tuple[dict[str, Timing], dict[str, Exception]]:
        """Read files and keep what was read; return it, and why others could not be read."""
        read: dict[str, Timing] = {}
        why: dict[str, Exception] = {}
        progress.start("Reading when they sound and move", len(files))
        for content, timing in _read(files):
            if isinstance(timing, Exception):
                LOG.info("%s: %s", files[content].file, timing)
                why[content] = timing
            else:
                read[content] = timing
            progress.advance(files[content].file.name)
        progress.finish()
        self._keep(read)
        return read, why

    def _stored(self, contents: Iterable[str]) -> dict[str, Timing]:
        if not self._kept.exists:
            return {}
        found: dict[str, dict[str, FeatureSequence]] = {}
        for item in self._kept.read({"content": list(contents), "source": _version()}):
            found.setdefault(item.content, {})[item.key.rpartition(":")[2]] = item.sequence
        return {content: sides for content, sides in found.items() if len(sides) == len(_SIDES)}

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


def _read(files: Mapping[str, LibraryClip]) -> Iterator[tuple[str, Timing | Exception]]:
    """Yield each content with its timing, read in worker processes, or with why it has none."""
    workers = min(engine.default_workers(), len(files))
    for (content, _), result in engine.run(
        _do, files.items(), workers=workers, start=_start_worker
    ):
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


@dataclass(frozen=True)
class _Query:
    """The query's own side, and how long it is."""

    side: str
    sequence: FeatureSequence

    @property
    def seconds(self) -> float:
        return min(float(self.sequence.times[-1]), rhythm.LONGEST)


def in_rhythm(
    answer: Answer, timings: Timings, top: int, progress: Progress | None = None
) -> Answer:
    """Put answers in the order of their timing, each with its score and offset.

    Args:
        answer: Found by meaning.
        timings: Of the library's clips and of the query.
        top: How many files to keep.
        progress: Told of clips that must be read.

    Raises:
        InputError: The question is not by sound for sights or by sight for sounds; or nothing
            begins to sound, or moves, in the query.
        MediaError: The query is too long.
    """
    if {answer.by, answer.for_} != set(_SIDES):
        raise InputError(
            "Timing sets a sound against sights, or a sight against sounds; this question goes by "
            f"{answer.by} for {answer.for_}."
        )
    shown = progress or Silent()
    query = _query(answer, timings.query(answer, shown))
    files = {one.clip.content: _here(one) for one in answer if one.clip is not None}
    known = timings.of(_short(answer, files), shown)
    parts = {id(one): _part(one, known, answer.for_, query.seconds) for one in answer}
    timed = [one for one in answer if _happens(parts[id(one)])]
    rest = [one for one in answer if not _happens(parts[id(one)])]
    scores, offsets = _scored(query, [parts[id(one)] for one in timed], timed, known, answer)
    order = np.argsort(-scores, kind="stable")
    ranked = [replace(timed[k], timing=float(scores[k]), offset=float(offsets[k])) for k in order]
    results = [replace(one, rank=k) for k, one in enumerate((ranked + rest)[:top], start=1)]
    notes = [*answer.notes]
    if any(one.timing is None for one in results):
        notes.append(
            "Answers without a timing (stills, silence, over 600 s, on another machine) come last."
        )
    return replace(answer, results=results, notes=notes, timed=True)


def _here(one: Result) -> LibraryClip | None:
    """Return a clip on this machine that holds an answer; a file elsewhere is never opened."""
    copies = () if one.clip is None else (one.clip, *one.others)
    return next((clip for clip in copies if clip.root is not None), None)


def _short(
    answer: Answer, files: Mapping[str, LibraryClip | None]
) -> dict[str, LibraryClip | None]:
    """Return the files that are not too long to be read."""
    seconds = {one.clip.content: one.clip.seconds or 0.0 for one in answer if one.clip is not None}
    return {c: clip for c, clip in files.items() if seconds[c] <= MAX_SECONDS}


def _query(answer: Answer, timing: Timing) -> _Query:
    sequence = rhythm.part(timing[answer.by], 0.0, rhythm.LONGEST)
    if not _happens(sequence):
        raise InputError(
            f"Nothing {_NOTHING[answer.by]} in {answer.query} for {SHORTEST:.0f} s or more, so it "
            "has no timing to search by."
        )
    return _Query(answer.by, sequence)


def _happens(sequence: FeatureSequence) -> bool:
    """Whether there is a second or more, and something in it."""
    enough = len(sequence) >= SHORTEST * rhythm.RATE
    return enough and bool(np.ptp(sequence.values, axis=0).any())


def _part(one: Result, known: Mapping[str, Timing], side: str, seconds: float) -> FeatureSequence:
    """Return what an answer's span shows as long as the query lasts, and a little around it."""
    if one.clip is None or one.clip.content not in known:
        return _empty(_WIDTHS[side])
    return rhythm.part(known[one.clip.content][side], one.start, seconds, margin=REACH)


def _scored(
    query: _Query,
    parts: Sequence[FeatureSequence],
    timed: Sequence[Result],
    known: Mapping[str, Timing],
    answer: Answer,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the query stands out in each place, and the offsets in seconds."""
    if not timed:
        return np.zeros(0), np.zeros(0)
    others = _others(query, timed, known, answer)
    asked = [query.sequence, *(sequence for _, sequence in others)]
    if query.side == "audio":
        found = rhythm.fits(asked, parts, reach=REACH)
        heights, offsets = found.heights, found.offsets[0]
    else:
        found = rhythm.fits(parts, asked, reach=REACH)
        heights, offsets = found.heights.transpose(0, 2, 1), found.offsets[:, 0]
    own = [one.clip.content if one.clip else "" for one in timed]
    use = np.array([[content != place for place in own] for content, _ in others], dtype=bool)
    use = use.reshape(len(others), len(own))
    return rhythm.stand_out(heights[:, 0], heights[:, 1:], use), offsets


def _others(
    query: _Query, timed: Sequence[Result], known: Mapping[str, Timing], answer: Answer
) -> list[tuple[str, FeatureSequence]]:
    """Return some candidates' own sounds (sights, if a sight asks), spread over the list."""
    found = {}
    for one in timed:
        if one.clip is None or one.is_query or one.clip.content == answer.content:
            continue
        sequence = rhythm.part(known[one.clip.content][query.side], one.start, query.seconds)
        if _happens(sequence):
            found[one.clip.content] = sequence
    listed = list(found.items())
    places = np.unique(np.linspace(0, len(listed) - 1, OTHERS).round().astype(int))
    return [listed[place] for place in places] if listed else []

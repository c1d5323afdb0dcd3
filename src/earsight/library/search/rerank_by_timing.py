"""Answers that fit in timing, raised: of the clips that fit by meaning, whose sight caused this?

What is compared is described in `alignment.rhythm`, and read by `library.timing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from earsight.alignment import rhythm
from earsight.errors import InputError
from earsight.features import FeatureSequence
from earsight.library.catalog.clips import LibraryClip
from earsight.library.progress import Progress, Silent
from earsight.library.search.results import Answer, Result
from earsight.library.search.timing import AGAIN, MAX_SECONDS, WIDTHS, Timing, Timings, empty, here

CANDIDATES = 100  # answers whose timing is looked at
OTHERS = 16  # clips whose sounds (or sights) say what any of them reaches
SHORTEST = 1.0  # seconds that must be there to have a timing
REACH = 0.5  # seconds by which a sound may be off
_SIDES = ("audio", "visual")
_NOTHING = {"audio": "begins to sound", "visual": "moves"}


def candidates(top: int, *, moments: bool = False) -> int:
    """Return of how many answers the timing is looked at, to keep `top`.

    Raises:
        InputError: They would be moments; or `top` is not above 0.
    """
    if moments:
        raise InputError("`rhythm` ranks clips, `moments` parts of them; ask for one of the two.")
    if top < 1:
        raise InputError(f"`top` must be at least 1; got {top}.")
    return max(top, CANDIDATES)


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
    """Raise answers whose timing stands out (see `alignment.rhythm.raised`); each says its own.

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
    files = {one.clip.content: here(one) for one in answer if one.clip is not None}
    known = timings.of(_short(answer, files), shown)
    parts = {id(one): _part(one, known, answer.for_, query.seconds) for one in answer}
    timed = [one for one in answer if _happens(parts[id(one)])]
    scores, offsets = _scored(query, [parts[id(one)] for one in timed], timed, known, answer)
    told = {
        id(one): replace(one, timing=float(scores[k]), offset=float(offsets[k]))
        for k, one in enumerate(timed)
    }
    every = [told.get(id(one), one) for one in answer]
    order = np.argsort(-_raised(every), kind="stable")
    results = [replace(every[k], rank=rank) for rank, k in enumerate(order[:top], start=1)]
    notes = [*answer.notes]
    if timings.unread:
        notes.append(
            f"{_clips(timings.unread)} could not be read for their timing within "
            f"{timings.patience:g} s; ask again: what was read is kept."
        )
    if timings.slow:
        notes.append(
            f"{_clips(timings.slow)} took longer than {timings.each:g} s to read for their timing, "
            f"or crashed their reader, and are tried again after {AGAIN / 60:g} minutes; "
            "`earsight search --rhythm` has no such limit and keeps what it read."
        )
    if any(one.timing is None for one in results):
        notes.append(
            "Answers without a timing (stills, silence, over 600 s, on another machine) rank by "
            "meaning alone."
        )
    return replace(answer, results=results, notes=notes, timed=True)


def _clips(n: int) -> str:
    return f"{n} clip{'s' * (n != 1)}"


def _raised(results: Sequence[Result]) -> np.ndarray:
    scores = np.array([one.score for one in results], dtype=np.float64)
    timings = np.array([np.nan if one.timing is None else one.timing for one in results])
    return rhythm.raised(scores, timings)


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
        return empty(WIDTHS[side])
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

"""Re-ranking by timing: of the clips that fit by meaning, whose sight caused this sound?

What is compared is described in `alignment.rhythm`, and read by `timing.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from earsight.alignment import rhythm
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.features import FeatureSequence
from earsight.library.progress import Progress, Silent
from earsight.library.search.query import Timing
from earsight.library.search.results import Result, SearchResults
from earsight.library.search.timing import MAX_SECONDS, RETRY_AFTER, WIDTHS, Timings, empty

N_OTHERS = 16  # clips whose sounds (or sights) say what any of them reaches
SHORTEST = 1.0  # seconds that must be there to have a timing
REACH = 0.5  # seconds by which a sound may be off
_NOTHING = {"audio": "begins to sound", "visual": "moves"}


def rerank_by_timing(
    results: SearchResults, timings: Timings, top: int, progress: Progress | None = None
) -> SearchResults:
    """Raise results whose timing stands out (see `alignment.rhythm.raised`); each says its own.

    Args:
        results: Found by meaning.
        timings: Of the library's clips and of the query.
        top: How many files to keep.
        progress: Told of clips that must be read.

    Raises:
        InputError: The question is not by sound for sights or by sight for sounds; or nothing
            begins to sound, or moves, in the query.
        MediaError: The query is too long.
    """
    by, for_ = results.by, results.for_
    if {by, for_} != {"audio", "visual"}:
        raise InputError(
            "Timing sets a sound against sights, or a sight against sounds; this question goes by "
            f"{by} for {for_}."
        )
    progress = progress or Silent()
    query = rhythm.part(timings.query(results, progress)[by], 0.0, rhythm.LONGEST)
    if not _has_events(query):
        raise InputError(
            f"Nothing {_NOTHING[by]} in {results.query} for {SHORTEST:.0f} s or more, so it has no "
            "timing to search by."
        )
    seconds = min(float(query.times[-1]), rhythm.LONGEST)
    short = [one for one in results if (one.clip.seconds or 0.0) <= MAX_SECONDS]
    known = timings.of({one.clip.content: one.local_clip for one in short}, progress)
    parts = [_part(one, known, for_, seconds) for one in results]
    timed = [k for k, part in enumerate(parts) if _has_events(part)]
    reranked = list(results.results)
    if timed:
        others = _others(results, [reranked[k] for k in timed], known, seconds)
        contents = [reranked[k].clip.content for k in timed]
        scores, offsets = _compare(by, query, [parts[k] for k in timed], contents, others=others)
        for k, score, offset in zip(timed, scores.tolist(), offsets.tolist(), strict=True):
            reranked[k] = replace(reranked[k], timing=score, offset=offset)
    meaning = np.array([one.score for one in reranked], dtype=np.float64)
    timing = np.array([np.nan if one.timing is None else one.timing for one in reranked])
    order = np.argsort(-rhythm.raised(meaning, timing), kind="stable")[:top]
    kept = [replace(reranked[k], rank=rank) for rank, k in enumerate(order.tolist(), start=1)]
    notes = [*results.notes, *_notes(timings, kept)]
    return replace(results, results=kept, notes=notes, timed=True)


def _notes(timings: Timings, kept: Sequence[Result]) -> list[str]:
    """Say which clips have no timing, and why."""
    notes = []
    if timings.n_unread:
        notes.append(
            f"{_clips(timings.n_unread)} could not be decoded for their timing within "
            f"{timings.patience:g} s; search again: what was decoded is stored."
        )
    if timings.n_slow:
        notes.append(
            f"{_clips(timings.n_slow)} took longer than {timings.each:g} s to decode for their "
            f"timing, or crashed their decoder, and are tried again after {RETRY_AFTER / 60:g} "
            "minutes; `earsight search --rhythm` has no such limit and stores what it decoded."
        )
    if any(one.timing is None for one in kept):
        notes.append(
            "Results without a timing (stills, silence, over 600 s, on another machine) are ranked "
            "by meaning alone."
        )
    return notes


def _clips(n: int) -> str:
    return f"{n} clip{'s' * (n != 1)}"


def _has_events(sequence: FeatureSequence) -> bool:
    """Whether there is a second or more, and something in it."""
    enough = len(sequence) >= SHORTEST * rhythm.RATE
    return enough and bool(np.ptp(sequence.values, axis=0).any())


def _part(one: Result, known: Mapping[str, Timing], side: str, seconds: float) -> FeatureSequence:
    """Return what a result's span shows as long as the query lasts, and a little around it."""
    if one.clip.content not in known:
        return empty(WIDTHS[side])
    return rhythm.part(known[one.clip.content][side], one.start, seconds, margin=REACH)


def _others(
    results: SearchResults, timed: Sequence[Result], known: Mapping[str, Timing], seconds: float
) -> dict[str, FeatureSequence]:
    """Return some candidates' own sounds (sights, if a sight asks), spread over the list."""
    found = {}
    for one in timed:
        if not one.is_query and one.clip.content != results.content:
            sequence = rhythm.part(known[one.clip.content][results.by], one.start, seconds)
            if _has_events(sequence):
                found[one.clip.content] = sequence
    contents = list(found)
    if not contents:
        return {}
    places = np.unique(np.linspace(0, len(contents) - 1, N_OTHERS).round().astype(int))
    return {contents[place]: found[contents[place]] for place in places}


def _compare(
    side: str,
    query: FeatureSequence,
    parts: Sequence[FeatureSequence],
    contents: Sequence[str],
    *,
    others: Mapping[str, FeatureSequence],
) -> tuple[FloatArray, FloatArray]:
    """Return how far the query stands out in each part, and the offsets in seconds.

    Args:
        side: Whether the query is "audio" or "visual".
        query: When it sounds or moves.
        parts: n parts of clips, of the other side.
        contents: Of these n clips.
        others: Content → a clip's own part of the query's side; none is compared with itself.
    """
    asked = [query, *others.values()]
    if side == "audio":
        fits = rhythm.fits(asked, parts, reach=REACH)
        heights, offsets = fits.heights, fits.offsets[0]
    else:
        fits = rhythm.fits(parts, asked, reach=REACH)
        heights, offsets = fits.heights.transpose(0, 2, 1), fits.offsets[:, 0]
    use = np.array([[own != other for own in contents] for other in others], dtype=bool)
    use = use.reshape(len(others), len(contents))
    return rhythm.stand_out(heights[:, 0], heights[:, 1:], use), offsets

"""Which seconds of which clips fit a query: the peaks of its score over time (`peaks.py`)."""

import os
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.embedding.extraction import TEXT
from earsight.library.search.peaks import Peak, best_peaks
from earsight.library.search.query import EmbeddedQuery, Query
from earsight.library.search.query_expansion import durations_of, expand_from_library
from earsight.library.search.ranking import make_result, wanted_clips
from earsight.library.search.results import Result
from earsight.library.search.snapshot import LibrarySnapshot
from earsight.library.search.time_points import n_seconds


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How well each second of a clip fits a query.

    Attributes:
        times: (n,) the middle of each second, from the clip's start.
        scores: (n,) cosines of the three seconds around it; NaN where there is nothing to hear or
            see.
        by: "audio", "visual" or "text": what of the query was used.
        for_: "audio" or "visual": what of the clip.
        space: What was searched.
    """

    times: FloatArray
    scores: FloatArray
    by: str
    for_: str
    space: str


def find_moments(snapshot: LibrarySnapshot, embedded: EmbeddedQuery, query: Query) -> list[Result]:
    """Return the `query.top` moments that fit best, of the clips that pass.

    Raises:
        InputError: Texts are to be ranked.
        LibraryError: No sequences are stored.
    """
    _check_not_text(embedded)
    clips = wanted_clips(snapshot, query)
    embedded = expand_from_library(snapshot, embedded)
    for_, durations = embedded.for_, durations_of(snapshot, embedded.for_)
    curves = snapshot.time_points.score(embedded.vector, for_, durations, only=clips)
    n_wanted = sum(content in clips for content in durations)
    if lost := n_wanted - len(curves.contents):
        message = _not_stored(snapshot, lost, n_wanted)
        if not curves.contents:
            raise LibraryError(message)
        embedded.notes.append(message)
    scores = curves.scores / snapshot.space.scale(embedded.by, for_)
    found = [
        (peak, clips[curves.contents[peak.curve]])
        for peak in best_peaks(scores, curves.bounds, query.top)
    ]
    found.sort(key=lambda one: (-one[0].score, os.fsencode(one[1][0].file), one[0].start))
    return [
        make_result(
            embedded,
            same,
            rank=number,
            score=peak.score,
            start=float(peak.start),
            end=_end(peak, same[0]),
        )
        for number, (peak, same) in enumerate(found, start=1)
        if query.min_score is None or peak.score >= query.min_score
    ]


def _end(peak: Peak, clip: LibraryClip) -> float:
    """Return where a moment ends; one that lasts to the last second ends with its clip."""
    whole = clip.seconds or 0.0
    return whole if peak.end == n_seconds(whole) else float(peak.end)


def timeline(snapshot: LibrarySnapshot, embedded: EmbeddedQuery, number: int) -> Timeline:
    """Return how well each second of one clip fits.

    Raises:
        InputError: There is no such clip, it has not what is wanted, or that is text.
        LibraryError: Its sequences are not stored.
    """
    _check_not_text(embedded)
    by, for_ = embedded.by, embedded.for_
    clip = snapshot.clip(number)
    if for_ not in clip.has:
        lacks = {"audio": "sound", "visual": "sight"}[for_]
        raise InputError(f"{clip.path} has no {lacks}, so there is no timeline of it.")
    block = snapshot.time_points.of(for_, clip.content, clip.seconds or 0.0)
    if block is None:
        raise LibraryError(_not_stored(snapshot, 1, 1))
    vector = expand_from_library(snapshot, embedded).vector
    scores = block.scores(vector) / snapshot.space.scale(by, for_)
    return Timeline(
        times=np.arange(len(scores)) + 0.5,
        scores=np.where(block.present, scores, np.nan),
        by=by,
        for_=for_,
        space=snapshot.space_name(by, for_),
    )


def _not_stored(snapshot: LibrarySnapshot, lost: int, of: int) -> str:
    return (
        f"The steps of {lost} of {of} clips are not in the library, so their moments cannot be "
        f"found. Run: {snapshot.store.index_command} --rebuild"
    )


def _check_not_text(embedded: EmbeddedQuery) -> None:
    if embedded.for_ == TEXT:
        raise InputError(
            "Moments are those of sounds or of sights; the text beside a clip has none. Ask for "
            "audio or visual."
        )

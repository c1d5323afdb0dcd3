"""Which seconds of which clips fit a query: peaks of its score over time.

A moment is a peak p of a clip's curve s with all around it that stands at least half as high above
what is usual:

    [start, end) = the longest run around p with s ≥ (s_p + u) / 2,    s_p ≥ u,
    u = min(median of the clip's curve, median of all that was searched)

A second peak counts as another moment only if the curve falls below its own half between them: p
must be the highest of its own run. So the moments of a clip never overlap, and none need be merged.

A sound that asks for sights, or the other way round, is first drawn to what goes with its like in
this library (`library/search/query_expansion.py`).
"""

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.clips import Filter, LibraryClip, by
from earsight.library.embedding.extraction import TEXT
from earsight.library.search.query_expansion import FEW, drawn_to
from earsight.library.search.ranking import result
from earsight.library.search.results import Result
from earsight.library.search.snapshot import Asked, Opened
from earsight.library.search.time_points import n_seconds

COMPANY = 400_000  # seconds, 111 hours: a longer library is not looked through for a query's like

_PEAKS = 64  # looked at for each moment wanted, before there are more


@dataclass(frozen=True)
class Peak:
    """A moment of curve number `curve`: its first second, one past its last, its score."""

    curve: int
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Timeline:
    """How well each second of a clip fits a query.

    Attributes:
        times: (n,) the middle of each second, from the clip's start.
        scores: (n,) cosines of the three seconds around it; NaN where there is nothing to hear or
            see.
        by: "audio", "visual" or "text": what of the query was used.
        for_: "audio" or "visual": what of the clip.
        space: What answered.
    """

    times: FloatArray
    scores: FloatArray
    by: str
    for_: str
    space: str


def best_peaks(scores: FloatArray, bounds: npt.NDArray[np.intp], top: int) -> list[Peak]:
    """Return the `top` highest moments of many curves, best first; equal ones in their order.

    Args:
        scores: (n,) the curves, one after another; −∞ where there is nothing.
        bounds: (m + 1,); curve i has scores[bounds[i]:bounds[i + 1]], at least one.
        top: How many, at least 1.

    >>> curve = np.array([0.0, 0.1, 0.8, 1.0, 0.2, 0.0, 0.1, 0.6, 0.0, 0.0])
    >>> [(peak.start, peak.end) for peak in best_peaks(curve, np.array([0, 10]), 5)][:2]
    [(2, 4), (7, 8)]
    """
    candidates = _summits(scores, bounds)
    some = np.isfinite(scores)
    if not len(candidates):
        return []
    everywhere = float(np.median(scores[some]))
    wanted = _PEAKS * top
    while True:
        found = _walk(scores, bounds, _highest(scores, candidates, wanted), everywhere, top)
        if len(found) >= top or wanted >= len(candidates):
            return found[:top]
        wanted *= 8


def _summits(scores: FloatArray, bounds: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return where a curve is higher than before and no lower than after."""
    before, after = np.full_like(scores, -np.inf), np.full_like(scores, -np.inf)
    before[1:], after[:-1] = scores[:-1], scores[1:]
    before[bounds[:-1]] = after[bounds[1:] - 1] = -np.inf
    return np.flatnonzero((scores > before) & (scores >= after))


def _highest(
    scores: FloatArray, candidates: npt.NDArray[np.intp], wanted: int
) -> npt.NDArray[np.intp]:
    """Return at least the `wanted` highest candidates, best first; equal ones in their order."""
    heights = scores[candidates]
    if wanted < len(candidates):
        least = np.partition(heights, len(heights) - wanted)[len(heights) - wanted]
        candidates, heights = candidates[heights >= least], heights[heights >= least]
    return candidates[np.argsort(-heights, kind="stable")]


def _walk(
    scores: FloatArray,
    bounds: npt.NDArray[np.intp],
    candidates: npt.NDArray[np.intp],
    everywhere: float,
    top: int,
) -> list[Peak]:
    """Go down the candidates until there are `top` moments.

    Whatever lies in the run of a candidate that was looked at, moment or not, is no moment: its own
    run would reach further, and hold something higher.
    """
    found: list[Peak] = []
    done = np.zeros(len(scores), dtype=bool)
    usual: dict[int, float] = {}
    curves = np.searchsorted(bounds, candidates, "right") - 1
    for place, number in zip(candidates.tolist(), curves.tolist(), strict=True):
        if done[place]:
            continue
        begin = int(bounds[number])
        curve = scores[begin : bounds[number + 1]]
        if number not in usual:
            usual[number] = min(float(np.median(curve[np.isfinite(curve)])), everywhere)
        at, height = place - begin, scores[place]
        if height < usual[number]:
            continue
        low = np.flatnonzero(curve < (height + usual[number]) / 2)
        split = int(np.searchsorted(low, at))
        start = int(low[split - 1]) + 1 if split else 0
        end = int(low[split]) if split < len(low) else len(curve)
        done[begin + start : begin + end] = True
        if int(curve[start:end].argmax()) + start == at:
            found.append(Peak(number, start, end, float(height)))
            if len(found) == top:
                break
    return found


def find_moments(
    opened: Opened, asked: Asked, wanted: str, top: int, min_score: float | None, within: Filter
) -> list[Result]:
    """Return the `top` moments that fit best, of the clips that pass.

    Raises:
        InputError: Texts are to be ranked.
        LibraryError: No sequences are stored.
    """
    _check(wanted)
    clips = opened.by_content
    if not within.is_empty:
        clips = by("content", [clip for clip in opened.clips if within.passes(clip)])
    asked = in_company(opened, asked, wanted)
    durations = _durations(opened, wanted)
    searched, scores, bounds = _curves(opened, asked, wanted, durations, clips)
    _tell_lost(opened, asked, len(searched), sum(content in clips for content in durations))
    found = [(peak, clips[searched[peak.curve]]) for peak in best_peaks(scores, bounds, top)]
    found.sort(key=lambda one: (-one[0].score, os.fsencode(one[1][0].file), one[0].start))
    return [
        result(number, peak.score, same, float(peak.start), _end(peak, same[0]), asked)
        for number, (peak, same) in enumerate(found, start=1)
        if min_score is None or peak.score >= min_score
    ]


def _end(peak: Peak, clip: LibraryClip) -> float:
    """Return where a moment ends; one that lasts to the last second ends with its clip."""
    whole = clip.seconds or 0.0
    return whole if peak.end == n_seconds(whole) else float(peak.end)


def in_company(
    opened: Opened, asked: Asked, wanted: str, own: tuple[str, float, float] | None = None
) -> Asked:
    """Return a query by sound for sights, or the other way round, drawn to what goes with its like.

    Args:
        opened: The library; its clips that have both are looked through, whatever is searched.
        asked: The query.
        wanted: What of the clips is to be ranked.
        own: A content and the seconds of it, from and to, that are the query itself and are not
            asked; default: all of the query's own content. The benchmark of moments asks so.
    """
    if asked.by == wanted or TEXT in (asked.by, wanted):
        return asked
    durations, having = _durations(opened, asked.by), opened.by_content
    both = {one: long for one, long in durations.items() if wanted in having[one][0].has}
    if sum(both.values()) > COMPANY:
        asked.notes.append(
            "The library is too long to look through for what goes with the like of this query; "
            "it is answered by itself."
        )
        return asked
    contents, scores, bounds = _curves(opened, asked, asked.by, durations, both)
    content, begin, end = own or (asked.content, 0.0, np.inf)
    if content in contents:
        at = contents.index(content)
        middles = np.arange(bounds[at + 1] - bounds[at]) + 0.5
        scores[bounds[at] : bounds[at + 1]][(middles > begin) & (middles < end)] = -np.inf
    like = [(contents[curve], second, score) for curve, second, score in alike(scores, bounds)]
    others = {one: both[one] for one, _, _ in like}
    there = opened.seconds.some(wanted, others) if others else {}
    weights, points = [], []
    for content, second, score in like:
        if content in there and there[content].here[second]:
            weights.append(score)
            points.append(there[content].points[second])
    if not points:
        return asked
    return replace(asked, vector=drawn_to(asked.vector, np.array(weights), np.stack(points)))


def alike(scores: FloatArray, bounds: npt.NDArray[np.intp]) -> list[tuple[int, int, float]]:
    """Return curve, second and score of the highest second of each of the ten best moments.

    Args:
        scores, bounds: As `best_peaks` takes them; what is not above 0 is not alike.
    """
    found = []
    for peak in best_peaks(scores, bounds, FEW):
        run = scores[bounds[peak.curve] + peak.start : bounds[peak.curve] + peak.end]
        if peak.score > 0:
            found.append((peak.curve, peak.start + int(run.argmax()), peak.score))
    return found


def _curves(
    opened: Opened,
    asked: Asked,
    modality: str,
    durations: Mapping[str, float],
    clips: Container[str],
) -> tuple[list[str], FloatArray, npt.NDArray[np.intp]]:
    """Return the contents that were searched, their scores one after another, and the bounds."""
    contents: list[str] = []
    parts, lengths = [], []
    for block in opened.seconds.blocks(modality, durations, clips):
        ours = np.array([content in clips for content in block.contents], dtype=bool)
        each = np.diff(block.bounds)
        scores = block.scores(asked.vector)
        parts.append(scores if ours.all() else scores[np.repeat(ours, each)])
        lengths.append(each[ours])
        contents += [c for c, our in zip(block.contents, ours.tolist(), strict=True) if our]
    bounds = np.concatenate([[0], *lengths]).cumsum().astype(np.intp)
    scale = opened.space.scale(asked.by, modality)
    return contents, np.concatenate([np.zeros(0), *parts]) / scale, bounds


def _tell_lost(opened: Opened, asked: Asked, found: int, here: int) -> None:
    """Note that clips have no steps; raise if none has."""
    if found < here:
        what = _lost(opened, here - found, here)
        if not found:
            raise LibraryError(what)
        asked.notes.append(what)


def _lost(opened: Opened, lost: int, of: int) -> str:
    return (
        f"The steps of {lost} of {of} clips are not in the library, so their moments cannot be "
        f"found. Run: {opened.index_command} --rebuild"
    )


def _durations(opened: Opened, wanted: str) -> dict[str, float]:
    """Return content → seconds, of those that have what is wanted."""
    return {
        content: clips[0].seconds or 0.0
        for content, clips in opened.by_content.items()
        if wanted in clips[0].has
    }


def _check(wanted: str) -> None:
    if wanted == TEXT:
        raise InputError(
            "Moments are those of sounds or of sights; the text beside a clip has none. Ask for "
            "audio or visual."
        )


def timeline(opened: Opened, asked: Asked, wanted: str, number: int, space: str) -> Timeline:
    """Return how well each second of one clip fits.

    Raises:
        InputError: There is no such clip, it has not what is wanted, or that is text.
        LibraryError: Its sequences are not stored.
    """
    _check(wanted)
    clip = opened.by_id.get(number)
    if clip is None:
        raise InputError(f"There is no clip {number} in this library.")
    if wanted not in clip.has:
        lacks = {"audio": "sound", "visual": "sight"}[wanted]
        raise InputError(f"{clip.path} has no {lacks}, so there is no timeline of it.")
    block = opened.seconds.of(wanted, clip.content, clip.seconds or 0.0)
    if block is None:
        raise LibraryError(_lost(opened, 1, 1))
    vector = in_company(opened, asked, wanted).vector
    scores = block.scores(vector) / opened.space.scale(asked.by, wanted)
    scores = np.where(block.here, scores, np.nan)
    return Timeline(np.arange(len(scores)) + 0.5, scores, asked.by, wanted, space)

"""Which clips fit a query: the best window of each, files of one content as one answer."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from earsight.arrays import FloatArray
from earsight.library.catalog.clips import Filter, LibraryClip, by
from earsight.library.embedding.extraction import TEXT
from earsight.library.search.results import Result
from earsight.library.search.snapshot import Asked, Opened
from earsight.vectors import Hit


def rank(
    opened: Opened, asked: Asked, wanted: str, top: int, min_score: float | None, within: Filter
) -> list[Result]:
    """Return the `top` contents that fit best, of the clips that pass."""
    clips: Mapping[str, list[LibraryClip]] = opened.by_content
    if wanted == TEXT:
        clips = by("text", [clip for clip in opened.clips if within.passes(clip)])
    elif not within.is_empty:
        clips = by("content", [clip for clip in opened.clips if within.passes(clip)])
    best = _best_by_content(opened, asked.vector, wanted, top, clips, within.is_empty)
    found = [
        (hit.score / opened.space.scale(asked.by, wanted), same, hit.row)
        for hit in best
        for same in by("content", clips[hit.row.content]).values()  # one, but of a shared text
    ]
    found.sort(key=lambda one: (-one[0], os.fsencode(one[1][0].file)))
    return [
        result(number, score, same, row.start, row.end, asked)
        for number, (score, same, row) in enumerate(found[:top], start=1)
        if min_score is None or score >= min_score
    ]


def result(
    number: int, score: float, same: Sequence[LibraryClip], start: float, end: float, asked: Asked
) -> Result:
    """Return one answer for the clips of one content: the query's own file, or the first."""
    first = next((clip for clip in same if asked.shown in (clip.path, clip.shown)), same[0])
    return Result(
        number,
        score,
        first.shown,
        first.id,
        first.label,
        start,
        end,
        asked.content is not None and asked.content in (first.content, first.text),
        os.fsencode(first.file),
        end == 0 or (start == 0 and end >= (first.seconds or 0)),
        first,
        tuple(clip for clip in same if clip is not first),
    )


def _best_by_content(
    opened: Opened,
    vector: FloatArray,
    wanted: str,
    top: int,
    known: Mapping[str, object],
    all_of_them: bool,
) -> list[Hit]:
    """Return the best window of each of the `top` best contents that a clip still holds."""
    index = opened.index(wanted)
    where: dict[str, Any] = {"modality": wanted}
    if not all_of_them:
        where["content"] = list(known)
    total = index.count(where)
    k = min(4 * top, total)
    while k:
        hits = index.search(vector[None, :], k, where)[0]
        best: dict[str, Hit] = {}
        for hit in hits:
            if hit.row.content in known:
                best.setdefault(hit.row.content, hit)
        if len(best) >= top or k == total:
            return list(best.values())[:top]
        k = min(4 * k, total)
    return []

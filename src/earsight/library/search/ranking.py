"""Which clips fit a query: the best window of each, files of one content as one result."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from earsight.library.catalog.clips import LibraryClip, clips_by
from earsight.library.embedding.extraction import TEXT
from earsight.library.search.query import EmbeddedQuery, Query
from earsight.library.search.results import Result
from earsight.library.search.snapshot import LibrarySnapshot
from earsight.vectors import Hit


def rank(snapshot: LibrarySnapshot, embedded: EmbeddedQuery, query: Query) -> list[Result]:
    """Return the contents that fit best, `query.n_ranked` of them, of the clips that pass."""
    clips = wanted_clips(snapshot, query, "text" if embedded.for_ == TEXT else "content")
    scale = snapshot.space.scale(embedded.by, embedded.for_)
    ranked = [
        (hit.score / scale, same, hit.row)
        for hit in _best_windows(snapshot, embedded, query, clips)
        for same in clips_by("content", clips[hit.row.content]).values()  # one, but for texts
    ]
    ranked.sort(key=lambda one: (-one[0], os.fsencode(one[1][0].file)))
    return [
        make_result(embedded, same, rank=number, score=score, start=row.start, end=row.end)
        for number, (score, same, row) in enumerate(ranked[: query.n_ranked], start=1)
        if query.min_score is None or score >= query.min_score
    ]


def wanted_clips(
    snapshot: LibrarySnapshot, query: Query, key: str = "content"
) -> Mapping[str, list[LibraryClip]]:
    """Return "content" or "text" → the clips that hold it, of those that pass the filter."""
    if key == "content" and query.filter.is_empty:
        return snapshot.by_content
    return clips_by(key, [clip for clip in snapshot.clips if query.filter.passes(clip)])


def make_result(embedded: EmbeddedQuery, same: Sequence[LibraryClip], **fields: Any) -> Result:
    """Return one result for the clips of one content: the query's own file, or the first."""
    first = next((clip for clip in same if embedded.name in (clip.path, clip.shown)), same[0])
    return Result(
        clip=first,
        others=tuple(clip for clip in same if clip is not first),
        is_query=embedded.content is not None and embedded.content in (first.content, first.text),
        **fields,
    )


def _best_windows(
    snapshot: LibrarySnapshot,
    embedded: EmbeddedQuery,
    query: Query,
    clips: Mapping[str, list[LibraryClip]],
) -> list[Hit]:
    """Return the best window of each of the best contents that a clip still holds."""
    index, top = snapshot.index(embedded.for_), query.n_ranked
    where: dict[str, Any] = {"modality": embedded.for_}
    if not query.filter.is_empty:
        where["content"] = list(clips)
    total = index.count(where)
    k = min(4 * top, total)
    while k:
        best: dict[str, Hit] = {}
        for hit in index.search(embedded.vector[None, :], k, where)[0]:
            if hit.row.content in clips:
                best.setdefault(hit.row.content, hit)
        if len(best) >= top or k == total:
            return list(best.values())[:top]
        k = min(4 * k, total)
    return []

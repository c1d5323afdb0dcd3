"""What a search gives back."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.library.catalog.clips import LibraryClip


@dataclass(frozen=True, kw_only=True)
class Result:
    """One file, with the span of it that fits best; its copies are no results of their own.

    Attributes:
        rank: From 1; equal scores keep the order of their paths.
        score: Cosine in the space that was searched, in [−1, 1].
        clip: All that the library knew of it when it was searched.
        start, end: Seconds.
        is_query: It is the query's own clip (the same content).
        others: The other clips with this content.
        timing: How far its timing stands above what other clips reach, in their spreads; None:
            not asked for, or it has none.
        offset: Seconds by which the sound comes after the sight, as their timing fits best.
    """

    rank: int
    score: float
    clip: LibraryClip = field(repr=False)
    start: float
    end: float
    is_query: bool = False
    others: tuple[LibraryClip, ...] = field(default=(), repr=False)
    timing: float | None = None
    offset: float | None = None

    @property
    def path(self) -> str:
        """Absolute; bytes outside UTF-8 as %XX."""
        return self.clip.shown

    @property
    def raw_path(self) -> bytes:
        """The path's own bytes."""
        return os.fsencode(self.clip.file)

    @property
    def id(self) -> int:
        """The clip's number in the library."""
        return self.clip.id

    @property
    def label(self) -> str | None:
        """The clip's class, or None."""
        return self.clip.label

    @property
    def whole(self) -> bool:
        """Whether start to end is all of it; otherwise it is a part of a longer file."""
        return self.end == 0 or (self.start == 0 and self.end >= (self.clip.seconds or 0))

    @property
    def copies(self) -> list[str]:
        """The paths of the other files that hold the same, as `path`."""
        return [clip.shown for clip in self.others]

    @property
    def local_clip(self) -> LibraryClip | None:
        """A clip with this content on this machine; a file elsewhere is never opened."""
        return next((clip for clip in (self.clip, *self.others) if clip.root is not None), None)

    def __repr__(self) -> str:
        return f"Result({self.rank}, {self.score:.3f}, {self.path!r})"


@dataclass(frozen=True, kw_only=True)
class SearchResults:
    """A ranked list, and what was asked; iterating gives the results.

    Attributes:
        query: The file's path, or the words.
        by: "audio", "visual" or "text": what of the query was used.
        for_: "audio", "visual" or "text": what was ranked.
        space: What was searched: the zero-shot space ("words", by default), or "words + NAME".
        results: Best first.
        notes: For people: choices that were made for them.
        point: (k,) the query in the joint space.
        content: Of the query's file; None: it has none.
        timed: Whether their timing was looked at.
    """

    query: str
    by: str
    for_: str
    space: str
    results: list[Result]
    notes: list[str] = field(default_factory=list)
    point: FloatArray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    content: str | None = None
    timed: bool = False

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        names = ["rank", "score", "path", "id", "label", "start", "end", "is_query", "copies"]
        names += ["timing", "offset"] if self.timed else []
        return {
            "query": self.query,
            "by": self.by,
            "for": self.for_,
            "space": self.space,
            "results": [{name: getattr(one, name) for name in names} for one in self.results],
        }

"""What a search gives back."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.library.catalog.clips import LibraryClip


@dataclass(frozen=True)
class Result:
    """One answer: a file, with the span of it that fits best; its copies are no other answers.

    Attributes:
        rank: From 1; equal scores keep the order of their paths.
        score: Cosine in the space that answered, in [−1, 1].
        path: Absolute; bytes outside UTF-8 as %XX.
        id: The clip's number in the library.
        label: Its class, or None.
        start, end: Seconds.
        is_query: It is the query's own clip (the same content).
        raw_path: The path's own bytes.
        whole: Whether start to end is all of it; otherwise it is a window of a longer file.
        clip: All that the library knew of it when it answered.
        others: The same of the other clips with this content.
        timing: How far its timing stands above what other clips reach, in their spreads; None:
            not asked for, or it has none.
        offset: Seconds by which the sound comes after the sight, as their timing fits best.
    """

    rank: int
    score: float
    path: str
    id: int
    label: str | None
    start: float
    end: float
    is_query: bool
    raw_path: bytes = b""
    whole: bool = True
    clip: LibraryClip | None = field(default=None, repr=False)
    others: tuple[LibraryClip, ...] = field(default=(), repr=False)
    timing: float | None = None
    offset: float | None = None

    @property
    def copies(self) -> list[str]:
        """The paths of the other files that hold the same, as `path`."""
        return [clip.shown for clip in self.others]


@dataclass(frozen=True)
class Answer:
    """A ranked list, and what was asked; iterating gives the results.

    Attributes:
        query: The file's path, or the words.
        by: "audio", "visual" or "text": what of the query was used.
        for_: "audio", "visual" or "text": what was ranked.
        space: What answered: the bridge ("words", by default), or "words + NAME".
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
    notes: list[str]
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
        rows = [{name: getattr(result, name) for name in names} for result in self.results]
        return {
            "query": self.query,
            "by": self.by,
            "for": self.for_,
            "space": self.space,
            "results": rows,
        }

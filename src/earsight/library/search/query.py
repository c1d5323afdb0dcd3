"""One question to a library: the command line, the page and Python hand it to the searcher."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.features import FeatureSequence
from earsight.library.catalog.clips import Filter
from earsight.library.catalog.records import MODALITIES
from earsight.library.embedding.extraction import TEXT

TIMED_RESULTS = 100  # results whose timing is compared with the query's

Timing = Mapping[str, FeatureSequence]
"""When a file sounds ("audio") and moves ("visual"); a sequence is empty where it does neither."""


@dataclass(frozen=True)
class SandboxedFile:
    """An untrusted file that was decoded in a process of its own, ready to be searched by.

    Attributes:
        name: What to call it.
        content: SHA-256 of its bytes.
        vectors: Role → (1, d).
        timing: When it sounds and moves; None: not read.
    """

    name: str
    content: str
    vectors: Mapping[str, Any]
    timing: Timing | None = None


class QueryFields(TypedDict, total=False):
    """The fields of `Query` besides the file, for functions that pass them on."""

    text: str | None
    clip: int | None
    by: str | None
    for_: str | None
    top: int
    min_score: float | None
    label: str | None
    min_seconds: float | None
    max_seconds: float | None
    moments: bool
    rhythm: bool
    patience: float | None


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question to a library: exactly one of `file`, `text` and `clip`, and what to rank for it.

    Attributes:
        file: A file, a path inside the clips folder, or a file that was decoded in the sandbox.
        text: Typed words.
        clip: The number of a clip of the library; its file is not opened.
        by: What of the query to use: "audio", "visual", or "text", the .txt or .srt file beside
            it; default: its sight if it has it, else its sound.
        for_: What to rank: "audio", "visual" or "text"; default: sounds for a sight, else sights.
        top: How many files at most, or moments.
        min_score: Leave out results that score lower; a finite number.
        label: Rank clips of this class alone.
        min_seconds, max_seconds: Rank clips of this length alone.
        moments: Rank moments of clips instead: `start` and `end` of each result say where it
            begins to fit, and where it ends. A clip may have several; they do not overlap.
        rhythm: Of the first hundred results raise those whose timing stands out: whose sight caused
            this sound? Clips never asked about are decoded first, every frame, which takes a while.
        patience: Seconds that this decoding may take, half of them for one file; clips that were
            not reached keep their rank. A file that takes longer is not tried again for ten
            minutes, unless it is given more. None: as long as it takes.

    Raises:
        InputError: A value breaks its rule.

    >>> Query(text="a dog barks", top=5).by is None
    True
    """

    file: str | Path | SandboxedFile | None = None
    text: str | None = None
    clip: int | None = None
    by: str | None = None
    for_: str | None = None
    top: int = 10
    min_score: float | None = None
    label: str | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    moments: bool = False
    rhythm: bool = False
    patience: float | None = None

    def __post_init__(self) -> None:
        given = sum(one is not None for one in (self.file, self.text, self.clip))
        if given != 1:
            raise InputError(
                f"Pass exactly one of a file, `text` and `clip` to search by; got {given} of them."
            )
        for name in ("by", "for_"):
            if (value := getattr(self, name)) not in (None, *MODALITIES, TEXT):
                raise InputError(f"`{name}` must be audio, visual or text; got {value!r}.")
        if self.text is not None and self.by is not None:
            raise InputError("`by` belongs to a file; with text=… the words are the query.")
        if self.rhythm and self.moments:
            raise InputError("`rhythm` ranks clips and `moments` parts of clips; pass one of them.")
        if self.top < 1:
            raise InputError(f"`top` must be at least 1; got {self.top}.")
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise InputError(f"`min_score` must be a finite number; got {self.min_score}.")
        self.filter  # noqa: B018 - checks the lengths

    @classmethod
    def of(
        cls, query: "Query | str | Path | SandboxedFile | None", **fields: Unpack[QueryFields]
    ) -> "Query":
        """Return a query as it is, or one of a file and fields.

        Raises:
            InputError: Both a `Query` and fields are passed, or a value breaks its rule.
        """
        if not isinstance(query, Query):
            return cls(file=query, **fields)
        if fields:
            raise InputError(f"Pass {', '.join(fields)} inside the `Query`, not beside it.")
        return query

    @property
    def filter(self) -> Filter:
        """Which clips are ranked."""
        return Filter(self.label, self.min_seconds, self.max_seconds)

    @property
    def n_ranked(self) -> int:
        """How many results are ranked by meaning, before `top` of them are kept."""
        return max(self.top, TIMED_RESULTS) if self.rhythm else self.top


@dataclass(frozen=True, kw_only=True)
class EmbeddedQuery:
    """A query as a point of a library's space.

    Attributes:
        name: What people call it: a path, or the words.
        by, for_: "audio", "visual" or "text": what of the query is used, and what is ranked.
        vector: (k,) of unit length.
        content: SHA-256 of the query's file; None: it has none.
        notes: For people: choices that were made for them, and what is missing.
    """

    name: str
    by: str
    for_: str
    vector: FloatArray
    content: str | None = None
    notes: list[str] = field(default_factory=list)

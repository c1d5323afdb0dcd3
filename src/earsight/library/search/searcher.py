"""Search a library by a file, by one of its clips, or by typed words."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from earsight.errors import InputError, LibraryError, ModelFileError
from earsight.library.catalog.base import Store
from earsight.library.catalog.clips import Filter
from earsight.library.catalog.location import find
from earsight.library.embedding.extraction import MODALITIES, TEXT
from earsight.library.embedding.feature_tables import stored_tables
from earsight.library.progress import Progress
from earsight.library.search.moments import Timeline, find_moments, timeline
from earsight.library.search.ranking import rank as rank_clips
from earsight.library.search.rerank_by_timing import candidates, in_rhythm
from earsight.library.search.results import Answer, Result
from earsight.library.search.sandbox import Stranger
from earsight.library.search.snapshot import Asked, Opened
from earsight.library.search.timing import Slow, Timings
from earsight.storage import Place

__all__ = ["Answer", "Result", "Searcher", "search"]

T = TypeVar("T")

_OTHER = {"audio": "visual", "visual": "audio", "text": "visual"}


def search(
    library: str | Place,
    query: str | Path | None = None,
    *,
    text: str | None = None,
    by: str | None = None,
    for_: str | None = None,
    top: int = 10,
    min_score: float | None = None,
    moments: bool = False,
    rhythm: bool = False,
    progress: Progress | None = None,
) -> Answer:
    """Rank the clips of a library for a query; `earsight.Library` does so many times.

    Args:
        library: The clips folder, or the library folder itself.
        query: A file, or a path inside the clips folder.
        text: Typed words, instead of a file.
        by: What of the query to use: "audio", "visual", or "text", the .txt or .srt file beside
            it; default: what it has.
        for_: What to rank: "audio", "visual" or "text"; default: the other one of sound and sight
            (for words and texts: "visual").
        top: How many files, or moments.
        min_score: Leave out answers that score lower; a finite number.
        moments: Rank moments of clips instead, each with its start and end.
        rhythm: Of the first hundred raise those whose timing stands out: whose sight caused this?
        progress: Told of clips whose timing must be read.

    Raises:
        InputError: Not exactly one of `query` and `text`, or the query lacks what is asked for.
        MediaError: The query cannot be read.
        LibraryError: No library, none that answers yet, or one made with other extractors.
    """
    with Store.open(find(library)) as store:
        searcher = Searcher(store)
        wanted = candidates(top, moments=moments) if rhythm else top
        answer = searcher.answer(
            query, text=text, by=by, for_=for_, top=wanted, min_score=min_score, moments=moments
        )
        if not rhythm:
            return answer
        return in_rhythm(answer, searcher.timings(query), top, progress)


class Searcher:
    """Answers questions to one open library, and follows it when it is indexed anew.

    Args:
        store: The library.
        hold: Keep the vectors in memory, for many questions.
    """

    def __init__(self, store: Store, *, hold: bool = False) -> None:
        self._store = store
        self._hold = hold
        self._version = -1
        self._opened: Opened | None = None
        self._slow = Slow()

    @property
    def opened(self) -> Opened:
        """What answers now.

        Raises:
            LibraryError: Nothing does yet.
            ModelFileError: The model is damaged.
        """
        version = self._store.version
        if self._opened is None or version != self._version:
            current = self._store.current()
            before = self._opened
            if before is None or current != before.embedding:
                self._opened = Opened(self._store, current, self._hold)
            else:  # the same embedding; paths or labels may be others
                before.forget_clips()
            self._version = version
        assert self._opened is not None
        return self._opened

    def answer(
        self,
        query: str | Path | Stranger | None = None,
        *,
        text: str | None = None,
        clip: int | None = None,
        by: str | None = None,
        for_: str | None = None,
        top: int = 10,
        min_score: float | None = None,
        within: Filter | None = None,
        moments: bool = False,
    ) -> Answer:
        """Rank the clips for a query, as `search` does.

        Args:
            query: A file, a path inside the clips folder, or a file that was read elsewhere.
            text: Typed words.
            clip: Number of a clip of the library; its file is not opened.
            by: What of the query to use.
            for_: What to rank.
            top: How many files, or moments.
            min_score: Leave out answers that score lower.
            within: Rank these clips alone.
            moments: Rank moments instead of clips.
        """
        if top < 1:
            raise InputError(f"`top` must be at least 1; got {top}.")
        if min_score is not None and not math.isfinite(min_score):
            raise InputError(f"`min_score` must be a finite number; got {min_score}.")
        ranked = find_moments if moments else rank_clips

        def answered(opened: Opened, asked: Asked, wanted: str) -> Answer:
            results = ranked(opened, asked, wanted, top, min_score, within or Filter())
            space = _space(opened, asked, wanted)
            point = asked.vector * opened.space.scale(asked.by, "visual")
            return Answer(
                asked.shown, asked.by, wanted, space, results, asked.notes, point, asked.content
            )

        return self._ask(answered, query, text, clip, by, for_)

    def timings(
        self,
        query: str | Path | Stranger | None,
        clip: int | None = None,
        patience: float | None = None,
    ) -> Timings:
        """Return the timing of the clips, and of the query, for `in_rhythm`.

        Args:
            query, clip: As `answer` takes them.
            patience: Seconds that reading files may take; None: as long as it takes.
        """
        opened = self.opened
        timing, file = None, None
        if isinstance(query, Stranger):
            timing = query.timing
        elif clip is not None:
            own = opened.by_id.get(clip)  # None: an index that ended just now took it
            file = None if own is None or own.root is None else own.file
        elif query is not None:
            file = opened.locate(str(query))
        tables = stored_tables(self._store, opened.embedding)
        return Timings(tables, file, timing, patience, self._slow)

    def timeline(
        self,
        of: int,
        query: str | Path | Stranger | None = None,
        *,
        text: str | None = None,
        clip: int | None = None,
        by: str | None = None,
        for_: str | None = None,
    ) -> Timeline:
        """Return how well each second of the clip number `of` fits a query; see `answer`."""

        def drawn(opened: Opened, asked: Asked, wanted: str) -> Timeline:
            return timeline(opened, asked, wanted, of, _space(opened, asked, wanted))

        return self._ask(drawn, query, text, clip, by, for_)

    def _ask(
        self,
        reply: Callable[[Opened, Asked, str], T],
        query: str | Path | Stranger | None,
        text: str | None,
        clip: int | None,
        by: str | None,
        for_: str | None,
    ) -> T:
        """Place a query in the space of what answers now, and reply to it from there."""
        if sum(one is not None for one in (query, text, clip)) != 1:
            raise InputError(
                "Search takes a file, a clip of the library or text=…; exactly one of them."
            )
        for value in (by, for_):
            if value not in (None, *MODALITIES, TEXT):
                raise InputError(f"`by` and `for_` take audio, visual or text; got {value!r}.")
        if text is not None and by is not None:
            raise InputError("`by` belongs to a file; with text=… the words are the query.")
        while True:
            opened = self.opened
            try:
                if text is not None:
                    asked = opened.words(text)
                elif clip is not None:
                    asked = opened.clip(clip, by)
                elif isinstance(query, Stranger):
                    asked = opened.stranger(query, by)
                else:
                    asked = opened.file(str(query), by)
                replied = reply(opened, asked, _wanted(asked, for_, opened))
                asked.notes.extend(opened.left_out)
                return replied
            except (LibraryError, ModelFileError):
                # An index that ended just now may have replaced what was being read.
                if self._store.current() == opened.embedding:
                    raise


def _space(opened: Opened, asked: Asked, wanted: str) -> str:
    """Return what answers: the learned part knows nothing of texts."""
    words = TEXT in (asked.by, wanted)
    return opened.space.bridge_name if words else opened.space.name


def _wanted(asked: Asked, for_: str | None, opened: Opened) -> str:
    """Return what to rank: as asked, or the other one of what the library keeps."""
    kept = opened.modalities
    if for_ is None:
        return _OTHER[asked.by] if _OTHER[asked.by] in kept else kept[0]
    if for_ == TEXT and not any(clip.text for clip in opened.clips):
        asked.notes.append(
            "No clip of this library has a text beside it (a .txt or .srt file of its name)."
        )
    if for_ in MODALITIES and for_ not in kept:
        raise InputError(f"This library was indexed with --{for_} none; it ranks by {kept[0]}.")
    return for_

"""Search a library by a file, by one of its clips, or by typed words."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, Unpack

from earsight.errors import LibraryError, ModelFileError
from earsight.library.catalog.open import open_library
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.feature_tables import stored_tables
from earsight.library.progress import Progress
from earsight.library.search.embed_query import embed_query, locate
from earsight.library.search.moments import Timeline, find_moments, timeline
from earsight.library.search.query import Query, QueryFields, SandboxedFile
from earsight.library.search.ranking import rank
from earsight.library.search.rerank_by_timing import rerank_by_timing
from earsight.library.search.results import SearchResults
from earsight.library.search.snapshot import LibrarySnapshot
from earsight.library.search.timing import SlowFiles, Timings
from earsight.storage import Location

T = TypeVar("T")


def search(
    library: str | Location,
    query: Query | str | Path | None = None,
    *,
    progress: Progress | None = None,
    **fields: Unpack[QueryFields],
) -> SearchResults:
    """Rank the clips of a library for one query; `earsight.Library` does so for many.

    Args:
        library: The clips folder, or the library folder itself.
        query: A `Query`, or its file; `fields` are those of `Query`.
        progress: Told of clips whose timing must be read.

    Raises:
        InputError: A field breaks its rule, or the query lacks what is asked for.
        MediaError: The query cannot be read.
        LibraryError: There is no library, no embedding yet, or one of other extractors.
    """
    query = Query.of(query, **fields)
    with open_library(library) as store:
        searcher = Searcher(store)
        results = searcher.search(query)
        if not query.rhythm:
            return results
        return rerank_by_timing(results, searcher.timings(query), query.top, progress)


class Searcher:
    """Answers queries to one open library, and follows it when it is indexed anew.

    Args:
        store: The library.
        in_memory: Keep the vectors in memory, for many queries.
    """

    def __init__(self, store: Catalog, *, in_memory: bool = False) -> None:
        self._store = store
        self._in_memory = in_memory
        self._version = -1
        self._snapshot: LibrarySnapshot | None = None
        self._slow_files = SlowFiles()

    @property
    def snapshot(self) -> LibrarySnapshot:
        """The active embedding, as it is now.

        Raises:
            LibraryError: There is none yet.
            ModelFileError: The model is damaged.
        """
        version = self._store.version
        snapshot = self._snapshot
        if snapshot is None or version != self._version:
            current = self._store.current()
            if snapshot is None or current != snapshot.embedding:
                snapshot = LibrarySnapshot(self._store, current, in_memory=self._in_memory)
            else:  # the same embedding; paths or labels may be others
                snapshot.forget_clips()
            self._snapshot, self._version = snapshot, version
        return snapshot

    def search(self, query: Query) -> SearchResults:
        """Rank clips or moments by meaning; for `rhythm`, `rerank_by_timing` comes after it."""

        def ranked(snapshot: LibrarySnapshot) -> SearchResults:
            embedded = embed_query(snapshot, query)
            results = (find_moments if query.moments else rank)(snapshot, embedded, query)
            return SearchResults(
                query=embedded.name,
                by=embedded.by,
                for_=embedded.for_,
                space=snapshot.space_name(embedded.by, embedded.for_),
                results=results,
                notes=[*embedded.notes, *snapshot.notes],
                point=embedded.vector * snapshot.space.scale(embedded.by, "visual"),
                content=embedded.content,
            )

        return self._with_snapshot(ranked)

    def timeline(self, of: int, query: Query) -> Timeline:
        """Return how well each second of the clip number `of` fits a query."""
        return self._with_snapshot(
            lambda snapshot: timeline(snapshot, embed_query(snapshot, query), of)
        )

    def timings(self, query: Query) -> Timings:
        """Return the timing of the clips, and of the query, for `rerank_by_timing`."""
        snapshot = self.snapshot
        timing, file = None, None
        if isinstance(query.file, SandboxedFile):
            timing = query.file.timing
        elif query.clip is not None:
            clip = snapshot.by_id.get(query.clip)  # None: an index run that just ended dropped it
            file = None if clip is None or clip.root is None else clip.file
        elif query.file is not None:
            file = locate(snapshot, str(query.file))
        return Timings(
            stored_tables(self._store, snapshot.embedding).timing,  # threads share no table
            file=file,
            timing=timing,
            patience=query.patience,
            slow_files=self._slow_files,
        )

    def _with_snapshot(self, reply: Callable[[LibrarySnapshot], T]) -> T:
        """Reply from the snapshot; once more if an index run replaced it meanwhile."""
        while True:
            snapshot = self.snapshot
            try:
                return reply(snapshot)
            except (LibraryError, ModelFileError):
                if self._store.current() == snapshot.embedding:
                    raise

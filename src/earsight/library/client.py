"""`earsight.Library`: a library that stays open, for scripts, notebooks and the page."""

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import EarsightError, InputError, LibraryError
from earsight.library.catalog.clips import Filter, LibraryClip
from earsight.library.catalog.open import find_library, open_library
from earsight.library.catalog.records import MODALITIES
from earsight.library.catalog.sqlite import Catalog
from earsight.library.search.moments import Timeline
from earsight.library.search.query import Query, QueryFields, SandboxedFile
from earsight.library.search.rerank_by_timing import rerank_by_timing
from earsight.library.search.results import SearchResults
from earsight.library.search.searcher import Searcher
from earsight.library.search.snapshot import LibrarySnapshot
from earsight.storage import Location
from earsight.vectors import InMemoryIndex


@dataclass(frozen=True)
class Embedded:
    """The points of one modality in the joint space, a row for each window of each clip.

    Attributes:
        clips: n clips; a long one comes as often as it has windows.
        starts, ends: (n,) seconds.
        vectors: (n, k) float32 of unit length.
    """

    clips: list[LibraryClip]
    starts: FloatArray
    ends: FloatArray
    vectors: FloatArray

    def __repr__(self) -> str:
        rows, width = self.vectors.shape
        n_clips = len({clip.id for clip in self.clips})
        return f"Embedded({rows} × {width}, windows of {n_clips} clips)"


class Library:
    """A library of clips, opened for many queries.

    The model, the vectors and the list of clips are loaded when they are first needed and stay;
    after the folder is indexed again, the next query is answered from the new index. A library may
    be used from several threads, which take turns.

    Args:
        folder: The clips folder, the library folder itself, or an address on S3.

    Raises:
        LibraryError: There is no library, or it is damaged or newer.
        StorageError: Its location on S3 cannot be reached.

    Example, with a folder that `earsight index my-clips` has read:

        with earsight.Library("my-clips") as library:
            for result in library.search("bark.wav", top=5):
                print(f"{result.score:.3f}  {result.path}")
            library.search(text="a dog barks", label="outdoors")
    """

    def __init__(self, folder: Location | str) -> None:
        location = find_library(folder)
        self._location: Location = location.resolve() if isinstance(location, Path) else location
        self._lock = threading.RLock()
        self._closed = False
        self._open()

    def _open(self) -> None:
        self._opened = open_library(self._location)
        self._inode = self._current_inode()
        self._searcher = Searcher(self._opened, in_memory=True)

    def _current_inode(self) -> int:
        """Return what tells a library from one that was made anew in its place."""
        if not isinstance(self._location, Path):
            return 0
        return (self._location / "library.db").lstat().st_ino

    def close(self) -> None:
        """Close its files; what was loaded goes."""
        with self._lock:
            self._opened.close()
            self._closed = True

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            with self._lock:
                snapshot = self.snapshot()
                space, n = snapshot.embedding.info["space"], len(snapshot.clips)
                shown = str(self.root)
                return f"Library({shown!r}, {n} clip{'s' * (n != 1)}, {space})"
        except EarsightError as error:  # closed, gone, or not searchable yet
            return f"Library({str(self._location)!r}: {error})"

    @property
    def folder(self) -> Location:
        """The library's own folder, or its address on S3."""
        return self._location

    @property
    def root(self) -> Path:
        """The folder of the clips; where this machine knows none, the library's own."""
        with self._lock:
            store = self._store()
            return store.root if store.knows_root else Path(str(self._location))

    @property
    def name(self) -> str:
        """What people call it: the name of its clips folder."""
        return self.root.name

    @property
    def state(self) -> str:
        """A token that is another one whenever the library has changed."""
        with self._lock:
            return f"{self._store().version}.{self._inode}.{self.snapshot().embedding.id}"

    def _store(self) -> Catalog:
        """Return the store, opened anew where the library was deleted and made again."""
        if self._closed:
            raise LibraryError(f"The library {self._location} was closed; open it again.")
        try:
            same = self._current_inode() == self._inode
        except OSError as error:
            raise LibraryError(
                f"The library {self._location} is gone: {error.strerror}."
            ) from error
        if not same:
            self._opened.close()
            self._open()
        return self._opened

    @property
    def is_searchable(self) -> bool:
        """Whether it has an embedding: the first indexing may be at work, or was broken off."""
        with self._lock:
            return self._store().current() is not None

    def snapshot(self) -> LibrarySnapshot:
        """Return the active embedding with its clips, for those who need more than results.

        Raises:
            LibraryError: There is no embedding yet.
        """
        with self._lock:
            self._store()
            return self._searcher.snapshot

    def warm(self) -> None:
        """Load everything that a query by a clip or by words needs."""
        with self._lock:
            for modality in MODALITIES:
                self.snapshot().index(modality)
            if self.snapshot().takes_words:
                self.search(text="warm", top=1)

    def search(
        self, query: Query | Path | str | SandboxedFile | None = None, **fields: Unpack[QueryFields]
    ) -> SearchResults:
        """Rank the clips for a file, for `text=` (typed words), or for `clip=` (one of the clips).

        Args:
            query: A file, or a path inside the clips folder; or a whole `Query`.
            fields: The other fields of `Query`: text, clip, by, for_, top, min_score, label,
                min_seconds, max_seconds, moments, rhythm, patience.

        Raises:
            InputError: A field breaks its rule, or the query lacks what is asked for.
            MediaError: The query cannot be read.
            LibraryError: There is no embedding yet, or it was made with other extractors.
        """
        query = Query.of(query, **fields)
        with self._lock:
            self._store()
            results = self._searcher.search(query)
            timings = self._searcher.timings(query) if query.rhythm else None
        # Reading clips takes long: others may ask meanwhile.
        return results if timings is None else rerank_by_timing(results, timings, query.top)

    def timeline(
        self,
        of: int,
        query: Query | Path | str | SandboxedFile | None = None,
        **fields: Unpack[QueryFields],
    ) -> Timeline:
        """Return how well each second of one clip fits a query.

        Args:
            of: The number of the clip.
            query, fields: The query, as `search` takes it: text, clip, by, for_.

        Raises:
            InputError: As `search`; or the clip lacks what is to be ranked.
            MediaError: The query cannot be read.
            LibraryError: As `search`; or what was read of the clip is not stored.
        """
        query = Query.of(query, **fields)
        with self._lock:
            self._store()
            return self._searcher.timeline(of, query)

    def clips(
        self,
        *,
        label: str | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        name: str | None = None,
    ) -> list[LibraryClip]:
        """Return the clips by path; those of a label, a length, or with `name` in their path."""
        wanted = Filter(label, min_seconds, max_seconds, name)
        with self._lock:
            return [clip for clip in self.snapshot().clips if wanted.passes(clip)]

    def clip(self, number: int) -> LibraryClip:
        """Return one clip by its number.

        Raises:
            InputError: There is none.
        """
        with self._lock:
            return self.snapshot().clip(number)

    def labels(self) -> dict[str, int]:
        """Return class → number of clips, by name; clips without a class are not counted."""
        return dict(sorted(Counter(clip.label for clip in self.clips() if clip.label).items()))

    def embeddings(self, modality: str) -> Embedded:
        """Return where the clips lie in the joint space.

        Args:
            modality: "audio" or "visual"; clips without it are left out.

        Raises:
            InputError: Another modality.
            LibraryError: There is no embedding yet.
        """
        if modality not in MODALITIES:
            raise InputError(f"`modality` must be audio or visual; got {modality!r}.")
        with self._lock:
            snapshot = self.snapshot()
            index = snapshot.index(modality)
            if isinstance(index, InMemoryIndex):
                rows, matrix = index.read({"modality": modality})
            else:
                parts = list(index.read({"modality": modality}))
                rows = [row for part, _ in parts for row in part]
                matrix = np.concatenate([x for _, x in parts])
            by_content = snapshot.by_content
        found = {
            (clip.path, row.window): (place, clip)
            for place, row in enumerate(rows)
            for clip in by_content.get(row.content, ())
        }
        ordered = [found[key] for key in sorted(found)]
        places = [place for place, _ in ordered]
        return Embedded(
            clips=[clip for _, clip in ordered],
            starts=np.array([rows[place].start for place in places]),
            ends=np.array([rows[place].end for place in places]),
            vectors=np.asarray(matrix[places], dtype=np.float32),
        )

"""`earsight.Library`: a library that stays open, for scripts, notebooks and the page."""

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import EarsightError, InputError, LibraryError
from earsight.library.catalog.base import Store
from earsight.library.catalog.clips import Filter, LibraryClip
from earsight.library.catalog.location import find
from earsight.library.embedding.extraction import MODALITIES
from earsight.library.search.moments import Timeline
from earsight.library.search.rerank_by_timing import candidates, in_rhythm
from earsight.library.search.results import Answer
from earsight.library.search.sandbox import Stranger
from earsight.library.search.searcher import Searcher
from earsight.library.search.snapshot import Opened
from earsight.storage import Place
from earsight.vectors import HeldIndex


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
    """A library of clips, opened to answer many questions.

    The model, the vectors and the list of clips are loaded when they are first needed and stay;
    where the folder is indexed again meanwhile, the next question is answered by what is new. It
    may be used from several threads, which take turns.

    Args:
        folder: The clips folder, the library folder itself, or an address on S3.

    Raises:
        LibraryError: There is no library, or it is damaged or newer.
        StorageError: Its place on S3 cannot be reached.

    Example, with a folder that `earsight index my-clips` has read:

        with earsight.Library("my-clips") as library:
            for answer in library.search("bark.wav", top=5):
                print(f"{answer.score:.3f}  {answer.path}")
            library.search(text="a dog barks", label="outdoors")
    """

    def __init__(self, folder: Place | str) -> None:
        place = find(folder)
        self._place: Place = place.resolve() if isinstance(place, Path) else place
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        self._store = Store.open(self._place)
        self._file = self._inode()
        self._searcher = Searcher(self._store, hold=True)

    def _inode(self) -> int:
        """Return what tells a library from one that was made anew in its place."""
        if not isinstance(self._place, Path):
            return 0
        return (self._place / "library.db").lstat().st_ino

    def close(self) -> None:
        """Close its files; what was loaded goes."""
        with self._lock:
            self._store.close()
            self._closed = True

    _closed = False

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            with self._lock:
                opened = self.opened()
                answers = opened.embedding.info["space"]
                n = len(opened.clips)
                shown = str(self.root if isinstance(self._place, Path) else self._place)
                return f"Library({shown!r}, {n} clip{'s' * (n != 1)}, {answers})"
        except EarsightError as error:  # closed, gone, or nothing answers yet
            return f"Library({str(self._place)!r}: {error})"

    @property
    def folder(self) -> Place:
        """The library's own folder, or its address on S3."""
        return self._place

    @property
    def root(self) -> Path:
        """The folder of the clips; where this machine knows none, the place of the library."""
        with self._lock:
            store = self._asked()
            known = isinstance(self._place, Path) and store.is_fed_here
            return store.root if known else Path(str(self._place))

    @property
    def name(self) -> str:
        """What people call it: the name of its clips folder."""
        return self.root.name

    @property
    def state(self) -> str:
        """A word that is another one whenever the library has changed."""
        with self._lock:
            return f"{self._asked().version}.{self._file}.{self.opened().embedding.id}"

    def _asked(self) -> Store:
        """Return the store, opened anew where the library was deleted and made again."""
        if self._closed:
            raise LibraryError(f"The library {self._place} was closed; open it again.")
        try:
            same = self._inode() == self._file
        except OSError as error:
            raise LibraryError(f"The library {self._place} is gone: {error.strerror}.") from error
        if not same:
            self._store.close()
            self._open()
        return self._store

    @property
    def answers(self) -> bool:
        """Whether anything answers: the first indexing may be at work, or was broken off."""
        with self._lock:
            return self._asked().current() is not None

    def opened(self) -> Opened:
        """Return what answers now, for those who need more of it than answers.

        Raises:
            LibraryError: Nothing does yet.
        """
        with self._lock:
            self._asked()
            return self._searcher.opened

    def warm(self) -> None:
        """Load everything that a question by a clip or by words needs."""
        with self._lock:
            for modality in MODALITIES:
                self.opened().index(modality)
            if self.opened().takes_words:
                self.search(text="warm", top=1)

    def search(
        self,
        query: Path | str | Stranger | None = None,
        *,
        text: str | None = None,
        clip: int | None = None,
        by: str | None = None,
        for_: str | None = None,
        top: int = 10,
        min_score: float | None = None,
        label: str | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        moments: bool = False,
        rhythm: bool = False,
        patience: float | None = None,
    ) -> Answer:
        """Rank the clips for a file, for words, or for one of the clips.

        Args:
            query: A file, a path inside the clips folder, or a file that was read elsewhere.
            text: Typed words, instead.
            clip: The number of a clip of the library, instead; its file is not opened.
            by: What of the query to use: "audio", "visual", or "text", the .txt or .srt file
                beside it; default: its sight if it has it.
            for_: What to rank: "audio", "visual" or "text"; default: the other one of sound and
                sight (for words and texts: "visual").
            top: How many files at most, or moments.
            min_score: Leave out answers that score lower.
            label: Rank clips of this class alone.
            min_seconds, max_seconds: Rank clips of this length alone.
            moments: Rank moments of clips instead: each answer's `start` and `end` are the second
                at which it begins to fit, and at which it ends. A clip may have several; they do
                not overlap.
            rhythm: Of the first hundred raise those whose timing stands out: whose sight caused
                this sound, or which sound belongs to this sight? Clips never asked about are
                read first, every frame of them, which takes a while.
            patience: Seconds that this reading may take, half of them for one file; then what was
                not read keeps its place. A file that takes longer is not tried again for ten
                minutes, unless it is given more. None: as long as it takes.

        Raises:
            InputError: Not exactly one query, or it lacks what is asked for.
            MediaError: The query cannot be read.
            LibraryError: Nothing answers yet, or it was made with other extractors.
        """
        within = Filter(label, min_seconds, max_seconds)
        with self._lock:
            self._asked()
            answer = self._searcher.answer(
                query,
                text=text,
                clip=clip,
                by=by,
                for_=for_,
                top=candidates(top, moments=moments) if rhythm else top,
                min_score=min_score,
                within=within,
                moments=moments,
            )
            timings = self._searcher.timings(query, clip, patience) if rhythm else None
        # Reading clips takes long: others may ask meanwhile.
        return answer if timings is None else in_rhythm(answer, timings, top)

    def timeline(
        self,
        of: int,
        query: Path | str | Stranger | None = None,
        *,
        text: str | None = None,
        clip: int | None = None,
        by: str | None = None,
        for_: str | None = None,
    ) -> Timeline:
        """Return how well each second of one clip fits a query.

        Args:
            of: The number of the clip.
            query, text, clip, by, for_: The query, as `search` takes it.

        Raises:
            InputError: As `search`; or the clip lacks what is to be ranked.
            MediaError: The query cannot be read.
            LibraryError: As `search`; or what was read of the clip is not stored.
        """
        with self._lock:
            self._asked()
            return self._searcher.timeline(of, query, text=text, clip=clip, by=by, for_=for_)

    def clips(
        self,
        *,
        label: str | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        name: str | None = None,
    ) -> list[LibraryClip]:
        """Return the clips by path; those of a label, a length, or with `name` in their path."""
        within = Filter(label, min_seconds, max_seconds, name)
        with self._lock:
            return [clip for clip in self.opened().clips if within.passes(clip)]

    def clip(self, number: int) -> LibraryClip:
        """Return one clip by its number.

        Raises:
            InputError: There is none.
        """
        with self._lock:
            found = self.opened().by_id.get(number)
        if found is None:
            raise InputError(f"There is no clip {number} in this library.")
        return found

    def labels(self) -> dict[str, int]:
        """Return class → number of clips, by name; clips without a class are not counted."""
        return dict(sorted(Counter(clip.label for clip in self.clips() if clip.label).items()))

    def embeddings(self, modality: str) -> Embedded:
        """Return where the clips lie in the joint space.

        Args:
            modality: "audio" or "visual"; clips without it are left out.

        Raises:
            InputError: Another modality.
            LibraryError: Nothing answers yet.
        """
        if modality not in MODALITIES:
            raise InputError(f"`modality` must be audio or visual; got {modality!r}.")
        with self._lock:
            opened = self.opened()
            index = opened.index(modality)
            if isinstance(index, HeldIndex):
                rows, matrix = index.read({"modality": modality})
            else:
                parts = list(index.read({"modality": modality}))
                rows = [row for part, _ in parts for row in part]
                matrix = np.concatenate([x for _, x in parts])
            known = opened.by_content
        places = {}
        for place, row in enumerate(rows):
            for clip in known.get(row.content, ()):
                places[clip.path, row.window] = (place, clip)
        order = [places[key] for key in sorted(places)]
        chosen = [place for place, _ in order]
        return Embedded(
            [clip for _, clip in order],
            np.array([rows[place].start for place in chosen]),
            np.array([rows[place].end for place in chosen]),
            np.asarray(matrix[chosen], dtype=np.float32),
        )

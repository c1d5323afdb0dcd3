"""Search a library by a file, by one of its clips, or by typed words."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.discovery import make
from earsight.errors import InputError, LibraryError, MediaError, ModelFileError
from earsight.library.place import find
from earsight.library.scan import content_of
from earsight.library.sources import MODALITIES, Sources, read_clip
from earsight.library.space import Space
from earsight.library.store import Clip, Embedding, Store
from earsight.library.tables import Tables, embedding_table
from earsight.paths import as_text
from earsight.vectors import Hit, LanceIndex

_PERCEIVED = {"audio": "sound", "visual": "sight"}
_OTHER = {"audio": "visual", "visual": "audio", "text": "visual"}


@dataclass(frozen=True)
class Result:
    """One answer: a file, with the span of it that fits best.

    Attributes:
        rank: From 1; equal scores keep the order of their paths.
        score: Cosine in the space that answered, in [−1, 1].
        path: Absolute; bytes outside UTF-8 as %XX.
        id: The clip's number in the library.
        label: Its class, or None.
        start, end: Seconds.
        is_query: It is the query's own clip (the same content).
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


@dataclass(frozen=True)
class Answer:
    """A ranked list, and what was asked.

    Attributes:
        query: The file's path, or the words.
        by: "audio", "visual" or "text": what of the query was used.
        for_: "audio" or "visual": what was ranked.
        space: What answered: "words", or "words + NAME".
        results: Best first.
        notes: For people: choices that were made for them.
    """

    query: str
    by: str
    for_: str
    space: str
    results: list[Result]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        rows = [asdict(result) for result in self.results]
        for row in rows:
            del row["raw_path"]
        return {
            "query": self.query,
            "by": self.by,
            "for": self.for_,
            "space": self.space,
            "results": rows,
        }


def search(
    library: Path,
    query: str | Path | None = None,
    *,
    text: str | None = None,
    by: str | None = None,
    for_: str | None = None,
    top: int = 10,
    min_score: float | None = None,
) -> Answer:
    """Rank the clips of a library for a query.

    Args:
        library: The clips folder, or the library folder itself.
        query: A file, or a path inside the clips folder.
        text: Typed words, instead of a file.
        by: What of the query to use: "audio" or "visual"; default: what it has.
        for_: What to rank: "audio" or "visual"; default: the other one (for words: "visual").
        top: How many files.
        min_score: Leave out answers that score lower.

    Raises:
        InputError: Not exactly one of `query` and `text`, or the query lacks what is asked for.
        MediaError: The query cannot be read.
        LibraryError: No library, none that answers yet, or one made with other extractors.
    """
    if (query is None) == (text is None):
        raise InputError("Search takes either a file or --text, and exactly one of them.")
    if top < 1:
        raise InputError(f"`top` must be at least 1; got {top}.")
    for value in (by, for_):
        if value not in (None, *MODALITIES):
            raise InputError(f"--by and --for take audio or visual; got {value!r}.")

    def answer(session: _Session) -> Answer:
        asked = session.words(text, by) if text is not None else session.file(str(query), by)
        wanted = for_ or _OTHER[asked.by]
        results = session.rank(asked, wanted, top, min_score)
        name = session.space.name if asked.by != "text" else "words"
        return Answer(asked.shown, asked.by, wanted, name, results, asked.notes)

    with Store.open(find(Path(library))) as store:
        while True:
            before = store.current()
            try:
                return answer(_Session(store))
            except (LibraryError, ModelFileError):
                # An index that ended just now may have replaced what was being read.
                if store.current() == before:
                    raise


@dataclass(frozen=True)
class _Asked:
    shown: str
    by: str
    vector: FloatArray  # (k,)
    content: str | None
    notes: list[str]


class _Session:
    """One library, opened for a query: its embedding, its model, its clips."""

    def __init__(self, store: Store) -> None:
        current = store.current()
        if current is None:
            raise LibraryError(
                f"The library {store.folder} has nothing that answers yet; its indexing did not "
                f"finish, or is at work just now. Run: {store.index_command}"
            )
        self.store = store
        self.embedding: Embedding = current
        self.sources = Sources(**current.info["sources"])
        self.space = Space.load(store.folder / "models" / str(current.id))
        self.table: LanceIndex = embedding_table(store.folder, current.table)

    def words(self, text: str, by: str | None) -> _Asked:
        if by is not None:
            raise InputError("--by belongs to a file; with --text the words are the query.")
        if not text.strip():
            raise InputError("--text must hold words; got nothing.")
        self._check_sources()
        vectors = make("extractors", "minilm", {}).embed([text])
        return _Asked(text, "text", self._embed("text", {"words.text": vectors}), None, [])

    def file(self, query: str, by: str | None) -> _Asked:
        path = self._locate(query)
        try:
            content = content_of(path)
        except OSError as error:
            raise MediaError(f"{query} cannot be opened: {error.strerror}.") from error
        vectors = self._stored(content)
        if vectors is None:
            self._check_sources()
            vectors = self._extracted(path)
        have = [modality for modality in MODALITIES if modality in vectors]
        notes = []
        if by is None:
            by = "visual" if "visual" in have else "audio"
            if len(have) == 2:
                notes.append(
                    f"{path.name} has both; asking by its sight. For its sound: --by audio"
                )
        elif by not in have:
            raise InputError(
                f"{as_text(os.fsencode(path))} has no {_PERCEIVED[by]} to search by; "
                f"it has {_PERCEIVED[have[0]]}: --by {have[0]}."
            )
        roles = {role: x for role, x in vectors.items() if role in (f"words.{by}", by)}
        return _Asked(as_text(os.fsencode(path)), by, self._embed(by, roles), content, notes)

    def _locate(self, query: str) -> Path:
        for path in (Path(query), self.store.root / query):
            if os.path.isfile(path):  # noqa: PTH113 - False where the name is no possible one
                return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
        raise InputError(
            f"There is no file {query}, neither here nor in {self.store.root}. "
            "To search by words: --text."
        )

    def _stored(self, content: str) -> dict[str, Any] | None:
        """Return the vectors of a clip of the library, if it is one, of one window, and here."""
        known = self.store.contents(self.embedding.features).get(content)
        if known is None or known.windows != 1:
            return None
        tables = Tables(self.store.folder, self.embedding.features)
        found = {
            role: x
            for modality in MODALITIES
            for piece in tables.read(modality, {content: 1})
            for role, x in piece.vectors.items()
        }
        return found or None

    def _extracted(self, path: Path) -> dict[str, Any]:
        extracted = read_clip(path, self.sources, whole=True)
        if not extracted.windows:
            raise MediaError(f"{as_text(os.fsencode(path))}: {extracted.report.message}")
        return {role: x[None, :] for role, x in extracted.windows[0].vectors.items()}

    def _check_sources(self) -> None:
        """Refuse to mix embeddings of two models."""
        if self.sources.fingerprint != self.embedding.features:
            raise LibraryError(
                f"The library {self.store.folder} was made with other weights or another version "
                "of the extractors than are installed now; their vectors cannot be compared. "
                f"Run: {self.store.index_command}"
            )

    def _embed(self, modality: str, rows: dict[str, Any]) -> FloatArray:
        return np.asarray(self.space.embed(modality, rows)[0])

    def rank(self, asked: _Asked, wanted: str, top: int, min_score: float | None) -> list[Result]:
        clips: dict[str, list[Clip]] = {}
        for clip in self.store.clips():
            clips.setdefault(clip.content, []).append(clip)
        best = self._best_by_content(asked.vector, wanted, top, set(clips))
        found = [
            (hit.score / self.space.scale(asked.by), clip, hit)
            for hit in best
            for clip in clips[hit.row.content]
        ]
        found.sort(key=lambda one: (-one[0], one[1].path))
        root = os.fsencode(self.store.root)
        return [
            Result(
                rank,
                score,
                as_text(os.path.join(root, clip.path)),
                clip.id,
                clip.label,
                hit.row.start,
                hit.row.end,
                clip.content == asked.content,
                os.path.join(root, clip.path),
            )
            for rank, (score, clip, hit) in enumerate(found[:top], start=1)
            if min_score is None or score >= min_score
        ]

    def _best_by_content(
        self, vector: FloatArray, wanted: str, top: int, known: set[str]
    ) -> list[Hit]:
        """Return the best window of each of the `top` best contents that a clip still holds."""
        total = self.table.count({"modality": wanted})
        k = min(4 * top, total)
        while k:
            hits = self.table.search(vector[None, :], k, {"modality": wanted})[0]
            best: dict[str, Hit] = {}
            for hit in hits:
                if hit.row.content in known:
                    best.setdefault(hit.row.content, hit)
            if len(best) >= top or k == total:
                return list(best.values())[:top]
            k = min(4 * k, total)
        return []

"""The large tables of a library: vectors and sequences by content, and the embedding that answers.

One table for each role ("words.audio", "visual", …) and one for the sequences, all named after the
fingerprint of the extractors that filled them, so that two sets can stand side by side.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import LibraryError
from earsight.library.catalog.base import Store
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.extraction import (
    MODALITIES,
    TEXT,
    WORDS,
    Extracted,
    Sources,
    bridge_role,
    modality_of,
)
from earsight.library.embedding.joint_space import Space
from earsight.library.progress import Progress
from earsight.storage import Place
from earsight.vectors import (
    EMBEDDED,
    HELD_BYTES,
    HeldIndex,
    LanceIndex,
    Row,
    SequenceStore,
    StoredSequence,
    Table,
    VectorTable,
    open_index,
    table_names,
)

_EMBEDDING = re.compile("embedding-([0-9]+)(?:-[0-9a-f]{8})?")  # with a mark on S3
_CHUNK = 4096  # windows read and embedded at a time


@dataclass(frozen=True)
class Piece:
    """Rows of one modality, aligned over its roles.

    Attributes:
        modality: "audio", "visual" or "text".
        rows: n rows, by content and window.
        vectors: Role → (n, d).
    """

    modality: str
    rows: list[Row]
    vectors: dict[str, FloatArray]


class Tables:
    """What the extractors of one fingerprint gave, by content.

    Args:
        folder: The library.
        features: The fingerprint.
        roles: What is kept of a file, as `Sources.roles` names it.
    """

    def __init__(self, folder: Place, features: str, roles: Sequence[str]) -> None:
        self.folder = folder / "vectors"
        self.features = features
        self.roles = tuple(roles)
        self.sequences = SequenceStore(self.folder, f"sequences-{features}")
        self.timing = SequenceStore(self.folder, f"timing-{features}")  # made when first asked for

    def create(self, sources: Sources) -> None:
        """Make the tables that are not there yet."""
        if isinstance(self.folder, Path):
            self.folder.mkdir(parents=True, exist_ok=True)
        for role, extractor in sources.extractors().items():
            self._table(role).create(extractor.dim)
        self.sequences.create()

    @property
    def complete(self) -> bool:
        """Whether all tables are there."""
        return self.sequences.exists and all(self._table(role).exists for role in self.roles)

    def _table(self, role: str) -> LanceIndex:
        return LanceIndex(self.folder, f"{role}-{self.features}")

    def add(self, batch: Mapping[str, Extracted]) -> None:
        """Write what was extracted, by content; a content that stands is replaced."""
        roles: dict[str, tuple[list[Row], list[FloatArray]]] = {}
        stored = []
        for content, extracted in batch.items():
            for window in extracted.windows:
                for role, vector in window.vectors.items():
                    rows, vectors = roles.setdefault(role, ([], []))
                    key = f"{content}:{window.index:06d}"
                    modality = modality_of(role)
                    rows.append(Row(key, content, modality, window.index, window.start, window.end))
                    vectors.append(vector)
            stored += [
                StoredSequence(f"{content}:{role}", content, role, sequence)
                for role, sequence in extracted.sequences.items()
            ]
        for role, (rows, vectors) in roles.items():
            self._table(role).upsert(rows, np.stack(vectors))
        self.sequences.upsert(stored)

    def drop(self) -> None:
        """Remove all tables, readable or not."""
        kept = (self.sequences.name, self.timing.name)
        for name in (*(f"{role}-{self.features}" for role in self.roles), *kept):
            Table(self.folder, name).drop()

    def delete(self, contents: Sequence[str]) -> None:
        """Remove contents that no clip holds."""
        if contents:
            for role in self.roles:
                self._table(role).delete(contents)
            self.sequences.delete(contents)
            if self.timing.exists:
                self.timing.delete(contents)

    def faults(self, contents: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[str]]:
        """Compare what is here with what the library believes.

        A power cut can lose vectors that were acknowledged; a kill can leave some that were not.

        Args:
            contents: Content → modality → the number of rows that it should have.

        Returns:
            Contents whose rows are not all here, and contents that the library does not know.
        """
        lost, strays = set(), set()
        for role in self.roles:
            modality = modality_of(role)
            here = Counter(row.content for row in self._table(role).rows())
            strays |= here.keys() - contents.keys()
            lost |= {c for c, rows in contents.items() if rows.get(modality, 0) != here[c]}
        if self.timing.exists:
            kept = self.timing.keys()
            strays |= {key.partition(":")[0] for key in kept} - contents.keys()
        return sorted(lost), sorted(strays)

    def read(self, modality: str, contents: Mapping[str, int]) -> Iterator[Piece]:
        """Yield the rows of one modality, sorted by content and window, some contents at a time.

        Args:
            modality: "audio", "visual" or "text".
            contents: Content → its number of windows, by which the pieces are cut.
        """
        roles = [role for role in (bridge_role(WORDS, modality), modality) if role in self.roles]
        for some in _chunks(contents):
            found: dict[str, tuple[list[Row], FloatArray]] = {}
            for role in roles:
                parts = list(self._table(role).read({"content": some}))
                rows = [row for part, _ in parts for row in part]
                if rows:
                    order = sorted(range(len(rows)), key=lambda i: rows[i].key)
                    matrix = np.concatenate([vectors for _, vectors in parts])[order]
                    found[role] = ([rows[i] for i in order], matrix)
            if found:
                rows = found[roles[0]][0]
                yield Piece(modality, rows, {role: found[role][1] for role in roles})

    def optimize(self) -> None:
        """Merge the many small files that batches leave."""
        for role in self.roles:
            Table.optimize(self._table(role))  # nobody searches these, so they need no index
        self.sequences.optimize()


def _chunks(contents: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield contents in order, about `_CHUNK` windows at a time."""
    chunk: list[str] = []
    windows = 0
    for content in sorted(contents):
        chunk.append(content)
        windows += contents[content]
        if windows >= _CHUNK:
            yield chunk
            chunk, windows = [], 0
    if chunk:
        yield chunk


def stored_tables(store: Store, embedding: Embedding) -> Tables:
    """Return the tables that an embedding was made from."""
    roles = embedding.roles
    if not roles:
        store.trust.check(requests_of(embedding.sources, None))
        roles = Sources(**embedding.sources).roles
    return Tables(store.folder, embedding.features, roles)


def embedding_table(folder: Place, name: str, index: str = EMBEDDED) -> VectorTable:
    """Return the table of vectors of one embedding, in an index by its address."""
    return open_index(index, folder / "vectors", name)


def embedded_in_memory(tables: Tables, space: Space, contents: Mapping[str, int]) -> HeldIndex:
    """Embed the features of every row again, where the vectors that are searched are out of reach.

    Raises:
        LibraryError: They take more than is held in memory.
    """
    rows: list[Row] = []
    parts: list[FloatArray] = []
    for modality in (*MODALITIES, TEXT):
        for some in _chunks(contents):
            for piece in tables.read(modality, {c: contents[c] for c in some}):
                parts.append(space.embed(modality, piece.vectors))
                rows += [_embedded_row(row, modality) for row in piece.rows]
                if len(rows) * parts[0].shape[1] * 4 > HELD_BYTES:
                    raise LibraryError(
                        f"The vectors of the library take more than {HELD_BYTES >> 20} MiB, which "
                        "is the most that is embedded again for a search."
                    )
    if not rows:
        raise LibraryError(f"The tables of {tables.folder} hold no features.")
    return HeldIndex(rows, np.concatenate(parts))


def _embedded_row(row: Row, modality: str) -> Row:
    return Row(f"{row.key}:{modality}", row.content, modality, row.window, row.start, row.end)


def write_embedding(
    tables: Tables,
    table: VectorTable,
    space: Space,
    contents: Mapping[str, int],
    progress: Progress,
) -> int:
    """Embed every row of every modality into a new table; return how many rows there are."""
    table.drop()
    is_made = False  # once: where another machine removes it, as overtaken, it stays removed
    n_rows = 0
    parts = [{c: contents[c] for c in some} for some in _chunks(contents)]
    work = [(modality, part) for modality in (*MODALITIES, TEXT) for part in parts]
    progress.start("Embedding", len(work))
    for modality, part in work:
        for piece in tables.read(modality, part):
            vectors = space.embed(modality, piece.vectors)
            if not is_made:
                table.create(vectors.shape[1])
                is_made = True
            table.upsert([_embedded_row(row, modality) for row in piece.rows], vectors)
            n_rows += len(piece.rows)
        progress.advance()
    if n_rows:
        table.optimize()
    progress.finish()
    return n_rows


def drop_others(store: Store, current: Embedding) -> None:
    """Remove what extractors read that nobody uses, and embeddings that no longer answer."""
    folder = store.folder / "vectors"
    names = table_names(folder)  # before it is asked by what folders are read
    kept = tuple(f"-{features}" for features in store.keep_features(current.features))
    drop_embeddings(store, current)
    for name in names:
        if _number(name) < 0 and not name.endswith(kept):
            LanceIndex(folder, name).drop()


def drop_embeddings(store: Store, current: Embedding, *, moved: bool = False) -> None:
    """Remove the tables of embeddings that no longer answer.

    Args:
        store: The library.
        current: What answers.
        moved: It was moved just now, and is the number of no other table. Otherwise, on S3, a
            table of its number or a larger one may be being written by another machine.
    """
    folder = store.folder / "vectors"
    for name in table_names(folder):
        number = _number(name)
        if number >= 0 and name != current.table and not may_be_made(store, current, number, moved):
            LanceIndex(folder, name).drop()


def may_be_made(store: Store, current: Embedding, number: int, moved: bool) -> bool:
    """Whether another machine may be writing a table of an embedding's number just now.

    One with a larger number than what answers is a new embedding; one with its number is where it
    is being moved to, unless it was moved by whoever asks.
    """
    return store.shared and (number > current.id or (number == current.id and not moved))


def _number(table: str) -> int:
    """Return the number of an embedding's table, -1 of another one."""
    found = _EMBEDDING.fullmatch(table)
    return int(found[1]) if found else -1

"""The tables of features: vectors and sequences by content, as the extractors gave them.

There is one table for each role ("words.audio", "visual", …) and one for the sequences. Their names
end in the fingerprint of the extractors, so that two sets can lie side by side.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import LibraryError
from earsight.library.catalog.records import MODALITIES, Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.extraction import (
    TEXT,
    WORDS,
    Extracted,
    Sources,
    modality_of,
    zero_shot_role,
)
from earsight.library.embedding.joint_space import JointSpace
from earsight.storage import Location
from earsight.vectors import (
    EMBEDDED,
    MAX_BYTES_IN_MEMORY,
    InMemoryIndex,
    LanceIndex,
    Row,
    SequenceStore,
    StoredSequence,
    Table,
    VectorTable,
    open_index,
)

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


class FeatureTables:
    """What the extractors of one fingerprint gave, by content.

    Args:
        folder: The library.
        features: The fingerprint.
        roles: What is kept of a file, as `Sources.roles` names it.
    """

    def __init__(self, folder: Location, features: str, roles: Sequence[str]) -> None:
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
        """Write what was extracted, by content; a known content is replaced."""
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
        """Compare the tables with the catalog.

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
        roles = [role for role in (zero_shot_role(WORDS, modality), modality) if role in self.roles]
        for some in chunks(contents):
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


def chunks(contents: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield contents in order, about 4096 windows at a time."""
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


def stored_tables(catalog: Catalog, embedding: Embedding) -> FeatureTables:
    """Return the tables that an embedding was made from."""
    roles = embedding.roles
    if not roles:
        catalog.trust.check(requests_of(embedding.sources))
        roles = Sources(**embedding.sources).roles
    return FeatureTables(catalog.folder, embedding.features, roles)


def embedding_table(folder: Location, name: str, index: str = EMBEDDED) -> VectorTable:
    """Return the table of vectors of one embedding, in an index by its address."""
    return open_index(index, folder / "vectors", name)


def embed_in_memory(
    tables: FeatureTables, space: JointSpace, contents: Mapping[str, int]
) -> InMemoryIndex:
    """Embed the features of every row again, where the vectors that are searched are out of reach.

    Raises:
        LibraryError: They take too much memory.
    """
    rows: list[Row] = []
    parts: list[FloatArray] = []
    for modality in (*MODALITIES, TEXT):
        for some in chunks(contents):
            for piece in tables.read(modality, {c: contents[c] for c in some}):
                parts.append(space.embed(modality, piece.vectors))
                rows += [embedded_row(row, modality) for row in piece.rows]
                if len(rows) * parts[0].shape[1] * 4 > MAX_BYTES_IN_MEMORY:
                    raise LibraryError(
                        "The vectors of the library take more than "
                        f"{MAX_BYTES_IN_MEMORY >> 20} MiB, the most that a search embeds again."
                    )
    if not rows:
        raise LibraryError(f"The tables of {tables.folder} hold no features.")
    return InMemoryIndex(rows, np.concatenate(parts))


def embedded_row(row: Row, modality: str) -> Row:
    """Return the row of a vector in the joint space; a row of features has no modality."""
    return Row(f"{row.key}:{modality}", row.content, modality, row.window, row.start, row.end)

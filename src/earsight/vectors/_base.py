"""What every vector index is: rows with scalar columns, and a ranking that any engine must give."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from earsight.arrays import FloatArray, as_matrix, unit_rows
from earsight.errors import InputError
from earsight.similarity import GRID, distance_blocks

EXACT_ROWS = 100_000
"""Up to this many rows every one is compared with the query; above, an engine may approximate."""

FILTERED = ("key", "content", "modality", "window")
"""Columns that a filter may name."""

REBUILD = "To make it anew, index again with --rebuild."
"""What to do about a table that is damaged or missing."""

_PART = 1024  # scores of which the best is looked at first

Where = Mapping[str, str | int | Collection[str | int]]
"""A filter: each column equals the value, or is one of the values; all columns must agree."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one vector. The order of the fields is that of the embedded index's files.

    Attributes:
        key: Names the row; a row written under a key that stands replaces it.
        content: Hash of the file's bytes, by which rows are deleted.
        modality: "audio", "visual", …
        window: Number of the window within the file, from 0.
        start: Where the window begins, in seconds.
        end: Where it ends, in seconds.
    """

    key: str
    content: str
    modality: str
    window: int
    start: float
    end: float


_TEXT = 1 << 16  # characters of a key
_SECONDS = 1e300  # far beyond any, and what is larger is no number of a clock


def checked_row(values: Sequence[object]) -> Row:
    """Return a row from what a table or a server says of it.

    Raises:
        ValueError: Other counts or kinds of values than a row has.

    >>> checked_row(["k", "c", "audio", 0, 0.0, 1])
    Row(key='k', content='c', modality='audio', window=0, start=0.0, end=1.0)
    """
    if len(values) != 6:
        raise ValueError(f"a row of {len(values)} values")
    key, content, modality, window, start, end = values
    for value in (key, content, modality):
        if type(value) is not str or len(value) > _TEXT:
            raise ValueError(f"a row with {value!r:.80} in the place of a text")
    if type(window) is not int or not 0 <= window < 1 << 31:
        raise ValueError(f"a row with {window!r:.80} in the place of a window")
    times = []
    for value in (start, end):
        if type(value) not in (int, float) or not -_SECONDS < value < _SECONDS:  # type: ignore[operator]
            raise ValueError(f"a row with {value!r:.80} in the place of seconds")
        times.append(float(value))  # type: ignore[arg-type]
    return Row(key, content, modality, window, *times)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that answers a query, with its cosine similarity in [−1, 1]."""

    row: Row
    score: float


class VectorIndex(Protocol):
    """A table of vectors of one width that answers by cosine similarity.

    Scores are float64 cosines rounded to a multiple of 2⁻²⁰; equal scores are ordered by key. So
    the order of writing never matters, and every engine gives the same list while it is exact
    (up to `EXACT_ROWS` rows). A vector of zeros scores 0 against everything.
    """

    def create(self, dim: int) -> None:
        """Make the table, or check that the one that stands has this width."""

    def upsert(self, rows: Sequence[Row], vectors: FloatArray) -> None:
        """Write one batch: all of it is there when this returns, or none."""

    def delete(self, contents: Iterable[str]) -> int:
        """Remove every row of these contents; return how many rows went."""

    def search(self, queries: FloatArray, k: int, where: Where | None = None) -> list[list[Hit]]:
        """Return the k nearest rows for each query, best first; fewer where fewer are there."""

    def count(self, where: Where | None = None) -> int:
        """Return the number of rows."""


class VectorTable(VectorIndex, Protocol):
    """A `VectorIndex` that can also be read as a whole, made fast, and removed."""

    @property
    def exists(self) -> bool:
        """Whether the table is there."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    def read(self, where: Where | None = None) -> Iterator[tuple[list[Row], FloatArray]]:
        """Yield all rows with their vectors, (n, dim) float32, in batches, in no fixed order."""

    def rows(self, where: Where | None = None) -> list[Row]:
        """Return all rows without their vectors, sorted by key."""

    def optimize(self) -> None:
        """Make searching fast once all is written."""

    def drop(self) -> None:
        """Remove the table with all its rows; nothing happens where there is none."""


def conditions(
    where: Where | None, columns: Sequence[str]
) -> Iterator[tuple[str, list[str | int]]]:
    """Yield the columns of a filter, each with the values that pass.

    >>> list(conditions({"modality": "audio", "window": [0, 1]}, ["modality", "window"]))
    [('modality', ['audio']), ('window', [0, 1])]

    Raises:
        InputError: An unknown column, or a value that is neither a string nor a whole number.
    """
    for column, wanted in (where or {}).items():
        if column not in columns:
            raise InputError(f"`where` must name columns ({', '.join(columns)}); got {column!r}.")
        several = isinstance(wanted, Collection) and not isinstance(wanted, str)
        values: list[str | int] = []
        for value in wanted if several else (wanted,):  # type: ignore[union-attr]
            if not isinstance(value, str | int):
                raise InputError(f"`where` must hold strings or whole numbers; got {value!r}.")
            values.append(value if isinstance(value, str) else int(value))
        yield column, values


def cosines(queries: FloatArray, vectors: FloatArray) -> FloatArray:
    """Cosine similarities rounded to a multiple of 2⁻²⁰: (m, d), (n, d) → (m, n) float64.

    >>> cosines(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    array([[1., 0., 0.]])
    """
    units = [unit_rows(x.astype(np.float64)) for x in (queries, vectors)]
    blocks = [distance for _, distance in distance_blocks(*units)]
    # Adding 0 turns -0 into 0: both are one score and should print as one.
    return np.concatenate(blocks) / -GRID + 0.0


def reaching(
    scores: FloatArray, k: int, floor: float, slack: float = 0.0
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return where the k best of `scores` (n,) are, with all that tie with the last of them.

    Those below `floor` are left out: k better ones are known already. Those within `slack` of the
    last are taken too.
    """
    if len(scores) <= k:
        return np.flatnonzero(scores >= floor)
    # The k-th best of the best of each part is no better than the k-th of all.
    parts = scores[: len(scores) // _PART * _PART].reshape(-1, _PART).max(axis=1)
    if len(parts) > k:
        floor = max(floor, float(np.partition(parts, -k)[-k]) - slack)
    places = np.flatnonzero(scores >= floor)
    if len(places) > k:
        floor = max(floor, float(np.partition(scores[places], -k)[-k]) - slack)
    return places[scores[places] >= floor]


def merge(known: list[Hit], found: Iterable[Hit], k: int) -> list[Hit]:
    """Return the k best of two lists: by score, then by key."""
    return sorted([*known, *found], key=lambda hit: (-hit.score, hit.row.key))[:k]


Taking = Callable[[Any], list[Row]]


def rank_all(
    queries: FloatArray, k: int, blocks: Iterable[tuple[Taking, FloatArray]]
) -> list[list[Hit]]:
    """Compare every row with every query, and return the k best for each.

    Args:
        queries: (m, dim).
        k: How many.
        blocks: Vectors (n, dim), each with what gives the rows at some places among them.
    """
    best: list[list[Hit]] = [[] for _ in queries]
    for take, vectors in blocks:
        scores = cosines(queries, vectors)  # (queries, rows)
        for i, line in enumerate(scores):
            floor = best[i][-1].score if len(best[i]) == k else -np.inf
            kept = reaching(line, k, floor)
            found = zip(take(kept), line[kept], strict=True)
            best[i] = merge(best[i], (Hit(row, float(score)) for row, score in found), k)
    return best


def check_query(queries: FloatArray, k: int, dim: int) -> FloatArray:
    """Return the queries as a finite (m, dim) array.

    Raises:
        InputError: Another width, NaN, or a k below 1.
    """
    if k < 1:
        raise InputError(f"`k` must be at least 1; got {k}.")
    matrix = as_matrix(queries, "queries")
    if matrix.shape[1] != dim:
        raise InputError(
            f"`queries` must have {dim} features, as the index has; got {matrix.shape[1]}."
        )
    return matrix


def check_batch(rows: Sequence[Row], vectors: FloatArray, dim: int) -> FloatArray:
    """Return the vectors of a batch as (n, dim) float32.

    Raises:
        InputError: Other counts or widths, NaN, or a key that appears twice.
    """
    matrix = as_matrix(vectors, "vectors")
    if matrix.shape != (len(rows), dim):
        raise InputError(
            f"`vectors` must have shape ({len(rows)}, {dim}), one for each row of this index; "
            f"got {matrix.shape}."
        )
    check_keys([row.key for row in rows])
    return matrix.astype(np.float32, copy=False)


def check_keys(keys: Sequence[str]) -> None:
    """Check that no key appears twice in one batch.

    Raises:
        InputError: One does; it is named.
    """
    if len(set(keys)) < len(keys):
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise InputError(f"The keys of one batch must differ; got {twice!r} twice.")

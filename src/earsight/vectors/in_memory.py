"""Rows of a table held in memory, for a reader that asks many times."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, unit_rows
from earsight.similarity import GRID, pair_distances, rounding
from earsight.vectors._base import (
    FILTERED,
    Hit,
    Row,
    VectorTable,
    Where,
    check_query,
    conditions,
    merge,
    reaching,
)

Places = npt.NDArray[np.intp]
_SHORT = 64  # dimensions
_BLOCK = 8192  # rows taken to double precision at a time
_NOWHERE = np.zeros(0, dtype=np.intp)

MAX_BYTES_IN_MEMORY = 1 << 28
"""A table whose vectors take more than this in float32 (130,000 rows of 512) is not held."""


class InMemoryIndex:
    """What a table answers, bit for bit, without reading it again.

    Args:
        rows: n rows.
        vectors: (n, dim).

    >>> rows = [Row(key, "content", "audio", 0, 0.0, 1.0) for key in ("a", "b")]
    >>> held = InMemoryIndex(rows, np.eye(2))
    >>> [hit.row.key for hit in held.search(np.array([[0.1, 0.9]]), 1)[0]]
    ['b']
    """

    def __init__(self, rows: Sequence[Row], vectors: FloatArray) -> None:
        self._rows = list(rows)
        x = np.asarray(vectors, dtype=np.float32)
        _, exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True, initial=0))
        # A power of two brings each row near 1. Short rows lie by columns, which multiply faster.
        x = np.ldexp(x, -exponent)
        self._vectors = np.asfortranarray(x) if x.shape[1] < _SHORT else x  # (n, dim)
        lengths = np.empty(len(x))
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            lengths[part] = np.linalg.norm(self._vectors[part].astype(np.float64), axis=1)
        inverse = np.divide(1.0, lengths, out=np.zeros(len(x)), where=lengths > 0)
        self._inverse = inverse.astype(np.float32)  # (n,)
        self._columns: dict[str, dict[object, Places]] = {}

    @classmethod
    def of(cls, table: VectorTable, where: Where | None = None) -> "InMemoryIndex | None":
        """Read the rows of a table that pass the filter; None where they are too many to hold."""
        most = MAX_BYTES_IN_MEMORY // (4 * table.dim)
        if table.count(where) > most:
            return None
        rows: list[Row] = []
        vectors = [np.zeros((0, table.dim), dtype=np.float32)]
        for part, x in table.read(where):
            rows += part
            vectors.append(x)
            if len(rows) > most:  # more than the table said
                return None
        return cls(rows, np.concatenate(vectors))

    def search(self, queries: FloatArray, k: int, where: Where | None = None) -> list[list[Hit]]:
        """Return the k nearest rows for each query, best first; fewer where fewer are there.

        Args:
            queries: (m, dim).
            k: How many rows, at least 1.
            where: Columns and the values wanted, such as `{"modality": "audio"}`.

        Raises:
            InputError: Another width, NaN, a k below 1, or a filter that names no column.
        """
        matrix = check_query(queries, k, self._vectors.shape[1])
        places = self._places(where)
        units = unit_rows(matrix.astype(np.float64))
        return [self._nearest(unit, k, places) for unit in units]

    def _nearest(self, unit: FloatArray, k: int, places: Places | None) -> list[Hit]:
        similar = self._vectors @ unit.astype(np.float32)  # (n,)
        similar *= self._inverse
        if places is not None:
            similar = similar[places]
        near = reaching(similar, k, -np.inf, 2 * rounding(len(unit)))
        rows = near if places is None else places[near]
        scores = pair_distances(np.broadcast_to(unit, (len(rows), len(unit))), self._units(rows))
        kept = reaching(scores / -GRID + 0.0, k, -np.inf)
        hits = (Hit(self._rows[rows[i]], float(scores[i] / -GRID + 0.0)) for i in kept)
        return merge([], hits, k)

    def _units(self, rows: Places) -> FloatArray:
        return unit_rows(np.asarray(self._vectors[rows], dtype=np.float64, order="C"))

    def count(self, where: Where | None = None) -> int:
        """Return the number of rows that pass the filter."""
        places = self._places(where)
        return len(self._rows) if places is None else len(places)

    def read(self, where: Where | None = None) -> tuple[list[Row], FloatArray]:
        """Return the rows that pass the filter, and their vectors at unit length (n, dim)."""
        places = self._places(where)
        if places is None:
            places = np.arange(len(self._rows))
        return [self._rows[i] for i in places], self._units(places)

    def _places(self, where: Where | None) -> Places | None:
        """Return where the rows that pass stand; None if all do."""
        passing = None
        for column, values in conditions(where, FILTERED):
            by_value = self._by_value(column)
            if by_value.keys() <= set(values):
                continue
            here = np.zeros(len(self._rows), dtype=bool)
            for value in values:
                here[by_value.get(value, _NOWHERE)] = True
            passing = here if passing is None else passing & here
        return None if passing is None else np.flatnonzero(passing)

    def _by_value(self, column: str) -> dict[object, Places]:
        """Return where each value of a column stands; made when it is first asked for."""
        if column not in self._columns:
            found: dict[object, list[int]] = {}
            for place, row in enumerate(self._rows):
                found.setdefault(getattr(row, column), []).append(place)
            self._columns[column] = {value: np.array(at) for value, at in found.items()}
        return self._columns[column]

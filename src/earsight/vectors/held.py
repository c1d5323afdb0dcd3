"""Rows of a table held in memory, for a reader that asks many times."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, unit_rows
from earsight.retrieval import GRID, distance_blocks
from earsight.vectors._base import Hit, Row, VectorTable, Where, check_query, merge, reaching

Places = npt.NDArray[np.intp]
_NOWHERE = np.zeros(0, dtype=np.intp)

MAX_BYTES = 1 << 28
"""A table whose vectors take more than this in float64 (65,000 rows of 512) is not held."""


class HeldIndex:
    """What a table answers, bit for bit, without reading it again.

    Args:
        rows: n rows.
        vectors: (n, dim).

    >>> rows = [Row(key, "content", "audio", 0, 0.0, 1.0) for key in ("a", "b")]
    >>> held = HeldIndex(rows, np.eye(2))
    >>> [hit.row.key for hit in held.search(np.array([[0.1, 0.9]]), 1)[0]]
    ['b']
    """

    def __init__(self, rows: Sequence[Row], vectors: FloatArray) -> None:
        self._rows = list(rows)
        self._units = unit_rows(np.asarray(vectors, dtype=np.float64))  # (n, dim)
        self._columns: dict[str, dict[object, Places]] = {}

    @classmethod
    def of(cls, table: VectorTable, where: Where | None = None) -> "HeldIndex | None":
        """Read the rows of a table that pass the filter; None where they are too many to hold."""
        if table.count(where) * table.dim * 8 > MAX_BYTES:
            return None
        parts = list(table.read(where))
        rows = [row for part, _ in parts for row in part]
        vectors = [x for _, x in parts]
        return cls(rows, np.concatenate(vectors) if vectors else np.zeros((0, table.dim)))

    def search(self, queries: FloatArray, k: int, where: Where | None = None) -> list[list[Hit]]:
        """Return the k nearest rows for each query, best first; fewer where fewer are there.

        Args:
            queries: (m, dim).
            k: How many rows, at least 1.
            where: Columns and the values wanted, such as `{"modality": "audio"}`.

        Raises:
            InputError: Another width, NaN, or a k below 1.
        """
        matrix = check_query(queries, k, self._units.shape[1])
        places = self._places(where)
        if not len(places):
            return [[] for _ in matrix]
        found: list[list[Hit]] = []
        units = unit_rows(matrix.astype(np.float64))
        for _, distances in distance_blocks(units, self._units):
            for line in distances[:, places] / -GRID + 0.0:  # (rows that pass,)
                kept = reaching(line, k, -np.inf)
                hits = (Hit(self._rows[places[i]], float(line[i])) for i in kept)
                found.append(merge([], hits, k))
        return found

    def count(self, where: Where | None = None) -> int:
        """Return the number of rows that pass the filter."""
        return len(self._places(where))

    def read(self, where: Where | None = None) -> tuple[list[Row], FloatArray]:
        """Return the rows that pass the filter, and their vectors at unit length (n, dim)."""
        places = self._places(where)
        return [self._rows[i] for i in places], self._units[places]

    def _places(self, where: Where | None) -> Places:
        passing = np.ones(len(self._rows), dtype=bool)
        for column, wanted in (where or {}).items():
            several = isinstance(wanted, Collection) and not isinstance(wanted, str)
            here = np.zeros(len(self._rows), dtype=bool)
            by_value = self._by_value(column)
            for value in wanted if several else (wanted,):  # type: ignore[union-attr]
                here[by_value.get(value, _NOWHERE)] = True
            passing &= here
        return np.flatnonzero(passing)

    def _by_value(self, column: str) -> dict[object, Places]:
        """Return where each value of a column stands; made when it is first asked for."""
        if column not in self._columns:
            found: dict[object, list[int]] = {}
            for place, row in enumerate(self._rows):
                found.setdefault(getattr(row, column), []).append(place)
            self._columns[column] = {value: np.array(at) for value, at in found.items()}
        return self._columns[column]

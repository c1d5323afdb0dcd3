"""The embedded index: vectors in a LanceDB table. A write is one commit, so write in batches."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.storage import Location
from earsight.untrusted import check_memory
from earsight.vectors._base import (
    EXACT_ROWS,
    FILTERED,
    Hit,
    Row,
    Where,
    check_batch,
    check_query,
    checked_row,
    cosines,
    merge,
    rank_all,
)
from earsight.vectors._probes import SAMPLE, enough, scaled
from earsight.vectors._table import Table, sql

_ROW = "row"  # the column that holds a whole row
_PROBES = "earsight:probes"  # into how many parts of the index a question looks
_ROW_TEXT = 1 << 18  # bytes of one row
_ROW_BYTES = 500  # of memory that a row takes
_BLOCK = 8192  # vectors compared at a time: 64 MiB of float64 at 1024 dimensions
_INDEX_BYTES = 2 << 30  # of the index of a large table, held between searches, at most, …
_SHARE = 8  # … and at most an eighth of the memory
_OVERSAMPLING = 2  # how many times k an approximate search hands over to exact scoring


class LanceIndex(Table):
    """A `VectorIndex` in a folder.

    A row lies there twice: its columns, by which it is found, and all of it as one JSON text, as
    each column that is fetched for a few hits costs LanceDB a search of its own.

    Args:
        folder: Where the tables are; made when the table is created.
        name: The table's name: letters, digits, `_`, `-` and `.`.

    Raises:
        LibraryError: From every method: the table is missing or damaged, the disk is full, the
            folder cannot be written.
    """

    def __init__(self, folder: Location, name: str) -> None:
        super().__init__(folder, name)
        self._kept: Any = None

    def drop(self) -> None:
        """Remove the table with all its rows; nothing happens where there is none."""
        self._kept = None
        super().drop()

    def create(self, dim: int) -> None:
        """Make the table, or check that the one that stands has this width.

        Raises:
            InputError: It has another width.
        """
        if dim < 1:
            raise InputError(f"`dim` must be at least 1; got {dim}.")
        self._make(_schema(dim))
        if self.dim != dim:
            raise InputError(
                f"Table {self.name!r} holds vectors of width {self.dim}; got {dim}. "
                "Use another name, or drop it first."
            )

    def _columns(self, found: Any) -> Any:
        width = getattr(found.field("vector").type, "list_size", 0)
        check_memory(f"A search in table {self.name!r}", 8 * _BLOCK * width)
        return _schema(width)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        with self._guard("read"):
            return int(self._open().schema.field("vector").type.list_size)

    def upsert(self, rows: Sequence[Row], vectors: FloatArray) -> None:
        """Write one batch: all of it is there when this returns, or none.

        Args:
            rows: n rows whose keys differ.
            vectors: (n, dim), kept as float32.

        Raises:
            InputError: Other counts or widths, NaN, or a key that appears twice.
        """
        import pyarrow as pa

        if len(rows) == len(vectors) == 0:
            return
        width = self.dim
        flat = pa.array(np.ascontiguousarray(check_batch(rows, vectors, width)).ravel())
        columns = [[getattr(row, name) for row in rows] for name in FILTERED]
        packed = [json.dumps(astuple(row)) for row in rows]
        arrays = [*columns, packed, pa.FixedSizeListArray.from_arrays(flat, width)]
        self._write(pa.table(arrays, schema=self._schema()))

    def search(self, queries: FloatArray, k: int, where: Where | None = None) -> list[list[Hit]]:
        """Return the k nearest rows for each query, best first; fewer where fewer are there.

        Exact up to `EXACT_ROWS` rows (that pass the filter); above, LanceDB's index finds the
        candidates and their order is exact.

        Args:
            queries: (m, dim).
            k: How many rows, at least 1.
            where: Columns and the values wanted, such as `{"modality": "audio"}`.

        Raises:
            InputError: Another width, NaN, or a k below 1.
        """
        with self._guard("read"):
            table = self._searched()
            schema = table.schema
            matrix = check_query(queries, k, schema.field("vector").type.list_size)
            condition = sql(where, FILTERED)
            n = table.count_rows(condition)
            # LanceDB answers a query of zeros with nothing at all.
            if n > EXACT_ROWS and matrix.any(axis=1).all():
                parts = _parts(table, k, where or {}, n)
                found = [_search_index(table, query, k, condition, parts=parts) for query in matrix]
                if all(len(hits) == min(k, n) for hits in found):  # or too few rows there pass
                    return found
        return self._search_all(matrix, k, where)

    def read(self, where: Where | None = None) -> Iterator[tuple[list[Row], FloatArray]]:
        """Yield all rows with their vectors, (n, dim) float32, in batches, in no fixed order."""
        for batch in self._scan(where, _BLOCK, [_ROW, "vector"]):
            with self._guard("read"):
                found = _rows(batch), _vectors(batch)
            yield found

    def rows(self, where: Where | None = None) -> list[Row]:
        """Return all rows without their vectors, sorted by key."""
        check_memory(f"Table {self.name!r}", _ROW_BYTES * self.count(where))
        with self._guard("read"):
            batches = self._scan(where, _BLOCK, [_ROW])
            return sorted((row for b in batches for row in _rows(b)), key=lambda row: row.key)

    def optimize(self, keep: timedelta = timedelta(minutes=10)) -> None:
        """Merge small files, remove versions older than `keep`, and index a large table."""
        super().optimize(keep)
        with self._guard("write"):
            table = self._open()
            if table.count_rows() <= EXACT_ROWS:
                return
            from lancedb.index import Bitmap, IvfFlat

            kinds = {"vector": IvfFlat(distance_type="cosine"), "modality": Bitmap()}
            there = {column for index in table.list_indices() for column in index.columns}
            for column in sorted(kinds.keys() - there):
                table.create_index(column, config=kinds[column])
            if not probes(table.schema):
                self._keep_probes(table)

    def _keep_probes(self, table: Any) -> None:
        """Find out how many parts of the index are enough, and write it into the table."""
        n = table.count_rows()
        places = np.random.default_rng(0).choice(n, min(SAMPLE, n), replace=False)
        taken = table.take_offsets(sorted(places.tolist())).select([_ROW, "vector"]).to_arrow()
        (sample,) = taken.combine_chunks().to_batches()
        among = {}
        for modality in sorted({row.modality for row in _rows(sample)}):
            where = {"modality": modality}
            found = self._scan(where, _BLOCK, ["vector"])
            among[str(sql(where, FILTERED))] = map(_vectors, found)
        parts = enough(table, _vectors(sample), among)
        table.update_field_metadata({"path": "vector", "metadata": {_PROBES: str(parts)}})

    def _searched(self) -> Any:
        """Return the table in its newest state, kept open: its index is read once."""
        if self._kept is None or not self._database.check(self.name):
            self._kept = self._open(_index_bytes())
        else:
            self._kept.checkout_latest()
        return self._kept

    def _search_all(self, queries: FloatArray, k: int, where: Where | None) -> list[list[Hit]]:
        batches = self._scan(where, _BLOCK, [_ROW, "vector"])
        blocks = ((partial(_taken, batch), _vectors(batch)) for batch in batches)
        with self._guard("read"):
            return rank_all(queries, k, blocks)


def _schema(dim: int) -> Any:
    import pyarrow as pa

    kinds = {name: pa.string() for name in (*FILTERED, _ROW)}
    kinds |= {"window": pa.int32(), "vector": pa.list_(pa.float32(), dim)}
    return pa.schema([pa.field(name, kind, False) for name, kind in kinds.items()])


def _index_bytes() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_INDEX_BYTES, memory // _SHARE)


def probes(schema: Any) -> int:
    """Return into how many parts of its index a question to a table looks; 0: not known.

    Raises:
        ValueError: The table states another thing than a number of parts.
    """
    stated = (schema.field("vector").metadata or {}).get(_PROBES.encode(), b"0")
    if not re.fullmatch(rb"\d{1,7}", stated):
        raise ValueError(f"{_PROBES} is {stated!r:.80}")
    return int(stated)


def _parts(table: Any, k: int, where: Where, passing: int) -> int:
    """Return into how many parts a question for the k nearest looks, of so many rows that pass."""
    measured = {name: value for name, value in where.items() if name == "modality"}
    n = passing if measured == where else table.count_rows(sql(measured, FILTERED))
    return scaled(probes(table.schema), k, passing, n)


def _search_index(
    table: Any, query: FloatArray, k: int, condition: str | None, *, parts: int
) -> list[Hit]:
    nearest = table.search(query.astype(np.float32)).distance_type("cosine")
    nearest = nearest.select([_ROW, "vector", "_distance"])  # it warns where _distance is not named
    if condition:
        nearest = nearest.where(condition)
    if parts:
        nearest = nearest.nprobes(parts)
    hits: list[Hit] = []
    for batch in nearest.limit(_OVERSAMPLING * k).to_batches():
        scores = cosines(query[None, :], _vectors(batch))[0]
        found = zip(_rows(batch), scores, strict=True)
        hits = merge(hits, (Hit(row, float(score)) for row, score in found), k)
    return hits


def _vectors(batch: Any) -> FloatArray:
    column = batch.column("vector")
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise ValueError("a vector is missing")
    matrix = np.asarray(flat.to_numpy(zero_copy_only=False).reshape(len(column), -1))
    if not np.isfinite(matrix).all():
        raise ValueError("a vector is not finite")
    return matrix


def _taken(batch: Any, places: Any) -> list[Row]:
    return _rows(batch.take(places))


def _rows(batch: Any) -> list[Row]:
    return [_row(packed) for packed in batch.column(_ROW).to_pylist()]


def _row(packed: str | None) -> Row:
    if packed is None or len(packed) > _ROW_TEXT:
        raise ValueError(
            "a row is missing" if packed is None else f"a row of {len(packed):,} bytes"
        )
    try:
        values = json.loads(packed)
    except RecursionError:
        raise ValueError("a row is nested") from None
    if not isinstance(values, list):
        raise ValueError(f"a row is {packed:.80}")
    row = checked_row(values)
    if "\\u" in packed:
        packed.encode()
        json.dumps(values, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return row

"""An index on a Milvus server, spoken to by its own client (the extra `[milvus]`).

A table is one collection. The server finds candidates by its own float32 scores; what is ranked
are float64 cosines of the vectors that it sends, as everywhere.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

import numpy as np

from earsight.arrays import FloatArray, unit_rows
from earsight.errors import EarsightError, InputError, LibraryError
from earsight.untrusted import check_memory
from earsight.vectors._answers import (
    COLUMNS,
    count_of,
    filtering,
    row_of,
    vectors_of,
    width_of,
)
from earsight.vectors._base import (
    EXACT_ROWS,
    REBUILD,
    Hit,
    Row,
    Where,
    check_batch,
    check_query,
    cosines,
    merge,
    rank_all,
)
from earsight.vectors._server import Server

_TIMEOUT = 30.0  # seconds, tries included, until a server that is lost is told
_LOADING = 600.0  # seconds; a large collection is read from disk first
_MESSAGE = 16 << 20  # bytes of vectors sent or asked for at a time; servers refuse above 64 MiB
_MOST = 16_384  # rows that Milvus gives at a time
_OVERSAMPLING = 8  # how many times k the server hands over to exact scoring
_FEWEST = 64  # and at least this many
_AT_A_TIME = 1000  # contents in one filter
_EXACT, _FAST = "FLAT", "AUTOINDEX"
_NOT_LOADED = 101  # Milvus' code
_TEXT = 65_535  # bytes; the longest that Milvus takes


class MilvusIndex:
    """A `VectorIndex` on a server.

    Up to `EXACT_ROWS` rows the server compares every row (its index FLAT). Its scores are float32,
    so more rows are taken than asked for, until what was left out can be told to score lower; where
    equal scores make that impossible, all rows are compared here. Above, `optimize` lets the
    server make the index that its owner chose (AUTOINDEX), which approximates.

    Args:
        address: `milvus://host:port`.
        name: The collection's name: letters, digits and `_`.

    Raises:
        InputError: No such address or name.
        LibraryError: From every method: the server or the collection is not there, or the server
            refuses.
    """

    def __init__(self, address: str, name: str) -> None:
        if not re.fullmatch(r"[A-Za-z_]\w{0,254}", name, re.ASCII):
            raise InputError(f"A collection's name has letters, digits and _ alone; got {name!r}.")
        self.server, self.name = Server.parse(address), name
        self._width: int | None = None

    # -- the table ---------------------------------------------------------------------------------

    def create(self, dim: int) -> None:
        """Make the collection, or check that the one that stands has this width.

        Raises:
            InputError: It has another width.
        """
        if dim < 1:
            raise InputError(f"`dim` must be at least 1; got {dim}.")
        if not self.exists:
            self._ask("create", "create_collection", schema=self._schema(dim), consistency_level=0)
        self._width = None
        if not self._ask("create", "list_indexes"):  # none: just made, or a kill came between
            self._index(_EXACT)
        if self.dim != dim:
            raise InputError(
                f"Collection {self.name!r} holds vectors of width {self.dim}; got {dim}. "
                "Use another name, or drop it first."
            )

    @property
    def exists(self) -> bool:
        """Whether the collection is there."""
        return bool(self._ask("find", "has_collection"))

    def drop(self) -> None:
        """Remove the collection with all its rows; nothing happens where there is none."""
        self._width = None
        if self.exists:
            self._ask("drop", "drop_collection")

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        if self._width is None:
            found = self._ask("read", "describe_collection")
            with self._believing():
                dim = width_of(found["fields"])
                check_memory(f"A search in collection {self.name!r}", 8 * _FEWEST * dim)
            self._ask("load", "load_collection", timeout=_LOADING)
            self._width = dim
        return self._width

    def optimize(self) -> None:
        """Let the server make its own index over a large collection, and wait for it."""
        if self.count() > EXACT_ROWS and self._is_exact:
            self._ask("index", "release_collection")
            self._ask("index", "drop_index", index_name="vector")
            self._index(_FAST)

    # -- rows --------------------------------------------------------------------------------------

    def upsert(self, rows: Sequence[Row], vectors: FloatArray) -> None:
        """Write one batch: all of it is there when this returns.

        What is more than one message goes in several, each of them whole or not there.

        Args:
            rows: n rows whose keys differ.
            vectors: (n, dim), kept as float32.

        Raises:
            InputError: Other counts or widths, NaN, a key that appears twice, or one with a quote,
                a backslash or a line's end.
        """
        if len(rows) == len(vectors) == 0:
            return
        matrix = check_batch(rows, vectors, self.dim)
        for row in rows:  # the client writes keys into filters as they are
            if re.search(r'["\\\n\r]', row.key):
                raise InputError(f"A key must hold no quote, \\ or line's end; got {row.key!r}.")
        step = max(1, _MESSAGE // (4 * self.dim))
        for start in range(0, len(rows), step):
            part = zip(rows[start : start + step], matrix[start : start + step], strict=True)
            data = [asdict(row) | {"vector": vector} for row, vector in part]
            self._ask("write", "upsert", data=data)

    def delete(self, contents: Iterable[str]) -> int:
        """Remove every row of these contents; return how many rows went."""
        wanted, gone = sorted(set(contents)), 0
        for start in range(0, len(wanted), _AT_A_TIME):
            some: Where = {"content": wanted[start : start + _AT_A_TIME]}
            count = self.count(some)  # a server may delete without saying how many
            if count:
                self._ask("write", "delete", filter=filtering(some))
                gone += count
        return gone

    def count(self, where: Where | None = None) -> int:
        """Return the number of rows."""
        expression = filtering(where)
        if expression is None:
            return 0
        found = self._query("query", filter=expression, output_fields=["count(*)"])
        with self._believing():
            (record,) = found
            return count_of(record["count(*)"])

    def read(self, where: Where | None = None) -> Iterator[tuple[list[Row], FloatArray]]:
        """Yield all rows with their vectors, (n, dim) float32, in batches, in no fixed order."""
        for records in self._pages(where, [*COLUMNS, "vector"], self._page):
            with self._believing():
                found = [row_of(record) for record in records], vectors_of(records, self.dim)
            yield found

    def rows(self, where: Where | None = None) -> list[Row]:
        """Return all rows without their vectors, sorted by key."""
        pages = self._pages(where, list(COLUMNS), _MOST)
        with self._believing():
            return sorted((row_of(record) for p in pages for record in p), key=lambda row: row.key)

    # -- search ------------------------------------------------------------------------------------

    def search(self, queries: FloatArray, k: int, where: Where | None = None) -> list[list[Hit]]:
        """Return the k nearest rows for each query, best first; fewer where fewer are there.

        Args:
            queries: (m, dim).
            k: How many rows, at least 1. Above 2,048 or so all rows come here to be compared.
            where: Columns and the values wanted, such as `{"modality": "audio"}`.

        Raises:
            InputError: Another width, NaN, or a k below 1.
        """
        matrix = check_query(queries, k, self.dim).astype(np.float64)
        expression = filtering(where)
        if expression is None:
            return [[] for _ in matrix]
        found = [self._found(query, k, where, expression) for query in matrix]
        missing = [i for i, hits in enumerate(found) if hits is None]
        if missing:
            blocks = ((partial(_taken, rows), vectors) for rows, vectors in self.read(where))
            for i, hits in zip(missing, rank_all(matrix[missing], k, blocks), strict=True):
                found[i] = hits
        return [hits for hits in found if hits is not None]

    def _found(
        self, query: FloatArray, k: int, where: Where | None, expression: str
    ) -> list[Hit] | None:
        """Return the k best rows; None where only a look at all of them can tell."""
        limit = max(_FEWEST, _OVERSAMPLING * k)
        while limit <= self._page and query.any():
            hits, lowest = self._candidates(query, limit, expression)
            best = merge([], hits, k)
            if not self._is_exact:
                return best
            if len(hits) < limit and len(hits) == self.count(where):
                return best
            if len(hits) == limit and best[-1].score > lowest + self._doubt:
                return best
            limit *= 4
        return None

    def _candidates(
        self, query: FloatArray, limit: int, expression: str
    ) -> tuple[list[Hit], float]:
        """Return what the server finds, scored here, and the lowest of its own scores."""
        unit = unit_rows(query[None, :])[0].astype(np.float32)
        answer = self._query(
            "search",
            data=[unit],
            anns_field="vector",
            limit=limit,
            filter=expression,
            output_fields=[*COLUMNS, "vector"],
            search_params={"metric_type": "COSINE"},
        )
        with self._believing():
            (found,) = answer
            if not found:
                return [], -1.0
            records = [hit["entity"] for hit in found]
            scores = cosines(query[None, :], vectors_of(records, self.dim))[0]
            hits = [Hit(row_of(r), float(s)) for r, s in zip(records, scores, strict=True)]
            return hits, min(float(hit["distance"]) for hit in found)

    @property
    def _doubt(self) -> float:
        """By how much a cosine in float32 may be off at most, rounding of ours included."""
        return 2 * (self.dim + 16) * 2.0**-24 + 2.0**-20

    @property
    def _page(self) -> int:
        """How many rows fit into one message."""
        return max(1, min(_MOST, _MESSAGE // (4 * self.dim)))

    @cached_property
    def _is_exact(self) -> bool:
        kind = self._ask("read", "describe_index", index_name="vector")
        return isinstance(kind, dict) and kind.get("index_type") == _EXACT

    # -- the server --------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> Any:
        return self.server.connect()

    def _ask(self, action: str, method: str, **how: Any) -> Any:
        ask = getattr(self._client, method)
        question = partial(ask, self.name, **{"timeout": _TIMEOUT, **how})
        return self.server.ask(action, self.name, question)

    def _query(self, method: str, **how: Any) -> Any:
        """Ask for rows as they are now, of a collection that is loaded."""
        client, how = self._client, how | {"timeout": _TIMEOUT, "consistency_level": "Strong"}

        def question() -> Any:
            try:
                return getattr(client, method)(self.name, **how)
            except Exception as error:
                if getattr(error, "code", None) != _NOT_LOADED:
                    raise
            client.load_collection(self.name, timeout=_LOADING)  # the server was started anew
            return getattr(client, method)(self.name, **how)

        return self.server.ask("read", self.name, question)

    @contextmanager
    def _believing(self) -> Iterator[None]:
        """Word what comes of an answer that no collection of Earsight's gives."""
        try:
            yield
        except EarsightError:
            raise
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise LibraryError(
                f"Collection {self.name!r} on {self.server} is none of Earsight's, or the server "
                f"answers with something else ({error}). {REBUILD}"
            ) from error

    def _pages(
        self, where: Where | None, columns: list[str], size: int
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield rows by key, a page at a time, all as they were at the beginning."""
        expression = filtering(where)
        if expression is None:
            return
        pages = self._query(
            "query_iterator", filter=expression, output_fields=columns, batch_size=size
        )
        try:
            while records := self.server.ask("read", self.name, pages.next):
                yield records
        finally:
            pages.close()

    def _schema(self, dim: int) -> Any:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        kinds = {"window": DataType.INT64, "start": DataType.DOUBLE, "end": DataType.DOUBLE}
        for name in COLUMNS:
            kind = kinds.get(name, DataType.VARCHAR)
            more = {"max_length": _TEXT} if kind == DataType.VARCHAR else {}
            schema.add_field(name, kind, is_primary=name == "key", **more)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        return schema

    def _index(self, kind: str) -> None:
        """Give the vectors an index of this kind, and wait until it is there."""
        chosen = self._client.prepare_index_params()
        chosen.add_index("vector", index_type=kind, index_name="vector", metric_type="COSINE")
        self._ask("index", "create_index", index_params=chosen, timeout=None)
        self._ask("load", "load_collection", timeout=None)
        self.__dict__.pop("_is_exact", None)


def _taken(rows: Sequence[Row], places: Iterable[int]) -> list[Row]:
    return [rows[place] for place in places]

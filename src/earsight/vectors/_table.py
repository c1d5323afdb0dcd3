"""One LanceDB table, in a folder or on S3: opening, writing by key, filters, errors in our words.

Every call opens the newest version of its table and works on that version to its end, so a reader
never sees half a write, and kill −9 leaves what was acknowledged.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from earsight.errors import EarsightError, LibraryError
from earsight.storage import Location
from earsight.vectors._base import Where, conditions
from earsight.vectors._database import database_at


def table_names(folder: Location) -> list[str]:
    """Return the names of the tables in a folder, sorted; none where there is no folder."""
    with Table(folder, "*")._guard("list"):
        return database_at(folder).names()


class Table:
    """What the index and the sequences share: rows with a `key` and a `content`."""

    def __init__(self, folder: Location, name: str) -> None:
        self.folder, self.name = folder, name
        self._database = database_at(folder)

    @property
    def exists(self) -> bool:
        """Whether the table has a version; one that was killed while being created has none."""
        with self._guard("open"):
            return self._database.has(self.name)

    def drop(self) -> None:
        """Remove the table with all its rows, readable or not; nothing happens where is none."""
        with self._guard("drop"):
            self._database.drop(self.name)

    def count(self, where: Where | None = None) -> int:
        """Return the number of rows."""
        with self._guard("read"):
            table = self._open()
            return int(table.count_rows(sql(where, table.schema.names)))

    def delete(self, contents: Iterable[str]) -> int:
        """Remove every row of these contents; return how many rows went."""
        wanted = sorted(set(contents))
        if not wanted:
            return 0
        with self._guard("write"):
            table = self._open()
            condition = sql({"content": wanted}, table.schema.names)
            return int(table.delete(condition).num_deleted_rows)

    def optimize(self, keep: timedelta = timedelta(minutes=10)) -> None:
        """Merge small files and remove versions older than `keep`, which no reader should need."""
        with self._guard("write"):
            self._database.optimize(self._open(), keep)

    def _open(self, held: int = 0) -> Any:
        table = self._database.open(self.name, held)
        if table is None:
            raise LibraryError(f"There is no table {self.name!r} in {self.folder}; index first.")
        check_schema(table.schema, self._columns(table.schema))
        return table

    def _columns(self, found: Any) -> Any:
        """Return the schema that the table must have, or None for any with a key.

        Args:
            found: What it has, for what may differ between tables.
        """
        return None

    def _make(self, schema: Any) -> None:
        """Make the table where there is none."""
        if self.exists:
            return
        with self._guard("create"):
            self._database.create(self.name, schema)

    def _schema(self) -> Any:
        with self._guard("read"):
            return self._open().schema

    def _write(self, batch: Any) -> None:
        """Write rows by key in one commit."""
        with self._guard("write"):
            merging = self._open().merge_insert("key")
            merging.when_matched_update_all().when_not_matched_insert_all().execute(batch)

    def _scan(self, where: Where | None, block: int, columns: list[str] | None = None) -> Any:
        """Yield record batches of one version of the table."""
        with self._guard("read"):
            table = self._open()
            query = table.search()
            if where:
                query = query.where(sql(where, table.schema.names))
            if columns:
                query = query.select(columns)
            yield from query.to_batches(batch_size=block)

    @contextmanager
    def _guard(self, action: str) -> Iterator[None]:
        """Word LanceDB's errors as ours: which table, what failed, what to do."""
        try:
            yield
        except (EarsightError, MemoryError):
            raise
        except Exception as error:  # on damaged files any kind comes, a panic of its own too
            why = self._database.why(error)
            raise LibraryError(
                f"Cannot {action} table {self.name!r} in {self.folder}: {why}"
            ) from error


def check_schema(found: Any, expected: Any) -> None:
    """Check what columns a table has.

    Args:
        found: LanceDB's.
        expected: What it must be; None: any with a column `key`.

    Raises:
        ValueError: It is another one, or names code that is to make vectors.
    """
    if "key" not in found.names:  # a version overwritten with zeros reads as no columns
        raise ValueError("no column `key`")
    if b"embedding_functions" in (found.metadata or {}):
        raise ValueError("it names code that is to make vectors")
    if expected is not None and not found.equals(expected):
        columns = ", ".join(f"{one.name} {one.type}" for one in found)
        raise ValueError(f"other columns than Earsight's: {columns:.200}")


def sql(where: Where | None, columns: Sequence[str]) -> str | None:
    """Write a filter as SQL, every value quoted; a column wanted to be one of none matches nothing.

    >>> sql({"modality": "audio", "content": ["a", "o'b"]}, ["modality", "content"])
    "modality IN ('audio') AND content IN ('a', 'o''b')"
    >>> sql({"window": []}, ["window"])
    'false'

    Raises:
        InputError: An unknown column, or a value that is neither a string nor a whole number.
    """
    parts = []
    for column, values in conditions(where, columns):
        listed = ", ".join(map(_literal, values))
        parts.append(f"{column} IN ({listed})" if listed else "false")
    return " AND ".join(parts) or None


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

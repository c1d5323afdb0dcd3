"""One LanceDB table in a folder: opening, writing by key, filters, and errors in Earsight's words.

Every call opens the newest version of its table and works on that version to its end, so a reader
never sees half a write, and kill −9 leaves what was acknowledged.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from earsight.errors import EarsightError, InputError, LibraryError
from earsight.vectors._base import Where


def table_names(folder: Path) -> list[str]:
    """Return the names of the tables in a folder, sorted; none where there is no folder."""
    names = [path.stem for path in Path(folder).glob("*.lance")]
    return sorted(name for name in names if Table(folder, name).exists)


class Table:
    """What the index and the sequences share: rows with a `key` and a `content`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = Path(folder), name

    @property
    def exists(self) -> bool:
        """Whether the table has a version; one that was killed while being created has none."""
        return any((self.folder / f"{self.name}.lance" / "_versions").glob("*.manifest"))

    def drop(self) -> None:
        """Remove the table with all its rows; nothing happens where there is none."""
        if self.exists:
            with self._guard("drop"):
                self._connect().drop_table(self.name)

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
            gone = table.delete(sql({"content": wanted}, table.schema.names))
            return int(gone.num_deleted_rows)

    def optimize(self, keep: timedelta = timedelta(minutes=10)) -> None:
        """Merge small files and remove versions older than `keep`, which no reader should need."""
        with self._guard("write"):
            self._open().optimize(cleanup_older_than=keep)

    def _connect(self) -> Any:
        import lancedb

        return lancedb.connect(str(self.folder))

    def _open(self) -> Any:
        if not self.exists:
            raise LibraryError(f"There is no table {self.name!r} in {self.folder}; index first.")
        table = self._connect().open_table(self.name)
        if "key" not in table.schema.names:  # a version overwritten with zeros reads as no columns
            raise ValueError("no column `key`")
        return table

    def _make(self, schema: Any) -> None:
        """Make the table where there is none."""
        if not self.exists:
            with self._guard("create"):
                self._connect().create_table(self.name, schema=schema)

    def _schema(self) -> Any:
        with self._guard("read"):
            return self._open().schema

    def _write(self, batch: Any) -> None:
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
            raise LibraryError(
                f"Cannot {action} table {self.name!r} in {self.folder}: {_advice(str(error))}"
            ) from error


def _advice(cause: str) -> str:
    if "os error 28" in cause or "os error 122" in cause:  # ENOSPC, EDQUOT
        return "the disk is full. What was acknowledged is still there; make room and run again."
    if "os error 13" in cause or "os error 30" in cause:  # EACCES, EROFS
        return "the folder is read-only. Give yourself write access, or use another folder."
    anew = "To make it anew, index again with --rebuild."
    return f"it is damaged or was changed by hand ({cause}). {anew}"


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
    for column, wanted in (where or {}).items():
        if column not in columns:
            raise InputError(f"`where` must name columns ({', '.join(columns)}); got {column!r}.")
        values: Collection[object] = (wanted,)
        if isinstance(wanted, Collection) and not isinstance(wanted, str):
            values = wanted
        listed = ", ".join(_literal(value) for value in values)
        parts.append(f"{column} IN ({listed})" if listed else "false")
    return " AND ".join(parts) or None


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, str):
        raise InputError(f"`where` must hold strings or whole numbers; got {value!r}.")
    return "'" + value.replace("'", "''") + "'"

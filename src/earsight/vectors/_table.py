"""One LanceDB table, in a folder or on S3: opening, writing by key, filters, errors in our words.

Every call opens the newest version of its table and works on that version to its end, so a reader
never sees half a write, and kill −9 leaves what was acknowledged.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from earsight.errors import EarsightError, LibraryError
from earsight.storage import Place, Remote
from earsight.vectors._base import Where, conditions
from earsight.vectors._create_once import once
from earsight.vectors._database import LOG, connect, in_turn, is_conflict, is_missing, keyed
from earsight.vectors._received import check_table, has_table, remove_table, tables_in

_INDEXED_ROWS = 20_000  # from so many on, a write on S3 looks keys up instead of reading them all


def table_names(folder: Place) -> list[str]:
    """Return the names of the tables in a folder, sorted; none where there is no folder."""
    with Table(folder, "*")._guard("list"):
        if isinstance(folder, Remote):
            return sorted(connect(folder).list_tables().tables)
        return [name for name in tables_in(folder) if has_table(folder, name)]


class Table:
    """What the index and the sequences share: rows with a `key` and a `content`."""

    def __init__(self, folder: Place, name: str) -> None:
        self.folder = folder if isinstance(folder, Remote) else Path(folder)
        self.name = name

    @property
    def exists(self) -> bool:
        """Whether the table has a version; one that was killed while being created has none."""
        with self._guard("open"):
            if not isinstance(self.folder, Remote):
                return has_table(self.folder, self.name)
            try:
                connect(self.folder).open_table(self.name)
            except ValueError as error:
                if not is_missing(error):
                    raise
                return False
            return True

    def drop(self) -> None:
        """Remove the table with all its rows, readable or not; nothing happens where is none."""
        with self._guard("drop"):
            if not isinstance(self.folder, Remote):
                remove_table(self.folder, self.name)
            elif self.exists:
                connect(self.folder).drop_table(self.name)

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
            return int(in_turn(lambda: table.delete(condition)).num_deleted_rows)

    def optimize(self, keep: timedelta = timedelta(minutes=10)) -> None:
        """Merge small files and remove versions older than `keep`, which no reader should need."""
        with self._guard("write"):
            if isinstance(self.folder, Remote):
                self._optimize_shared(max(keep, timedelta(hours=1)))
            else:
                self._open().optimize(cleanup_older_than=keep)

    def _optimize_shared(self, keep: timedelta) -> None:
        """The same beside other writers; where they are faster, it is left to the next time."""
        from lancedb.index import BTree

        table = self._open()
        try:
            table.optimize(cleanup_older_than=keep)
            columns = [column for index in table.list_indices() for column in index.columns]
            if "key" not in columns and table.count_rows() >= _INDEXED_ROWS:
                table.create_index("key", config=BTree())
        except Exception as error:
            if not is_conflict(error):
                raise
            LOG.info("Table %s is tidied another time: others write to it.", self.name)

    def _open(self, held: int = 0) -> Any:
        missing = f"There is no table {self.name!r} in {self.folder}; index first."
        if not self._check():
            raise LibraryError(missing)
        try:
            table = connect(self.folder, held).open_table(self.name)
        except ValueError as error:
            if isinstance(self.folder, Remote) and is_missing(error):
                raise LibraryError(missing) from error
            raise
        check_schema(table.schema, self._columns(table.schema))
        return table

    def _check(self) -> bool:
        """Check what is new in a table of this machine, before LanceDB sees it.

        Returns:
            Whether the table has a version; elsewhere, that it may have.
        """
        return isinstance(self.folder, Remote) or check_table(self.folder, self.name)

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
            self._check()  # what a kill left may be there
            if not isinstance(self.folder, Remote):
                connect(self.folder).create_table(self.name, schema=schema)
                return
            once(
                self.folder / f"{self.name}.making",
                lambda: self.exists,
                lambda: connect(self.folder).create_table(self.name, schema=keyed(schema)),
            )

    def _schema(self) -> Any:
        with self._guard("read"):
            return self._open().schema

    def _write(self, batch: Any) -> None:
        with self._guard("write"):
            self._merge(batch)

    def _merge(self, batch: Any) -> int:
        """Write rows by key in one commit; return its number, which no other commit has."""
        merging = self._open().merge_insert("key")
        merging = merging.when_matched_update_all().when_not_matched_insert_all()
        return int(in_turn(lambda: merging.execute(batch)).version)

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
            if isinstance(self.folder, Remote):
                self.folder.check_bucket()  # tells what is wrong there, if anything is
                why = _advice_far(str(error))
            else:
                why = _advice(str(error))
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


def _advice(cause: str) -> str:
    if re.search(r"(os error|Errno) (28|122)\b", cause):  # ENOSPC, EDQUOT
        return "the disk is full. What was acknowledged is still there; make room and run again."
    if re.search(r"(os error|Errno) (1|13|30)\b", cause):  # EPERM, EACCES, EROFS
        return "the folder is read-only. Give yourself write access, or use another folder."
    anew = "To make it anew, index again with --rebuild."
    return f"it is damaged or was changed by hand ({cause}). {anew}"


def _advice_far(cause: str) -> str:
    if "AccessDenied" in cause or "status: 403" in cause:
        return "access is refused. Ask for credentials that may; what was there is still there."
    return f"{cause} What was there is still there; run the same command again."


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

"""Small records of several kinds in one LanceDB table, each change one commit."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from earsight.vectors._base import Where
from earsight.vectors._database import in_turn
from earsight.vectors._table import Table, sql

_BLOCK = 16_384  # records read at a time
_KEYS = 5_000  # keys named in one condition


class Records(Table):
    """Records by key: `kind` says which columns have a meaning, `value` is a text for the rest.

    Every commit has a number that no other has, which grows; whoever commits is told it.
    """

    def create(self) -> None:
        """Make the table; nothing happens where it stands."""
        self._make(self._columns(None))

    def _columns(self, found: Any) -> Any:
        import pyarrow as pa

        text, number = pa.string(), pa.int64()
        columns = {"key": text, "kind": text, "folder": text, "content": text, "features": text}
        columns |= {"label": text, "value": text, "path": pa.binary()}
        columns |= {"number": number, "size": number, "mtime_ns": number}
        return pa.schema([pa.field(n, t, n != "key") for n, t in columns.items()])

    @property
    def version(self) -> int:
        """The number of the last commit."""
        with self._guard("read"):
            return int(self._open().version)

    def put(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Add or replace records, all of them or none; return the number of the commit."""
        import pyarrow as pa

        with self._guard("write"):
            table = pa.Table.from_pylist([dict(one) for one in records], schema=self._open().schema)
            return self._merge(table)

    def add(self, record: Mapping[str, Any]) -> bool:
        """Add a record unless its key is there; return whether it was added."""
        with self._guard("write"):
            made = self._open().merge_insert("key").when_not_matched_insert_all()
            return bool(self._executed(made, [record]).num_inserted_rows)

    def renew(self, records: Sequence[Mapping[str, Any]], value: str | None = None) -> int:
        """Replace those records that are there, in one commit; return how many they were.

        Args:
            records: All that they become.
            value: Only where this is what is there; None: whatever is there.
        """
        condition = None if value is None else f"target.{sql({'value': value}, ['value'])}"
        with self._guard("write"):
            made = self._open().merge_insert("key").when_matched_update_all(where=condition)
            return int(self._executed(made, records).num_updated_rows)

    def _executed(self, made: Any, records: Sequence[Mapping[str, Any]]) -> Any:
        import pyarrow as pa

        rows = pa.Table.from_pylist([dict(one) for one in records], schema=self._open().schema)
        return in_turn(lambda: made.execute(rows))

    def read(self, where: Where, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return the records that pass, in no fixed order."""
        batches = self._scan(where, _BLOCK, list(columns))
        return [record for batch in batches for record in batch.to_pylist()]

    def remove(self, keys: Sequence[str], value: str | None = None) -> None:
        """Remove the records of these keys, those that are there (and hold this value)."""
        with self._guard("write"):
            for start in range(0, len(keys), _KEYS):
                table = self._open()
                which: Where = {"key": list(keys[start : start + _KEYS])}
                which = which if value is None else {**which, "value": value}
                condition = sql(which, table.schema.names)
                in_turn(partial(table.delete, condition))

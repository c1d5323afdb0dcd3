"""Small records of several kinds in one LanceDB table: what libraries on S3 once were."""

from typing import Any

from earsight.vectors._table import Table

_BLOCK = 16_384  # records read at a time


class Records(Table):
    """Records by key: `kind` says which columns have a meaning, `value` is a text for the rest."""

    def _columns(self, found: Any) -> Any:
        import pyarrow as pa

        text, number = pa.string(), pa.int64()
        columns = {"key": text, "kind": text, "folder": text, "content": text, "features": text}
        columns |= {"label": text, "value": text, "path": pa.binary()}
        columns |= {"number": number, "size": number, "mtime_ns": number}
        return pa.schema([pa.field(n, t, n != "key") for n, t in columns.items()])

    def read(self) -> list[dict[str, Any]]:
        """Return all records, in no fixed order."""
        return [record for batch in self._scan(None, _BLOCK) for record in batch.to_pylist()]

"""Feature sequences of any length and width, as bytes in one LanceDB table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.features import FeatureSequence
from earsight.vectors._base import Where, check_keys
from earsight.vectors._table import Table

_BLOCK = 64  # sequences read at a time
_KEY_BLOCK = 8192  # keys read at a time


@dataclass(frozen=True, slots=True)
class StoredSequence:
    """A feature sequence as it is kept: under a key, for a content, from a source.

    Attributes:
        key: Names it; one written under a key that stands replaces it.
        content: Hash of the file's bytes, by which sequences are deleted.
        source: What made it: extractor, head, fingerprint.
        sequence: The vectors with their times.
    """

    key: str
    content: str
    source: str
    sequence: FeatureSequence


class SequenceStore(Table):
    """Feature sequences of any length and width in one table of a folder.

    Values and weights are kept as little-endian float32, times as float64: what is read is bit
    for bit what was written.
    """

    def create(self) -> None:
        """Make the table; nothing happens where it stands."""
        self._make(self._columns(None))

    def _columns(self, found: Any) -> Any:
        import pyarrow as pa

        text, blob = pa.string(), pa.large_binary()
        columns = {"key": text, "content": text, "source": text, "values": blob, "times": blob}
        columns |= {"weights": blob, "n_steps": pa.int32(), "dim": pa.int32(), "span": pa.float64()}
        return pa.schema([pa.field(n, t, n == "weights") for n, t in columns.items()])

    def upsert(self, sequences: Sequence[StoredSequence]) -> None:
        """Write one batch: all of it is there when this returns, or none.

        Raises:
            InputError: A key appears twice.
        """
        import pyarrow as pa

        if not sequences:
            return
        check_keys([item.key for item in sequences])
        records = [_record(item) for item in sequences]
        self._write(pa.Table.from_pylist(records, schema=self._schema()))

    def read(self, where: Where | None = None) -> Iterator[StoredSequence]:
        """Yield the sequences that pass the filter, in no fixed order, a few at a time."""
        for batch in self._scan(where, _BLOCK):
            with self._guard("read"):
                found = [_stored(record) for record in batch.to_pylist()]
            yield from found

    def get(self, keys: Iterable[str]) -> dict[str, StoredSequence]:
        """Return the sequences of these keys; a key that is not there is not in the answer."""
        return {item.key: item for item in self.read({"key": list(keys)})}

    def keys(self, where: Where | None = None) -> list[str]:
        """Return the keys that pass the filter, sorted, without reading any values."""
        batches = self._scan(where, _KEY_BLOCK, ["key"])
        with self._guard("read"):
            keys = (key for batch in batches for key in batch.column("key").to_pylist())
            return sorted(map(_text, keys))

    def lengths(self, where: Where | None = None) -> dict[str, int]:
        """Return key → number of steps, of those that pass the filter, without reading values."""
        found: dict[str, int] = {}
        for batch in self._scan(where, _KEY_BLOCK, ["key", "n_steps"]):
            keys, steps = batch.column("key").to_pylist(), batch.column("n_steps").to_pylist()
            with self._guard("read"):
                found |= zip(map(_text, keys), map(_count, steps), strict=True)
        return found


def _record(item: StoredSequence) -> dict[str, Any]:
    sequence, weights = item.sequence, item.sequence.weights
    return {
        "key": item.key,
        "content": item.content,
        "source": item.source,
        "values": np.asarray(sequence.values, dtype="<f4").tobytes(),
        "times": np.asarray(sequence.times, dtype="<f8").tobytes(),
        "weights": None if weights is None else np.asarray(weights, dtype="<f4").tobytes(),
        "n_steps": len(sequence),
        "dim": sequence.dim,
        "span": sequence.span,
    }


def _stored(record: Mapping[str, Any]) -> StoredSequence:
    n, dim, span = _count(record["n_steps"]), _count(record["dim"]), record["span"]
    values = _array(record["values"], "<f4", n * dim).reshape(n, dim)
    times = _array(record["times"], "<f8", n)
    weights = None if record["weights"] is None else _array(record["weights"], "<f4", n)
    if weights is not None and weights.min(initial=0) < 0:
        raise ValueError("a weight is below 0")
    if not isinstance(span, float) or not 0 <= span < np.inf:
        raise ValueError(f"a sequence's step spans {span} seconds")
    key, content, source = (_text(record[name]) for name in ("key", "content", "source"))
    return StoredSequence(key, content, source, FeatureSequence(values, times, span, weights))


def _array(data: bytes | None, kind: str, n: int) -> FloatArray:
    if data is None or len(data) != n * np.dtype(kind).itemsize:
        raise ValueError(f"a sequence has {data and len(data)} bytes for {n:,} numbers")
    array = np.frombuffer(data, dtype=kind).copy()  # its bytes are read-only; torch warns of that
    if not np.isfinite(array).all():
        raise ValueError("a sequence's numbers are not finite")
    return array


def _count(value: int | None) -> int:
    if value is None or value < 0:
        raise ValueError(f"a sequence has {value} steps or dimensions")
    return value


def _text(value: str | None) -> str:
    if value is None:
        raise ValueError("a sequence has no key, content or source")
    return value

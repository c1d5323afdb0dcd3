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
        import pyarrow as pa

        text, blob = pa.string(), pa.large_binary()
        columns = {"key": text, "content": text, "source": text, "values": blob, "times": blob}
        columns |= {"weights": blob, "n_steps": pa.int32(), "dim": pa.int32(), "span": pa.float64()}
        self._make(pa.schema([pa.field(n, t, n == "weights") for n, t in columns.items()]))

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
            for record in batch.to_pylist():
                yield _stored(record)

    def get(self, keys: Iterable[str]) -> dict[str, StoredSequence]:
        """Return the sequences of these keys; a key that is not there is not in the answer."""
        return {item.key: item for item in self.read({"key": list(keys)})}

    def keys(self, where: Where | None = None) -> list[str]:
        """Return the keys that pass the filter, sorted, without reading any values."""
        batches = self._scan(where, _KEY_BLOCK, ["key"])
        return sorted(key for batch in batches for key in batch.column("key").to_pylist())

    def lengths(self, where: Where | None = None) -> dict[str, int]:
        """Return key → number of steps, of those that pass the filter, without reading values."""
        found: dict[str, int] = {}
        for batch in self._scan(where, _KEY_BLOCK, ["key", "n_steps"]):
            keys, steps = batch.column("key").to_pylist(), batch.column("n_steps").to_pylist()
            found |= zip(keys, steps, strict=True)
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
    def array(name: str, kind: str) -> FloatArray:
        # A copy, because the bytes are read-only and torch warns of that.
        return np.frombuffer(record[name], dtype=kind).copy()

    values = array("values", "<f4").reshape(record["n_steps"], record["dim"])
    weights = None if record["weights"] is None else array("weights", "<f4")
    sequence = FeatureSequence(values, array("times", "<f8"), record["span"], weights)
    return StoredSequence(record["key"], record["content"], record["source"], sequence)

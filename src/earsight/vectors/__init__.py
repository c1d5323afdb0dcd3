"""Where vectors are kept and searched: one small protocol, and the embedded store (LanceDB)."""

from earsight.vectors._base import EXACT_ROWS, Hit, Row, VectorIndex, Where
from earsight.vectors._table import Table, table_names
from earsight.vectors.held import HeldIndex
from earsight.vectors.lance import LanceIndex
from earsight.vectors.sequences import SequenceStore, StoredSequence

__all__ = [
    "EXACT_ROWS",
    "HeldIndex",
    "Hit",
    "LanceIndex",
    "Row",
    "SequenceStore",
    "StoredSequence",
    "Table",
    "VectorIndex",
    "Where",
    "table_names",
]

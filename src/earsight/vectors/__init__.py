"""Where vectors are kept and searched: one small protocol, the embedded store, and servers.

`open_index` opens a table by the address of its index.
"""

from earsight.vectors._base import EXACT_ROWS, Hit, Row, VectorIndex, VectorTable, Where
from earsight.vectors._table import Table, table_names
from earsight.vectors.in_memory import MAX_BYTES_IN_MEMORY, InMemoryIndex
from earsight.vectors.lance import LanceIndex
from earsight.vectors.milvus import MilvusIndex
from earsight.vectors.opening import EMBEDDED, check_address, open_index, reach
from earsight.vectors.record_table import Records
from earsight.vectors.sequences import SequenceStore, StoredSequence

__all__ = [
    "EMBEDDED",
    "EXACT_ROWS",
    "MAX_BYTES_IN_MEMORY",
    "Hit",
    "InMemoryIndex",
    "LanceIndex",
    "MilvusIndex",
    "Records",
    "Row",
    "SequenceStore",
    "StoredSequence",
    "Table",
    "VectorIndex",
    "VectorTable",
    "Where",
    "check_address",
    "open_index",
    "reach",
    "table_names",
]

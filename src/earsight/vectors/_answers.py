"""What is asked of a Milvus server, and what it answers, which is believed once it is looked at."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.vectors._base import FILTERED, Row, Where, checked_row, conditions

COLUMNS = tuple(field.name for field in fields(Row))


def filtering(where: Where | None) -> str | None:
    r"""Write a filter for Milvus, every value quoted; None: nothing passes.

    >>> print(filtering({"modality": "audio", "content": ["a", 'o"b\\']}))
    modality in ["audio"] and content in ["a", "o\"b\\"]

    Raises:
        InputError: An unknown column, or a value that is neither a string nor a whole number.
    """
    parts = []
    for column, values in conditions(where, FILTERED):
        if not values:
            return None
        parts.append(f"{column} in [{', '.join(map(_literal, values))}]")
    return " and ".join(parts)


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f'"{value.translate(_ESCAPES)}"'


def row_of(record: dict[str, Any]) -> Row:
    """Return a row; ValueError or LookupError: it is none."""
    return checked_row([record[name] for name in COLUMNS])


def vectors_of(records: Sequence[dict[str, Any]], dim: int) -> FloatArray:
    """Return the vectors (n, dim); ValueError, TypeError or LookupError: there are others."""
    vectors = [np.asarray(record["vector"], dtype=np.float32) for record in records]
    if any(vector.shape != (dim,) for vector in vectors):
        raise ValueError(f"a vector is not one of {dim} numbers")
    matrix = np.array(vectors, dtype=np.float32).reshape(-1, dim)
    if not np.isfinite(matrix).all():
        raise ValueError("a vector is not finite")
    return matrix


def width_of(found: Sequence[dict[str, Any]]) -> int:
    """Return the width that a collection's fields state; the same errors: it is none of ours."""
    if [field["name"] for field in found] != [*COLUMNS, "vector"]:
        raise ValueError("it has other fields")
    width = int(found[-1]["params"]["dim"])
    if width < 1:
        raise ValueError(f"its vectors have {width} dimensions")
    return width


def count_of(value: object) -> int:
    """Return a number of rows; ValueError: it is none."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"it counts {value!r:.80} rows")
    return value

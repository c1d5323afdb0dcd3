"""What a saved model may hold: shapes and numbers, checked before anything is computed with them.

A model may be a received one. An array of another shape would fail in the middle of a product,
or spread, by the rules of broadcasting, over all memory.
"""

from typing import Any

import numpy as np

from earsight.untrusted import check_memory

BLOCK_ROWS = 4096  # rows that `transform` holds in float64 at a time


def check_array(name: str, x: Any, *shape: int) -> None:
    """Check that something is an array of finite floating numbers.

    Raises:
        ValueError: It is not, or has another shape.
        InputError: So many columns that a block of rows would not fit into memory.

    >>> check_array("mean_", np.zeros(3), 2)
    Traceback (most recent call last):
    ValueError: `mean_` must be numbers of shape (2,); got float64 of shape (3,)
    """
    if not isinstance(x, np.ndarray):
        raise ValueError(f"`{name}` must be numbers of shape {shape}; got {type(x).__name__}")
    if x.dtype.kind != "f" or x.shape != shape:
        raise ValueError(
            f"`{name}` must be numbers of shape {shape}; got {x.dtype} of shape {x.shape}"
        )
    for size in shape:
        check_memory(f"`{name}`, with {size:,} columns,", size * BLOCK_ROWS * 8)
    if not np.isfinite(x).all():
        raise ValueError(f"`{name}` must be finite numbers")


def check_same(name: str, value: object, expected: object) -> None:
    """Check that a part of a model fits the rest of it.

    Raises:
        ValueError: It does not.
    """
    if value != expected:
        raise ValueError(f"`{name}` must be {expected!r}; got {value!r}")

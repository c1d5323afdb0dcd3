"""Checks of hyper-parameters, and of what a saved model holds.

A model may be a received one. An array of another shape would fail in the middle of a product, or
spread, by the rules of broadcasting, over all memory: shapes and numbers are checked before
anything is computed with them.
"""

from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np

from earsight.errors import InputError
from earsight.untrusted import check_memory

BLOCK_ROWS = 4096  # rows that `transform` holds in float64 at a time


def check_number(
    name: str,
    value: object,
    *,
    whole: bool = False,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> None:
    """Check a hyper-parameter that is a number.

    >>> check_number("margin", -1.0, above=0)
    Traceback (most recent call last):
    earsight.errors.InputError: `margin` must be a number above 0; got -1.0.
    """
    right_kind = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    try:
        number = float(value) if right_kind else float("nan")  # type: ignore[arg-type]
    except OverflowError:
        number = float("inf")
    inside = (
        np.isfinite(number)
        and (at_least is None or number >= at_least)
        and (above is None or number > above)
        and (at_most is None or number <= at_most)
    )
    if not inside:
        bounds = {"of at least": at_least, "above": above, "of at most": at_most}
        rule = " and ".join(
            f" {word} {bound}" for word, bound in bounds.items() if bound is not None
        )
        noun = "a whole number" if whole else "a number"
        raise InputError(f"`{name}` must be {noun}{rule}; got {value!r}.")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Check a hyper-parameter that is one of a few values.

    >>> check_choice("mining", "soft", ["all", "hard"])
    Traceback (most recent call last):
    earsight.errors.InputError: `mining` must be one of 'all', 'hard'; got 'soft'.
    """
    if value not in choices:
        raise InputError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.")


def resolve_components(wanted: int | None, rank: int, of: str) -> int:
    """Return how many dimensions to use: `wanted`, or min(10, rank) where that is None.

    >>> resolve_components(10, 9, "cluster_cca on 10 classes")
    Traceback (most recent call last):
    earsight.errors.InputError: `n_components` must be at most 9, the rank of cluster_cca on 10
    classes; got 10.
    """
    if wanted is None:
        return min(10, rank)
    if wanted > rank:
        raise InputError(f"`n_components` must be at most {rank}, the rank of {of}; got {wanted}.")
    return wanted


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

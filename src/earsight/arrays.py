"""Array aliases, and the one place where errors about shapes, NaN and labels are worded."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import InputError, LabelError

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.intp]
ArrayLike = npt.ArrayLike
Labels = npt.NDArray[Any]
LabelsLike = npt.ArrayLike | Mapping[str, npt.ArrayLike] | None

_CHECKED = 1 << 18  # numbers looked at at a time


def as_matrix(x: ArrayLike, name: str, *, dim: int | None = None, min_rows: int = 1) -> FloatArray:
    """Return `x` as a finite (n, d) floating array, in its own precision where it has one.

    float32 and float64 pass as they are (no copy) if their bytes are in this machine's order;
    whole numbers and longer floats become float64.

    Args:
        x: (n, d) numbers, n ≥ `min_rows`.
        name: What the user calls it, for the error.
        dim: The d that is required, if any.
        min_rows: 0 where there may be none, as in one batch of many.

    Raises:
        InputError: Not two-dimensional, empty, of another width than `dim`, not real numbers,
            masked, or with NaN or infinity (the first bad row is named).
    """
    array = _as_array(x, name, InputError)
    if array.ndim != 2:
        hint = " A single item is x[None, :]." if array.ndim == 1 else ""
        raise InputError(
            f"`{name}` must be two-dimensional, (rows, features); got shape {array.shape}.{hint}"
        )
    if array.shape[0] < min_rows or array.shape[1] == 0:
        raise InputError(f"`{name}` must have rows and features; got shape {array.shape}.")
    if dim is not None and array.shape[1] != dim:
        raise InputError(f"`{name}` must have {dim} features, as in `fit`; got {array.shape[1]}.")
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # what is beyond float64 is found below, as infinity
            array = array.astype(np.float64)
    elif array.dtype not in (np.float32, np.float64):
        raise InputError(f"`{name}` must be real numbers; got dtype {array.dtype}.")
    bad = bad_rows(array)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"`{name}` must be finite; {int(bad.sum())} of {len(array)} rows hold NaN or infinity, "
            f"the first is row {row}. Remove or repair those rows."
        )
    return array


def bad_rows(array: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell which rows of floats (n, d) hold NaN or infinity, (n,)."""
    bad = np.zeros(len(array), dtype=bool)
    ones = np.ones(array.shape[1], dtype=array.dtype)
    step = max(1, _CHECKED // array.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(array), step):
            rows = array[start : start + step]
            # A sum is finite only of finite numbers, and is done as fast as memory is read. If it
            # is not, each number is looked at: sums of finite numbers may overflow.
            if not np.isfinite(rows @ ones).all():
                bad[start : start + step] = ~np.isfinite(rows).all(axis=1)
    return bad


def as_labels(labels: ArrayLike, name: str, *, n: int) -> Labels:
    """Return `labels` as one value a row: whole numbers, strings or truth values, shape (n,).

    Raises:
        LabelError: Another length or shape, or values that are missing (NaN, None, masked).
    """
    array = _as_array(labels, name, LabelError)
    if array.ndim != 1:
        raise LabelError(f"`{name}` must be one value a row, shape ({n},); got {array.shape}.")
    if len(array) != n:
        raise LabelError(
            f"`{name}` must have one value for each of the {n} rows; got {len(array)}."
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise LabelError(f"`{name}` must not be missing; got NaN or infinity.")
        if (array != np.round(array)).any():
            raise LabelError(f"`{name}` must name classes; got fractions such as {array[0]!r}.")
    if array.dtype.kind in "OT" or (array.dtype.kind == "U" and not isinstance(labels, np.ndarray)):
        # Among strings numpy writes NaN out as "nan", so look at what was given.
        given = np.asarray(labels, dtype=object)
        missing = next((row for row, value in enumerate(given) if _is_missing(value)), None)
        if missing is not None:
            raise LabelError(
                f"`{name}` must not be missing; row {missing} has {given[missing]}. "
                "Remove those rows, or name a class for them."
            )
        if array.dtype.kind != "U":
            array = np.asarray([str(value) for value in given])
    return array


def _as_array(x: ArrayLike, name: str, error: type[InputError]) -> npt.NDArray[Any]:
    """Return `x` as an array in this machine's byte order; no copy where none is needed.

    Raises:
        InputError: (the `error` given) Rows of different lengths, or masked entries.
    """
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        n_masked = int(np.ma.getmaskarray(x).sum())
        raise error(
            f"`{name}` must not be masked; {n_masked} of {x.size} entries are. "
            "Fill them, or remove their rows."
        )
    try:
        array = np.asarray(x)
    except ValueError as ragged:
        raise error(f"`{name}` must have rows of one length; got different lengths.") from ragged
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _is_missing(value: object) -> bool:
    """Tell None, and what does not equal itself: NaN, and the missing values of others."""
    same = value == value
    return value is None or not isinstance(same, bool | np.bool_) or not same


def as_views(
    views: Mapping[str, ArrayLike],
    *,
    max_views: int | None,
    min_views: int = 2,
    min_rows: int = 1,
    name: str = "views",
) -> dict[str, FloatArray]:
    """Check a mapping from modality to (n, d) rows; its order is kept.

    Args:
        views: What the user gave.
        max_views, min_views: How many modalities there may be; None: any number.
        min_rows: As for `as_matrix`.
        name: What the user calls it, for the error.

    Raises:
        InputError: Not a mapping, fewer than `min_views`, more than `max_views`, a name that is
            not a string, or a view that `as_matrix` refuses.
    """
    if not isinstance(views, Mapping):
        raise InputError(
            f"`{name}` must be a mapping from modality to rows, such as "
            f'{{"audio": A, "visual": V}}; got {type(views).__name__}.'
        )
    if len(views) < min_views or (max_views is not None and len(views) > max_views):
        rule = f"{min_views} or more" if max_views is None else f"{min_views} to {max_views}"
        rule = "exactly two" if min_views == max_views == 2 else rule
        raise InputError(f"`{name}` must hold {rule} modalities; got {list(views)}.")
    for view in views:
        if not isinstance(view, str) or not view:
            raise InputError(f"`{name}` must be named by strings; got {view!r}.")
    return {view: as_matrix(x, f"{name}[{view!r}]", min_rows=min_rows) for view, x in views.items()}


def labels_by_view(
    values: LabelsLike, name: str, views: Mapping[str, FloatArray]
) -> dict[str, Labels] | None:
    """Return modality → one value a row, whether one array or a mapping was given; None for None.

    Raises:
        InputError: One array for views of different counts.
        LabelError: A mapping for other modalities than the views', or values that `as_labels`
            refuses.
    """
    if values is None:
        return None
    if not isinstance(values, Mapping):
        n = check_same_length(views, f"`{name}` is one array; a mapping means unpaired rows")
        return dict.fromkeys(views, as_labels(values, name, n=n))
    if set(values) != set(views):
        raise LabelError(f"`{name}` must be given for each of {[*views]}; got {[*values]}.")
    own = {
        view: as_labels(values[view], f"{name}[{view!r}]", n=len(x)) for view, x in views.items()
    }
    if len({array.dtype.kind == "U" for array in own.values() if len(array)}) > 1:
        raise LabelError(f"`{name}` must be strings in all modalities or in none.")
    return own


def check_same_length(arrays: Mapping[str, Sequence[Any] | FloatArray], why: str) -> int:
    """Return the common number of rows.

    Raises:
        InputError: The counts differ; `why` tells the reader which rule asks for equal ones.
    """
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise InputError(
            f"The modalities must have as many rows as each other: {why}; got {counts}."
        )
    return next(iter(counts.values()))


def unit_rows(x: FloatArray) -> FloatArray:
    """Scale each row to unit Euclidean length; a row of zeros stays zero.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    return scaled

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


def as_matrix(x: ArrayLike, name: str, *, dim: int | None = None) -> FloatArray:
    """Return `x` as a finite (n, d) floating array, in its own precision where it has one.

    float32 and float64 pass as they are (no copy); whole numbers become float64.

    Args:
        x: (n, d) numbers, n ≥ 1.
        name: What the user calls it, for the error.
        dim: The d that is required, if any.

    Raises:
        InputError: Not two-dimensional, empty, of another width than `dim`, not real numbers,
            or with NaN or infinity (the first bad row is named).
    """
    array = np.asarray(x)
    if array.ndim != 2:
        hint = " A single item is x[None, :]." if array.ndim == 1 else ""
        raise InputError(
            f"`{name}` must be two-dimensional, (rows, features); got shape {array.shape}.{hint}"
        )
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise InputError(f"`{name}` must have rows and features; got shape {array.shape}.")
    if dim is not None and array.shape[1] != dim:
        raise InputError(f"`{name}` must have {dim} features, as in `fit`; got {array.shape[1]}.")
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype not in (np.float32, np.float64):
        raise InputError(f"`{name}` must be real numbers; got dtype {array.dtype}.")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"`{name}` must be finite; {int(bad.sum())} of {len(array)} rows hold NaN or infinity, "
            f"the first is row {row}. Remove or repair those rows."
        )
    return array


def as_labels(labels: ArrayLike, name: str, *, n: int) -> Labels:
    """Return `labels` as one value a row: whole numbers, strings or truth values, shape (n,).

    Raises:
        LabelError: Another length or shape, or values that are missing (NaN, None).
    """
    array = np.asarray(labels)
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
    if array.dtype.kind == "O":
        if any(value is None for value in array):
            raise LabelError(f"`{name}` must not be missing; got None.")
        array = np.asarray([str(value) for value in array])
    return array


def as_views(
    views: Mapping[str, ArrayLike], *, max_views: int | None, min_views: int = 2
) -> dict[str, FloatArray]:
    """Check a mapping from modality to (n, d) rows; its order is kept.

    Raises:
        InputError: Not a mapping, fewer than `min_views`, more than `max_views`, a name that is
            not a string, or a view that `as_matrix` refuses.
    """
    if not isinstance(views, Mapping):
        raise InputError(
            "`views` must be a mapping from modality to rows, such as "
            f'{{"audio": A, "visual": V}}; got {type(views).__name__}.'
        )
    if len(views) < min_views or (max_views is not None and len(views) > max_views):
        rule = f"{min_views} or more" if max_views is None else f"{min_views} to {max_views}"
        rule = "exactly two" if min_views == max_views == 2 else rule
        raise InputError(f"`views` must hold {rule} modalities; got {list(views)}.")
    for name in views:
        if not isinstance(name, str) or not name:
            raise InputError(f"`views` must be named by strings; got {name!r}.")
    return {name: as_matrix(x, f"views[{name!r}]") for name, x in views.items()}


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
    if len({array.dtype.kind == "U" for array in own.values()}) > 1:
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

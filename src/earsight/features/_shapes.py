"""Whether the arrays of a feature file fit each other and memory, by their shapes alone."""

import math
from collections.abc import Iterable, Sequence

from earsight.errors import InputError
from earsight.features.containers import Container
from earsight.features.paired import COLUMNS
from earsight.untrusted import check_memory

PARTS = ("train", "test")

_A_STEP, _A_CLIP = 24, 32  # bytes of memory for times and bounds
Shape = tuple[int, ...]


def check_counts(container: Container, modalities: Sequence[str], is_authors: bool) -> None:
    """Check that every modality and column has as many rows as it must.

    Raises:
        InputError: They do not correspond, or a shape has no meaning here.
    """
    if is_authors:
        _check_authors(container, modalities)
        return
    counts = {modality: _rows_of(container, modality)[0] for modality in modalities}
    apart = [name for name in COLUMNS if _apart(container, name, modalities)]
    if not apart and len(set(counts.values())) > 1:
        raise InputError(
            f"Paired modalities must have as many rows as each other; got {counts}. "
            "Where rows are unpaired, give labels, ids or group for each modality."
        )
    for name in COLUMNS:
        for modality in modalities:
            field = f"{name}_{modality}" if name in apart else name
            if field in container.names:
                _check_column(container, field, counts[modality])


def _apart(container: Container, name: str, modalities: Iterable[str]) -> bool:
    return any(f"{name}_{modality}" in container.names for modality in modalities)


def _check_authors(container: Container, modalities: Sequence[str]) -> None:
    for modality in modalities:
        train, test = (_rows_of(container, f"{modality}_{part}") for part in PARTS)
        if train[1] != test[1]:
            raise InputError(
                f"`{modality}_train` and `{modality}_test` must have as many features as each "
                f"other; got {train[1]} and {test[1]}."
            )
        for part, (rows, _) in zip(PARTS, (train, test), strict=True):
            n = _length(container.shape(f"lab_{part}"), f"lab_{part}")
            if rows != n:
                raise InputError(
                    f"`{modality}_{part}` must have a row for each of the {n} values "
                    f"of `lab_{part}`; got {rows} rows."
                )


def _check_column(container: Container, name: str, n: int) -> None:
    length = _length(container.shape(name), name)
    if length != n:
        raise InputError(f"`{name}` must have one value for each of the {n} rows; got {length}.")


def _length(shape: Shape, name: str) -> int:
    if len(shape) not in (1, 2):
        raise InputError(f"`{name}` must be one value a row, shape (n,); got {shape}.")
    return max(shape) if 1 in shape else shape[0]


def _rows_of(container: Container, modality: str) -> tuple[int, int]:
    """Return rows and features of one modality."""
    found = _array(container, modality) if modality in container.names else None
    if f"{modality}_steps" not in container.names:
        if found is None:
            raise InputError(f"`{modality}` is missing.")
        return found
    n, dim = _steps(container, modality)
    if found is not None and found != (n, dim):
        raise InputError(
            f"The steps of {modality!r} must belong to a view of as many clips and features; "
            f"got {n} clips of {dim} features."
        )
    return n, dim


def _array(container: Container, modality: str) -> tuple[int, int]:
    shape = container.shape(modality)
    if len(shape) not in (2, 3) or not shape[0] or not shape[-1]:
        raise InputError(
            f"`{modality}` must have rows and features, (n, d) or (n, L, d); got shape {shape}."
        )
    if len(shape) == 3:
        if not shape[1]:
            raise InputError(f"row 0 of `{modality}` has no step, so it has no mean.")
        _check_times(container, modality, modality)
    return shape[0], shape[-1]


def _steps(container: Container, modality: str) -> tuple[int, int]:
    steps, offsets = f"{modality}_steps", f"{modality}_offsets"
    if offsets not in container.names:
        raise InputError(f"missing: {offsets}. This file has: {', '.join(container.names)}.")
    shape, bounds = container.shape(steps), container.shape(offsets)
    if len(shape) != 2 or not shape[1]:
        raise InputError(f"`{steps}` must have rows and features; got shape {shape}.")
    if len(bounds) != 1 or bounds[0] < 2:
        raise InputError(
            f"`{offsets}` must be whole numbers that start at 0 and never fall, one more "
            f"than there are rows; got {container.dtype(offsets)} of shape {bounds}."
        )
    _check_times(container, modality, steps)
    return bounds[0] - 1, shape[1]


def _check_times(container: Container, modality: str, name: str) -> None:
    total = math.prod(container.shape(name)[:-1])
    times = f"{modality}_times"
    if times in container.names and container.shape(times) != (total,):
        raise InputError(times_do_not_fit(modality, name, total, container.shape(times)))


def times_do_not_fit(modality: str, name: str, total: int, shape: Shape) -> str:
    """Say what the times of steps must be."""
    return (
        f"`{modality}_times` must be {total} finite seconds, one for each row of `{name}`; "
        f"got shape {shape}."
    )


def check_bytes(
    container: Container, modalities: Iterable[str], is_authors: bool, *, columns_only: bool
) -> None:
    """Check that what is read at once stays below the limit on memory.

    Steps in HDF5 are read when they are asked for, so of them only bounds, times and means count;
    a batch reads the columns alone at once.

    Raises:
        InputError: It is more.
    """
    names = [f"{m}_{part}" for m in modalities for part in PARTS] if is_authors else [*modalities]
    views = [name for name in names if name in container.names]
    steps = [f"{name}_steps" for name in names if f"{name}_steps" in container.names]
    columns = set(container.names) - {*views, *steps}
    total = sum(map(container.column_bytes, columns))
    if not columns_only:
        total += sum(_view_bytes(container, name) for name in views)
        total += sum(_step_bytes(container, name) for name in steps)
    check_memory("The file", total)


def _view_bytes(container: Container, name: str) -> int:
    shape = container.shape(name)
    if len(shape) == 2:
        return 2 * container.rows_bytes(name)  # train and test are joined to one more array
    means = shape[0] * (_A_CLIP + 8 * shape[2])
    return container.steps_bytes(name) + _A_STEP * shape[0] * shape[1] + means


def _step_bytes(container: Container, name: str) -> int:
    total, dim = container.shape(name)
    clips = container.shape(f"{name.removesuffix('_steps')}_offsets")[0]
    means = clips * (_A_CLIP + 8 * dim)
    return container.steps_bytes(name) + _A_STEP * total + means

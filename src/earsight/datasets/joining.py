"""Features of one modality each, made of the same clips, put side by side."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from earsight.arrays import IntArray, Labels
from earsight.errors import FeatureFileError, InputError
from earsight.features import PairedFeatures


def join(parts: Mapping[str, PairedFeatures], names: str) -> PairedFeatures:
    """Put two modalities side by side, clip by clip: by `ids`, else row by row.

    Args:
        parts: Modality → features of that modality alone, with labels.
        names: What they are called in errors.

    Raises:
        FeatureFileError: Their labels or splits differ, or they have no clip in common.
    """
    first, second = parts.values()
    rows = _matches(first, second)
    if rows is None:
        raise FeatureFileError(
            f"{names} must have the same rows, or `ids` that name the clip of each row; got "
            f"{len(_column(first, 'labels'))} and {len(_column(second, 'labels'))} rows."
        )
    first, second = first.take(rows[0]), second.take(rows[1])
    for column in ("labels", "split"):
        one, two = getattr(first, column), getattr(second, column)
        if one is not None and two is not None and not np.array_equal(one, two):
            clip = int(np.flatnonzero(one != two)[0])
            raise FeatureFileError(
                f"The `{column}` of {names} must agree; row {clip} has {one[clip]!r} and "
                f"{two[clip]!r}."
            )
    split = first.split if first.split is not None else second.split
    try:
        return replace(
            first,
            views={**first.views, **second.views},
            split=split,
            group=first.group if first.group is not None else second.group,
            steps={**first.steps, **second.steps},
            provenance={m: dict(part.provenance) for m, part in parts.items()},
        )
    except InputError as error:
        raise FeatureFileError(f"{names}: {error}") from error


def _matches(first: PairedFeatures, second: PairedFeatures) -> tuple[IntArray, IntArray] | None:
    """Return the rows of either that are the same clip, in the first one's order."""
    if first.ids is None or second.ids is None:
        n, other = len(_column(first, "labels")), len(_column(second, "labels"))
        return (np.arange(n), np.arange(n)) if n == other else None
    ids = _column(first, "ids")
    where = {name: row for row, name in enumerate(_column(second, "ids").tolist())}
    common = [row for row, name in enumerate(ids.tolist()) if name in where]
    if not common:
        return None
    return np.asarray(common), np.asarray([where[name] for name in ids[common].tolist()])


def _column(data: PairedFeatures, name: str) -> Labels:
    return np.asarray(getattr(data, name))

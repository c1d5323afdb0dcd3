"""Checks of classes, and sums by class over a stream of rows for the closed forms."""

from collections.abc import Mapping
from functools import partial
from typing import Self

import numpy as np

from earsight.arrays import FloatArray, Labels
from earsight.covariance import ClassMoments
from earsight.errors import InputError, LabelError
from earsight.methods._base import Rows
from earsight.methods._linear.streaming import Passes, Sums, Tally


def check_two_classes(kind: str, rows: Rows) -> None:
    """Refuse rows of one class: there is nothing to tell apart.

    Raises:
        LabelError: Fewer than two classes.
    """
    classes = np.unique(np.concatenate(list((rows.labels or {}).values())))
    if len(classes) < 2:
        raise LabelError(f"{kind} needs at least two classes; got {classes.tolist()}.")


def common_classes(kind: str, tally: Tally) -> tuple[Labels, FloatArray, FloatArray]:
    """Return the classes, sorted, and how many rows of each the two modalities have.

    Raises:
        LabelError: Fewer than two classes, or one that a modality lacks.
    """
    counts = list(tally.classes.values())
    for name, own in tally.classes.items():
        lacking = [label for label in counts[0] | counts[1] if label not in own]
        if lacking:
            raise LabelError(
                f"{kind} needs every class in every modality; {name!r} has no row of "
                f"{lacking[0]!r}. Remove that class, or label both modalities alike."
            )
    if len(counts[0]) < 2:
        raise LabelError(f"{kind} needs at least two classes; got {list(counts[0])}.")
    classes = sorted(counts[0])
    first, second = (np.asarray([own[c] for c in classes], dtype=np.float64) for own in counts)
    return np.asarray(classes), first, second


def class_moments(
    passes: Passes, tally: Tally, classes: Labels, weights: Mapping[str, FloatArray] | None = None
) -> list[ClassMoments]:
    """Pass over the rows once more and return the sums of each modality.

    Args:
        passes: Starts the pass.
        tally: Of the first pass; this one must see the same rows.
        classes: (C,) sorted.
        weights: modality → what a row of each class weighs in the second moment; None: there is
            no second moment.

    Raises:
        InputError: The pass differs from the first.
    """
    sums = passes.gather(partial(_ClassSums, classes, weights or {}))
    if sums.tally != tally:
        raise InputError(_CHANGED)
    return [sums.moments[name] for name in tally.dims]


class _ClassSums(Sums):
    """Sums by class over the rows of one part, each modality by itself."""

    def __init__(self, classes: Labels, weights: Mapping[str, FloatArray]) -> None:
        super().__init__()
        self._classes, self._weights = classes, weights
        self.moments: dict[str, ClassMoments] = {}

    def take(self, rows: Rows) -> None:
        super().take(rows)
        for name, labels in (rows.labels or {}).items():
            if not np.isin(labels, self._classes).all():
                raise InputError(_CHANGED)
            codes = np.searchsorted(self._classes, labels)
            self._of(name).add(rows.views[name], codes)

    def merge(self, other: Self) -> None:
        super().merge(other)
        for name, moments in other.moments.items():
            self._of(name).merge(moments)

    def _of(self, name: str) -> ClassMoments:
        new = ClassMoments(len(self._classes), self._weights.get(name))
        return self.moments.setdefault(name, new)


_CHANGED = "`make_batches` must return the same rows each time it is called; the passes differed."

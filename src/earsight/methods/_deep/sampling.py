"""Which rows are held out, and which rows a step of training sees."""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.datasets import folds
from earsight.methods._base import Rows

HELD_OUT = 8  # one row in eight
MIN_UNITS = 400  # below this, a held-out part is too small to tell epochs apart

Draw = dict[str, IntArray]  # modality → row numbers; where rows are paired, the same for all


def take(rows: Rows, chosen: Draw) -> Rows:
    """Return some rows of each modality."""
    return Rows(
        views={name: x[chosen[name]] for name, x in rows.views.items()},
        labels=rows.labels and {name: x[chosen[name]] for name, x in rows.labels.items()},
        groups=rows.groups and {name: x[chosen[name]] for name, x in rows.groups.items()},
        paired=rows.paired,
        steps={name: table.take(chosen[name]) for name, table in rows.steps.items()},
    )


def hold_out(rows: Rows, seed: int) -> tuple[Draw, Draw | None]:
    """Split training rows into those that train and those that decide when to stop.

    Whole groups, stratified by class; no class is held out to its last row.

    Returns:
        (kept, held): held is None below 400 groups (rows, where there are no groups).
    """
    counts = {name: len(x) for name, x in rows.views.items()}
    everything = {name: np.arange(n) for name, n in counts.items()}
    views = list(counts)[:1] if rows.paired else list(counts)
    groups: Labels | None = None
    labels: Labels | None = None
    if rows.groups is not None:
        groups = np.concatenate([rows.groups[name] for name in views])
    if rows.labels is not None:
        _, labels = np.unique(
            np.concatenate([rows.labels[name] for name in views]), return_inverse=True
        )
        if groups is None:  # then each modality is split on its own account
            labels = len(views) * labels + np.repeat(range(len(views)), [counts[v] for v in views])
    units = np.arange(sum(counts[name] for name in views)) if groups is None else groups
    if len(np.unique(units)) < MIN_UNITS * len(views):
        return everything, None
    _, test = folds(labels, units, HELD_OUT, seed)[0]
    mask = np.zeros(len(units), bool)
    mask[test] = True
    parts = np.split(mask, np.cumsum([counts[name] for name in views])[:-1])
    masks = dict(zip(views, parts, strict=True))
    if rows.paired:
        masks = dict.fromkeys(counts, parts[0])
    for name, own in (rows.labels or {}).items():
        lost = np.setdiff1d(own, own[~masks[name]])
        masks[name] = masks[name] & ~np.isin(own, lost)
    if not all(each.any() for each in masks.values()):
        return everything, None
    return (
        {name: np.flatnonzero(~each) for name, each in masks.items()},
        {name: np.flatnonzero(each) for name, each in masks.items()},
    )


def shuffled(views: Mapping[str, FloatArray], size: int, rng: np.random.Generator) -> list[Draw]:
    """Cut a permutation of paired rows into batches of about `size`, none much smaller."""
    n = len(next(iter(views.values())))
    parts = np.array_split(rng.permutation(n), max(1, round(n / size)))
    return [dict.fromkeys(views, part) for part in parts]


def balanced(
    labels: Mapping[str, Labels], size: int, rng: np.random.Generator, *, paired: bool
) -> list[Draw]:
    """Draw the batches of one epoch class by class: as many rows of each class, from each modality.

    A batch has size/C rows of each of C classes; where that is less than two, two rows of as many
    classes as fit, the classes taking turns. Every class goes through its rows in shuffled order,
    again and again, so that rows of a small class come more often. There are n/size batches, n
    the rows of the larger modality.

    Args:
        labels: modality → (n,) class of each row.
        size: Rows of each modality in a batch.
        rng: Shuffles.
        paired: Draw once, for all modalities.
    """
    own = dict(list(labels.items())[:1]) if paired else labels
    classes = np.unique(np.concatenate(list(own.values())))
    per_class = max(2, size // len(classes))
    n_classes = min(len(classes), max(1, size // per_class))
    turns = _endless(np.arange(len(classes)), rng)
    streams = {
        name: [_endless(np.flatnonzero(codes == label), rng) for label in classes]
        for name, codes in own.items()
    }
    n = max(len(codes) for codes in own.values())
    batches = []
    for _ in range(max(1, round(n / size))):
        chosen = next_of(turns, n_classes)
        drawn = {
            name: np.concatenate([next_of(each[c], per_class) for c in chosen])
            for name, each in streams.items()
        }
        batches.append(dict.fromkeys(labels, next(iter(drawn.values()))) if paired else drawn)
    return batches


def next_of(stream: Iterator[int], n: int) -> IntArray:
    """Take n from a stream, or as many as it has."""
    return np.fromiter(islice(stream, n), dtype=np.intp)


def _endless(values: IntArray, rng: np.random.Generator) -> Iterator[int]:
    """Go through the values in a new order each time; no values: nothing."""
    while len(values):
        yield from rng.permutation(values)

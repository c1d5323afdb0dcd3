"""Sequences among the views that `fit` and `transform` are given: their checks, and their means."""

from typing import Any

import numpy as np

from earsight.arrays import ArrayLike
from earsight.errors import InputError
from earsight.features import StepTable


def mean_rows(x: ArrayLike | StepTable, name: str) -> Any:
    """Return the means of sequences, (n, d); what is no sequences as it is.

    Raises:
        InputError: A clip without steps, or times that are not finite or go back.
    """
    if not isinstance(x, StepTable):
        return x
    empty = np.flatnonzero(x.lengths == 0)
    if not len(x) or len(empty):
        which = f"clip {empty[0]} has none" if len(empty) else "there is no clip"
        raise InputError(f"`{name}` must have a step for each clip; {which}. Leave such clips out.")
    for clip, (start, stop) in enumerate(x.bounds):
        times = x.times[start:stop]
        if not np.isfinite(times).all() or (times[1:] < times[:-1]).any():
            raise InputError(
                f"The times of `{name}` must be finite seconds that never go back within a clip; "
                f"those of clip {clip} are not. Sort its steps by time."
            )
    return x.means()


def check_lengths(x: StepTable, name: str, pooling: str, most: int) -> None:
    """Refuse sequences that are too long; nothing is cut off.

    Raises:
        InputError: A clip has more than `most` steps.
    """
    clip = int(x.lengths.argmax())
    if x.lengths[clip] > most:
        raise InputError(
            f"pooling={pooling!r} takes at most {most:,} steps a clip; clip {clip} of `{name}` has "
            f"{x.lengths[clip]:,}. Use fewer steps a second, shorter windows or another pooling."
        )

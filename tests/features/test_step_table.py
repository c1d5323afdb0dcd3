"""Tables of sequences: what joins, and what is gathered from them."""

import numpy as np
import pytest

from earsight.errors import InputError
from earsight.features import StepTable


def test_offsets_that_do_not_fit_are_refused() -> None:
    values, times = np.zeros((4, 2)), np.arange(4.0)
    for offsets in ([0, 5], [1, 4], [0, 3, 2, 4], [0.0, 4.0], [[0, 4]]):
        with pytest.raises(InputError, match="`offsets` must be whole numbers that start at 0"):
            StepTable.joined(values, offsets, times)
    with pytest.raises(InputError, match=r"got values \(4, 2\) and times \(3,\)"):
        StepTable.joined(values, [0, 4], times[:3])


@pytest.mark.parametrize("seed", range(3))
def test_gathered_clips_are_the_clips_in_any_order_and_twice(seed: int) -> None:
    lengths, rng = np.arange(60) % 7, np.random.default_rng(seed)
    values = rng.normal(size=(lengths.sum(), 3))
    steps = StepTable.joined(values, np.cumsum([0, *lengths]), np.arange(len(values)) / 2)
    chosen = rng.integers(0, 60, 25)
    taken = steps.take(chosen)
    slow = np.concatenate([steps[int(clip)].values for clip in chosen])
    assert np.array_equal(taken.gather(), slow)

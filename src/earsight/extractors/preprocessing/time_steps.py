"""Fifty steps a second, for extractors that watch the timing: step k belongs to second k/50."""

import numpy as np

from earsight.arrays import FloatArray
from earsight.features import FeatureSequence

RATE = 50  # steps a second


def on_grid(values: FloatArray, times: FloatArray) -> FeatureSequence:
    """Return values at whole multiples of 1/50 s, interpolated between those measured.

    Args:
        values: (n, d), n ≥ 1.
        times: (n,) seconds, rising.

    Returns:
        The steps within [times[0], times[-1]]; if no multiple lies there, the first value at its
        own time.
    """
    first, last = np.ceil(times[0] * RATE - 1e-6), np.floor(times[-1] * RATE + 1e-6)
    grid = np.arange(first, last + 1) / RATE
    if not len(grid):
        return FeatureSequence(values[:1].astype(np.float32), times[:1], 1 / RATE)
    right = np.clip(np.searchsorted(times, grid), 1, max(1, len(times) - 1))
    left = right - 1
    if len(times) == 1:
        return FeatureSequence(values[:1].astype(np.float32), grid[:1], 1 / RATE)
    share = np.clip((grid - times[left]) / (times[right] - times[left]), 0.0, 1.0)[:, None]
    between = values[left] * (1 - share) + values[right] * share
    return FeatureSequence(between.astype(np.float32), grid, 1 / RATE)

"""Sequences of feature vectors, paired rows, pooling, and the files that hold them."""

from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError


@dataclass(frozen=True)
class FeatureSequence:
    """One vector per time step of one clip.

    Attributes:
        values: (n_steps, dim) float32.
        times: (n_steps,) float64, seconds from the clip's start: the middle of what a step saw.
            Sequences of different rates are aligned by these, never by row.
        span: Seconds that one step saw: 0.96 for a YAMNet patch, 0 for a single frame.
        weights: (n_steps,) float32 ≥ 0, how much a step counts when pooled; None: all alike.
    """

    values: FloatArray
    times: FloatArray
    span: float = 0.0
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.times)
        if self.values.ndim != 2 or len(self.values) != n:
            raise InputError(
                f"A FeatureSequence needs values (n_steps, dim) for its {n} times; "
                f"got shape {self.values.shape}."
            )
        if self.weights is not None and self.weights.shape != (n,):
            raise InputError(f"A FeatureSequence needs {n} weights; got {self.weights.shape}.")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def dim(self) -> int:
        """Width of each vector."""
        return int(self.values.shape[1])

    def between(self, start: float, end: float) -> "FeatureSequence":
        """Return the steps whose middle lies in [start, end) seconds."""
        keep = (self.times >= start) & (self.times < end)
        weights = None if self.weights is None else self.weights[keep]
        return FeatureSequence(self.values[keep], self.times[keep], self.span, weights)

    def mean(self) -> FloatArray:
        """Pool over time, the paper's mean layer: Σ wₜ xₜ / Σ wₜ, shape (dim,), float32.

        Raises:
            InputError: There is no step to pool.
        """
        if len(self) == 0:
            raise InputError("A sequence without steps has no mean.")
        if self.weights is None or not self.weights.any():
            return np.asarray(self.values.mean(axis=0, dtype=np.float64), dtype=np.float32)
        weights = self.weights.astype(np.float64)
        return np.asarray(weights @ self.values / weights.sum(), dtype=np.float32)

"""Sequences of feature vectors: of one clip, and of all clips of one modality."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from earsight.arrays import ArrayLike, FloatArray, IntArray
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

    def __repr__(self) -> str:
        """Tell what it is, not what it holds.

        >>> FeatureSequence(np.zeros((3, 8)), np.array([0.5, 1.0, 1.5]))
        FeatureSequence(3 × 8, 0.50 to 1.50 s, 2.00 a second)
        >>> FeatureSequence(np.zeros((0, 8)), np.zeros(0))
        FeatureSequence(0 × 8)
        """
        shape = f"{len(self)} × {self.dim}"
        if not len(self):
            return f"FeatureSequence({shape})"
        first, last = float(self.times[0]), float(self.times[-1])
        rate = f", {(len(self) - 1) / (last - first):.2f} a second" if last > first else ""
        return f"FeatureSequence({shape}, {first:.2f} to {last:.2f} s{rate})"

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


_TOGETHER = 16  # neighbouring clips read at once: opening a file costs more than reading a clip


class Rows(Protocol):
    """Rows of a large matrix, read when asked for: `rows(a, b)` returns (b − a, dim)."""

    def __call__(self, start: int, stop: int) -> FloatArray:
        """Return the rows from `start` up to `stop`."""


@dataclass(frozen=True)
class StepTable:
    """The sequences of every clip of one modality, one after another in one long matrix.

    The times are in memory; the vectors are read clip by clip, because 28,000 clips of ten
    seconds at 1024 dimensions are more than a gigabyte.

    Attributes:
        bounds: (n, 2), clip i owns the rows bounds[i, 0] up to bounds[i, 1].
        times: (total,) float64, seconds from the start of each clip.
        dim: Width of each vector.
        rows: Reads rows of the matrix.
    """

    bounds: IntArray
    times: FloatArray
    dim: int
    rows: Rows

    @classmethod
    def of(cls, sequences: Iterable[FeatureSequence]) -> "StepTable":
        """Join sequences of one width. Weights and spans are not kept.

        Raises:
            InputError: No sequence, or sequences of several widths.
        """
        listed = list(sequences)
        widths = sorted({sequence.dim for sequence in listed})
        if len(widths) != 1:
            raise InputError(f"A StepTable needs sequences of one width; got widths {widths}.")
        values = np.concatenate([sequence.values for sequence in listed])
        times = np.concatenate([sequence.times for sequence in listed])
        offsets = np.cumsum([0, *map(len, listed)])
        return cls(np.stack([offsets[:-1], offsets[1:]], 1), times, widths[0], ArrayRows(values))

    @classmethod
    def joined(cls, values: FloatArray, offsets: ArrayLike, times: ArrayLike) -> "StepTable":
        """Take sequences that lie one after another in one matrix; nothing is copied.

        Args:
            values: (total, dim).
            offsets: (n + 1,) whole numbers from 0 to total that never fall: clip i owns the rows
                offsets[i] up to offsets[i + 1].
            times: (total,) seconds from the start of each clip.

        Raises:
            InputError: Arrays that do not fit each other.

        >>> table = StepTable.joined(np.ones((5, 2)), offsets=[0, 2, 5], times=[0, 1, 0, 1, 2])
        >>> [len(sequence) for sequence in table]
        [2, 3]
        """
        bounds, seconds = np.asarray(offsets), np.asarray(times, dtype=np.float64)
        if values.ndim != 2 or seconds.shape != (len(values),):
            raise InputError(
                f"A StepTable needs values (total, dim) and a time for each; got values "
                f"{values.shape} and times {seconds.shape}."
            )
        whole = bounds.ndim == 1 and len(bounds) > 1 and bounds.dtype.kind in "iu"
        falls = whole and bool((bounds[1:] < bounds[:-1]).any())
        if not whole or falls or bounds[0] != 0 or bounds[-1] != len(values):
            raise InputError(
                "`offsets` must be whole numbers that start at 0, never fall and end at the "
                f"{len(values)} rows of values; got {bounds.dtype} of shape {bounds.shape}."
            )
        both = np.stack([bounds[:-1], bounds[1:]], axis=1).astype(np.intp)
        return cls(both, seconds, int(values.shape[1]), ArrayRows(values))

    @property
    def lengths(self) -> IntArray:
        """(n,) steps of each clip."""
        return np.asarray(self.bounds[:, 1] - self.bounds[:, 0])

    def __len__(self) -> int:
        return len(self.bounds)

    def __repr__(self) -> str:
        """Tell what it is; no vector is read.

        >>> StepTable.joined(np.ones((5, 2)), offsets=[0, 2, 5], times=[0, 1, 0, 1, 2])
        StepTable(2 clips, 5 steps of 2 features, 1.00 a second)
        """
        rate = ""
        gaps = self.lengths - 1
        if len(self) and gaps.max() > 0:
            longest = self.bounds[int(gaps.argmax())]
            seconds = float(self.times[longest[1] - 1] - self.times[longest[0]])
            rate = f", {gaps.max() / seconds:.2f} a second" if seconds > 0 else ""
        steps = int(self.lengths.sum())
        return f"StepTable({len(self)} clips, {steps} steps of {self.dim} features{rate})"

    def __getitem__(self, clip: int) -> FeatureSequence:
        start, stop = (int(bound) for bound in self.bounds[clip])
        return FeatureSequence(self.rows(start, stop), self.times[start:stop])

    def __iter__(self) -> Iterator[FeatureSequence]:
        for first in range(0, len(self), _TOGETHER):
            bounds = self.bounds[first : first + _TOGETHER]
            if (bounds[1:, 0] == bounds[:-1, 1]).all():
                low, high = int(bounds[0, 0]), int(bounds[-1, 1])
                block = StepTable(
                    bounds - low, self.times[low:high], self.dim, ArrayRows(self.rows(low, high))
                )
                yield from (block[clip] for clip in range(len(block)))
            else:
                yield from (self[clip] for clip in range(first, first + len(bounds)))

    def take(self, clips: IntArray) -> "StepTable":
        """Return the table of some clips, in the order asked for; no vector is read."""
        return replace(self, bounds=self.bounds[clips])

    def gather(self) -> FloatArray:
        """Read the vectors of all clips, one after another: (Σ lengths, dim).

        Clips that lie beside each other are read together, whatever their order.
        """
        ends = np.cumsum(self.lengths)
        order = np.lexsort((self.bounds[:, 1], self.bounds[:, 0]))
        ordered = self.bounds[order]
        breaks = np.flatnonzero(ordered[1:, 0] != ordered[:-1, 1]) + 1
        out: FloatArray | None = None
        for run in np.split(order, breaks):
            low, high = int(self.bounds[run[0], 0]), int(self.bounds[run[-1], 1])
            block = self.rows(low, high)
            if out is None:
                out = np.empty((int(ends[-1]), self.dim), block.dtype)
            for clip in run:
                start, stop = self.bounds[clip] - low
                out[ends[clip] - (stop - start) : ends[clip]] = block[start:stop]
        if out is None:
            raise InputError("A StepTable without clips has no vectors.")
        return out

    def held(self, most: int) -> "StepTable":
        """Return the table with its vectors in memory, if they take at most `most` bytes.

        Otherwise, and where they are in memory already, the table itself.
        """
        if isinstance(self.rows, ArrayRows) or not len(self):
            return self
        if int(self.lengths.sum()) * self.dim * self.rows(0, 0).itemsize > most:
            return self
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        times = np.concatenate([self.times[a:b] for a, b in self.bounds])
        return StepTable.joined(self.gather(), offsets, times)

    def means(self) -> FloatArray:
        """Pool each clip over time, the paper's mean layer: (n, dim) float32.

        Raises:
            InputError: A clip has no step.
        """
        means = np.empty((len(self), self.dim), np.float32)
        with np.errstate(over="ignore"):  # what is beyond float32 is found as infinity
            for clip, sequence in enumerate(self):
                means[clip] = sequence.mean()
        return means


@dataclass(frozen=True)
class ArrayRows:
    """Rows of a matrix that is in memory."""

    values: FloatArray = field(repr=False)

    def __call__(self, start: int, stop: int) -> FloatArray:
        """Return the rows from `start` up to `stop`."""
        return self.values[start:stop]

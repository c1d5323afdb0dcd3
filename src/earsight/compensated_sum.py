"""Running sums in twice the precision of float64, which do not depend on how they were grouped."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray

_CHUNK = 1 << 14  # entries added at a time: the scratch arrays stay in the processor's cache
_PANEL = 32  # rows of a symmetric sum that are kept together


class Total:
    """A running sum of arrays in twice the precision of float64.

    Each addition keeps its rounding error (Knuth's two-sum), so that the sum does not depend on
    how its terms were grouped: 106 bits are carried and 53 are read.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.high = np.zeros(shape)
        self.low = np.zeros(shape)
        self._is_empty = True

    def add(self, term: npt.NDArray[np.floating]) -> None:
        """Add an array of the sum's shape, of any precision up to float64."""
        if self._is_empty:
            self._is_empty = False
            self.high[...] = term
            return
        high, low, new = self.high.reshape(-1), self.low.reshape(-1), term.reshape(-1)
        scratch = np.empty((3, min(_CHUNK, len(high))))
        for start in range(0, len(high), _CHUNK):
            a = high[start : start + _CHUNK]
            b, total, seen = scratch[:, : len(a)]
            b[...] = new[start : start + _CHUNK]
            np.add(a, b, out=total)
            np.subtract(total, a, out=seen)  # what b became
            b -= seen
            np.subtract(total, seen, out=seen)  # what a became
            np.subtract(a, seen, out=seen)
            b += seen
            low[start : start + _CHUNK] += b
            a[...] = total

    def merge(self, other: "Total") -> None:
        """Add another sum."""
        self.add(other.high)
        self.low += other.low

    def value(self) -> FloatArray:
        """Return the sum in float64."""
        return np.asarray(self.high + self.low)


class SymmetricTotal:
    """A running sum of symmetric matrices (d, d), of which one triangle is kept.

    >>> total = SymmetricTotal(2)
    >>> total.add(np.array([[1.0, 0.0], [2.0, 3.0]]))
    >>> total.value(slice(0, 2), slice(0, 2))
    array([[1., 2.],
           [2., 3.]])
    """

    def __init__(self, d: int) -> None:
        borders = [*range(0, d, _PANEL), d]
        self._panels = [
            (slice(start, stop), Total((stop - start, stop))) for start, stop in pairwise(borders)
        ]

    def add(self, lower: npt.NDArray[np.floating]) -> None:
        """Add a matrix (d, d); what is above its diagonal does not count."""
        for rows, total in self._panels:
            total.add(lower[rows, : rows.stop])

    def merge(self, other: "SymmetricTotal") -> None:
        """Add another sum."""
        for (_, total), (_, others) in zip(self._panels, other._panels, strict=True):
            total.merge(others)

    def value(self, rows: slice, columns: slice) -> FloatArray:
        """Return a part of the sum in float64; both slices have a start and a stop."""
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start))
        for panel, total in self._panels:
            own, across = _overlap(panel, rows), _overlap(panel, columns)
            if not (len(own) or len(across)):
                continue
            value = total.value()
            square = value[:, panel]  # on the diagonal: its lower triangle is the whole of it
            square[...] = np.tril(square) + np.tril(square, -1).T
            for part, first, second, target in (
                (own, rows, columns, out),
                (across, columns, rows, out.T),
            ):
                until = min(second.stop, panel.stop)
                if len(part) and until > second.start:
                    inside = value[part.start - panel.start : part.stop - panel.start]
                    into = slice(part.start - first.start, part.stop - first.start)
                    target[into, : until - second.start] = inside[:, second.start : until]
        return out


def _overlap(a: slice, b: slice) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))

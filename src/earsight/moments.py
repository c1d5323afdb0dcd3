"""Mergeable sums over rows: all that the closed-form methods need, however large the data.

Rows are shifted by a vector fixed before the pass, multiplied in their own precision in blocks of
4,096, cut at global row numbers whatever the sizes of the batches, and added up in twice float64.
So a fit from batches equals a fit on the whole array bit for bit, two halves of a pass can be
merged, and rows with a mean of 100 lose nothing.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, IntArray
from earsight.errors import InputError

BLOCK = 4096
_CHUNK = 1 << 14  # entries added at a time: the scratch arrays stay in the processor's cache

Columns = tuple[npt.NDArray[Any], ...]


class Blocks:
    """Cuts rows anew: every block has `size` rows, except the last, whatever came in.

    >>> cut = Blocks(size=4)
    >>> [len(x) for batch in (3, 6) for (x,) in cut.push(np.zeros(batch))]
    [4, 4]
    >>> [len(x) for (x,) in cut.rest()]
    [1]
    """

    def __init__(self, size: int = BLOCK) -> None:
        self.size = size
        self._pending: list[Columns] = []
        self._n_pending = 0

    def push(self, *columns: npt.NDArray[Any]) -> Iterator[Columns]:
        """Take rows, given as arrays of one length such as (x, y); yield the blocks they fill."""
        start = 0
        while start < len(columns[0]):
            stop = start + self.size - self._n_pending
            self._pending.append(tuple(column[start:stop] for column in columns))
            self._n_pending += len(self._pending[-1][0])
            start = stop
            if self._n_pending == self.size:
                yield from self.rest()

    def rest(self) -> Iterator[Columns]:
        """Yield what has not filled a block, if anything."""
        parts, self._pending, self._n_pending = self._pending, [], 0
        if len(parts) == 1:
            yield parts[0]
        elif parts:
            yield tuple(map(np.concatenate, zip(*parts, strict=True)))


def first_shift(block: FloatArray) -> FloatArray:
    """Return the vector that a pass subtracts from every row: the mean of its first block."""
    mean: FloatArray = np.ascontiguousarray(block).mean(axis=0, dtype=np.float64)
    return mean.astype(block.dtype)


class Total:
    """A running sum of arrays in twice the precision of float64.

    Each addition keeps its rounding error (Knuth's two-sum), so that the sum does not depend on
    how its terms were grouped: 106 bits are carried and 53 are read.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.high = np.zeros(shape)
        self.low = np.zeros(shape)

    def add(self, term: npt.NDArray[Any]) -> None:
        """Add an array of the sum's shape, of any precision up to float64."""
        high, low, new = self.high.reshape(-1), self.low.reshape(-1), term.reshape(-1)
        for start in range(0, len(high), _CHUNK):
            part = slice(start, start + _CHUNK)
            a, b = high[part], new[part].astype(np.float64)
            total = a + b
            b_seen = total - a
            low[part] += (a - (total - b_seen)) + (b - b_seen)
            high[part] = total

    def merge(self, other: "Total") -> None:
        """Add another sum."""
        self.add(other.high)
        self.low += other.low

    def value(self) -> FloatArray:
        """Return the sum in float64."""
        return np.asarray(self.high + self.low)


class Moments:
    """n, Σx and Σxyᵀ of every pair of paired views, about fixed shifts.

    Memory: 2·(p² + q² + pq) numbers for two views, and a block of rows while one is added.

    Attributes:
        n: Rows so far.
        shifts: modality → (d,) what is subtracted from each row; None: `first_shift` of the first
            block. Two `Moments` that are to be merged need the same.
    """

    def __init__(self, shifts: Mapping[str, FloatArray] | None = None) -> None:
        self.n = 0
        self.shifts: dict[str, FloatArray] = {}
        self._shifted: dict[str, _Shifted] = {}
        self._sums: dict[str, Total] = {}
        self._products: dict[tuple[str, str], Total] = {}
        if shifts is not None:
            self._start(shifts)

    def _start(self, shifts: Mapping[str, FloatArray]) -> None:
        self.shifts = dict(shifts)
        self._shifted = {name: _Shifted(shift) for name, shift in shifts.items()}
        dims = {name: len(shift) for name, shift in shifts.items()}
        self._sums = {name: Total((dim,)) for name, dim in dims.items()}
        self._products = {
            (a, b): Total((dims[a], dims[b])) for a, b in combinations_with_replacement(dims, 2)
        }

    def add(self, block: Mapping[str, FloatArray]) -> None:
        """Add one block of rows, modality → (n, d)."""
        if not self.shifts:
            self._start({name: first_shift(x) for name, x in block.items()})
        shifted = {name: shift(block[name]) for name, shift in self._shifted.items()}
        for name, x in shifted.items():
            self._sums[name].add(x.sum(axis=0, dtype=np.float64))
        for (a, b), total in self._products.items():
            total.add(_product(shifted[a], shifted[b]))
        self.n += len(next(iter(shifted.values())))

    def merge(self, other: "Moments") -> None:
        """Add the rows of another pass; cut at a block's border, nothing tells it from one pass.

        Raises:
            InputError: The passes had different views or shifts.
        """
        _check_same_shifts(self.shifts, other.shifts)
        self.n += other.n
        for name, total in self._sums.items():
            total.merge(other._sums[name])
        for pair, total in self._products.items():
            total.merge(other._products[pair])

    def mean(self, name: str) -> FloatArray:
        """Mean of one view, (d,) float64."""
        return np.asarray(self.shifts[name] + self._sums[name].value() / self.n)

    def covariance(self, a: str, b: str) -> FloatArray:
        """Covariance of two views (or of one with itself), normalised by n, (p, q) float64."""
        mean_a, mean_b = (self._sums[name].value() / self.n for name in (a, b))
        covariance = self._products[a, b].value()
        covariance /= self.n
        covariance -= np.outer(mean_a, mean_b)
        return covariance


class ClassMoments:
    """Sums of one view by class, and its second moment with a weight for each class.

    Memory: 2·(p² + C·p) numbers, and a block of rows while one is added.

    Attributes:
        counts: (C,) rows of each class so far.
        weights: (C,) what a row of each class weighs in the second moment; None: there is none.
        shift: (p,) what is subtracted from each row; None: `first_shift` of the first block.
    """

    def __init__(
        self, n_classes: int, weights: FloatArray | None = None, shift: FloatArray | None = None
    ) -> None:
        self.counts = np.zeros(n_classes, dtype=np.int64)
        self.weights = weights
        self.shift: FloatArray = np.zeros(0)
        if shift is not None:
            self._start(shift)

    def _start(self, shift: FloatArray) -> None:
        p = len(shift)
        self.shift = shift
        self._shifted = _Shifted(shift)
        self._sums = Total((len(self.counts), p))
        self._second = Total((0, 0) if self.weights is None else (p, p))

    def add(self, block: FloatArray, codes: IntArray) -> None:
        """Add one block of rows (n, p) with the number of each row's class, (n,)."""
        if not len(self.shift):
            self._start(first_shift(block))
        x = self._shifted(block)
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        term = np.zeros(self._sums.high.shape)
        term[present] = np.add.reduceat(x[order], starts, axis=0, dtype=np.float64)
        self._sums.add(term)
        self.counts += np.bincount(codes, minlength=len(self.counts))
        if self.weights is not None:
            x *= np.sqrt(self.weights[codes])[:, None].astype(x.dtype)
            self._second.add(_product(x, x))

    def merge(self, other: "ClassMoments") -> None:
        """Add the rows of another pass; cut at a block's border, nothing tells it from one pass.

        Raises:
            InputError: The passes had different shifts, classes or weights.
        """
        _check_same_shifts({"": self.shift}, {"": other.shift})
        mine, theirs = (np.asarray(each.weights) for each in (self, other))
        if not np.array_equal(mine, theirs) or len(self.counts) != len(other.counts):
            raise InputError("Passes can be merged only with the same classes and weights.")
        self.counts += other.counts
        self._sums.merge(other._sums)
        self._second.merge(other._second)

    def sums(self) -> FloatArray:
        """Σ (x − shift) of each class, (C, p) float64."""
        return self._sums.value()

    def second(self) -> FloatArray:
        """Σ w·(x − shift)(x − shift)ᵀ, (p, p) float64, w that of the row's class; needs weights."""
        return self._second.value()


def _check_same_shifts(a: Mapping[str, FloatArray], b: Mapping[str, FloatArray]) -> None:
    if list(a) != list(b) or any(not np.array_equal(a[name], b[name]) for name in a):
        raise InputError("Passes can be merged only with the same views and the same shifts.")


def _product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return aᵀb (p, q) in the rows' precision."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.asarray(a.T @ b)
    if not np.isfinite(product).all():
        raise InputError(
            f"The rows must be small enough to be squared in {a.dtype}; their products overflow. "
            "Scale the features down, or give them as float64."
        )
    return product


class _Shifted:
    """Subtracts in the rows' precision, into one block of memory that is used again and again."""

    def __init__(self, shift: FloatArray) -> None:
        self.shift = shift
        self._rows = np.empty((0, len(shift)), dtype=shift.dtype)

    def __call__(self, block: FloatArray) -> FloatArray:
        if len(self._rows) < len(block):
            self._rows = np.empty(block.shape, dtype=self.shift.dtype)
        return np.subtract(block, self.shift, out=self._rows[: len(block)])

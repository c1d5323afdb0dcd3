"""Mergeable sums over rows: all that the closed-form methods need, however large the data.

Rows are shifted by a vector fixed before the pass, multiplied in their own precision in blocks of
4,096, cut at global row numbers whatever the sizes of the batches, and added up in twice float64.
So a fit from batches equals a fit on the whole array bit for bit, two halves of a pass can be
merged, and rows with a mean of 100 lose nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight import linalg
from earsight.arrays import FloatArray, IntArray
from earsight.compensated_sum import SymmetricTotal, Total
from earsight.errors import InputError

BLOCK = 4096
_FEW = 384  # rows multiplied at a time: with a thousand columns they fit a core's own cache
_TOGETHER = 64  # rows of a covariance that are worked on at a time

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
        self._products: _Products | None = None
        if shifts is not None:
            self._start(shifts)

    def _start(self, shifts: Mapping[str, FloatArray]) -> None:
        self.shifts = dict(shifts)
        borders = np.cumsum([0, *map(len, shifts.values())]).tolist()
        self._spans = dict(zip(shifts, starmap(slice, pairwise(borders)), strict=True))
        self._sums = Total((borders[-1],))
        self._square = SymmetricTotal(borders[-1])

    def add(self, block: Mapping[str, FloatArray]) -> None:
        """Add one block of rows, modality → (n, d).

        Raises:
            InputError: The products overflow.
        """
        if not self.shifts:
            self._start({name: first_shift(x) for name, x in block.items()})
        if self._products is None:
            self._products = _Products([*self.shifts.values()])
        sums = np.zeros(self._sums.high.shape)
        for _, rows in self._products.few([block[name] for name in self.shifts]):
            sums += np.ones(len(rows), rows.dtype) @ rows
            self._products.square(rows)
        self._sums.add(sums)
        self._square.add(self._products.taken())
        self.n += len(next(iter(block.values())))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is only room to work in."""
        return vars(self) | {"_products": None}

    def merge(self, other: "Moments") -> None:
        """Add the rows of another pass; cut at a block's border, nothing tells it from one pass.

        Raises:
            InputError: The passes had different views or shifts.
        """
        _check_same_shifts(self.shifts, other.shifts)
        self.n += other.n
        self._sums.merge(other._sums)
        self._square.merge(other._square)

    def mean(self, name: str) -> FloatArray:
        """Mean of one view, (d,) float64."""
        return np.asarray(self.shifts[name] + self._offset(name))

    def covariance(self, a: str, b: str) -> FloatArray:
        """Covariance of two views (or of one with itself), normalised by n, (p, q) float64."""
        covariance = self._square.value(self._spans[a], self._spans[b])
        first, second = self._offset(a), self._offset(b)
        for start in range(0, len(covariance), _TOGETHER):  # in the cache, without a second matrix
            few = slice(start, start + _TOGETHER)
            covariance[few] /= self.n
            covariance[few] -= first[few, None] * second
        return covariance

    def _offset(self, name: str) -> FloatArray:
        """Return the mean of one view about its shift, (d,)."""
        return self._sums.value()[self._spans[name]] / self.n


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
        self._products: _Products | None = None
        if shift is not None:
            self._start(shift)

    def _start(self, shift: FloatArray) -> None:
        p = len(shift)
        self.shift = shift
        self._sums = Total((len(self.counts), p))
        self._second = SymmetricTotal(0 if self.weights is None else p)

    def add(self, block: FloatArray, codes: IntArray) -> None:
        """Add one block of rows (n, p) with the number of each row's class, (n,).

        Raises:
            InputError: The products overflow.
        """
        if not len(self.shift):
            self._start(first_shift(block))
        if self._products is None:
            self._products = _Products([self.shift])
        term = np.zeros(self._sums.high.shape)
        for part, rows in self._products.few([block]):
            order = np.argsort(codes[part], kind="stable")
            present, starts = np.unique(codes[part][order], return_index=True)
            term[present] += np.add.reduceat(rows[order], starts, axis=0)
            if self.weights is not None:
                rows *= np.sqrt(self.weights[codes[part]])[:, None].astype(rows.dtype)
                self._products.square(rows)
        self._sums.add(term)
        self.counts += np.bincount(codes, minlength=len(self.counts))
        if self.weights is not None:
            self._second.add(self._products.taken())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is only room to work in."""
        return vars(self) | {"_products": None}

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
        return self._second.value(slice(0, len(self.shift)), slice(0, len(self.shift)))


def _check_same_shifts(a: Mapping[str, FloatArray], b: Mapping[str, FloatArray]) -> None:
    if list(a) != list(b) or any(not np.array_equal(a[name], b[name]) for name in a):
        raise InputError("Passes can be merged only with the same views and the same shifts.")


class _Products:
    """XᵀX and Σx of blocks of rows about a shift, a few rows at a time.

    Those few lie in one small buffer, all views side by side, shifted and perhaps weighted: it
    stays in the processor's cache from the subtraction to the product, which is BLAS's own for
    symmetric results. Sums come in the rows' precision over a few hundred rows, and in float64
    beyond; products in the rows' precision over a block.
    """

    def __init__(self, shifts: Sequence[FloatArray]) -> None:
        dtype = np.result_type(*shifts)
        borders = np.cumsum([0, *(len(shift) for shift in shifts)])
        self._spans = [*starmap(slice, pairwise(borders.tolist()))]
        self._shifts = shifts
        self._rows = np.empty((_FEW, borders[-1]), dtype=dtype)
        self._gram = np.zeros((borders[-1], borders[-1]), dtype=dtype)
        self._started = False

    def few(self, block: Sequence[FloatArray]) -> Iterator[tuple[slice, FloatArray]]:
        """Yield which rows and the rows, shifted; they may be changed, and are overwritten next."""
        for start in range(0, len(block[0]), _FEW):
            part = slice(start, min(start + _FEW, len(block[0])))
            rows = self._rows[: part.stop - start]
            with np.errstate(over="ignore"):  # told when the product is taken
                for x, shift, span in zip(block, self._shifts, self._spans, strict=True):
                    np.subtract(x[part], shift, out=rows[:, span])
            yield part, rows

    def square(self, rows: FloatArray) -> None:
        """Add a few rows to the block's product."""
        linalg.add_square(rows, self._gram, keep=self._started)
        self._started = True

    def taken(self) -> FloatArray:
        """Return the block's product (d, d), of which the lower triangle counts; it starts anew.

        Raises:
            InputError: It overflows.
        """
        self._started = False
        dtype = self._gram.dtype
        if not (np.diag(self._gram) < np.finfo(dtype).max / 2).all():  # bounds the others
            raise InputError(
                f"The rows must be small enough to be squared in {dtype}; their products "
                "overflow. Scale the features down, or give them as float64."
            )
        return self._gram

"""Canonical correlation analysis of paired rows."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

from earsight.covariance import Blocks, Moments
from earsight.methods._base import Rows
from earsight.methods._linear.base import LinearCCA, Statistics
from earsight.methods._linear.streaming import Passes, Shifts, Sums


@dataclass(kw_only=True)
class CCA(LinearCCA):
    """Linear maps under which the two halves of a pair correlate most.

        max tr(AᵀΣxyB)  with  AᵀΣxxA = BᵀΣyyB = I

    in closed form, from one pass of sums. Labels are not used.

    Reference: Hotelling, Relations between two sets of variates, 1936.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 4))
    >>> model = CCA(n_components=2, ridge=0).fit({"audio": x, "visual": x[:, ::-1] * 2.0})
    >>> model.correlations_
    array([1., 1.])
    >>> model.transform("visual", x[:1]).shape
    (1, 2)
    """

    name: ClassVar[str] = "cca"

    def _statistics(self, passes: Passes) -> Statistics:
        sums = passes.gather(partial(_PairSums, passes.shifts))
        moments, tally = sums.moments, sums.tally
        x, y = tally.dims
        return Statistics(
            tally=tally,
            means=(moments.mean(x), moments.mean(y)),
            covariances=(
                moments.covariance(x, x),
                moments.covariance(y, y),
                moments.covariance(x, y),
            ),
            units=tally.units(),
            max_rank=moments.n - 1,
            of=f"{moments.n} rows of {tally.dims[x]} and {tally.dims[y]} features",
        )


class _PairSums(Sums):
    """Moments of the paired rows of one part."""

    def __init__(self, shifts: Shifts) -> None:
        super().__init__()
        self.moments = Moments(shifts)
        self._cut = Blocks()

    def _take(self, rows: Rows) -> None:
        for block in self._cut.push(*rows.views.values()):
            self.moments.add(dict(zip(rows.views, block, strict=True)))

    def end(self) -> None:
        for block in self._cut.rest():
            self.moments.add(dict(zip(self.tally.dims, block, strict=True)))

    def _merge(self, other: Self) -> None:
        self.moments.merge(other.moments)

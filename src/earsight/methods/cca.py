"""Canonical correlation analysis of paired rows."""

from dataclasses import dataclass
from typing import ClassVar, Self

from earsight.covariance import Moments
from earsight.methods._base import Rows
from earsight.methods._linear.base import LinearCCA, Statistics
from earsight.methods._linear.streaming import Passes, Sums


@dataclass(kw_only=True)
class CCA(LinearCCA):
    """Linear maps under which the two sides of a pair correlate most.

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
        sums = passes.gather(_PairSums)
        x, y = sums.tally.dims
        mean, covariance = sums.moments.mean(), sums.moments.covariance()
        of_x, of_y = sums.columns(x), sums.columns(y)
        n = sums.moments.n
        return Statistics(
            tally=sums.tally,
            means=(mean[of_x], mean[of_y]),
            covariances=(covariance[of_x, of_x], covariance[of_y, of_y], covariance[of_x, of_y]),
            units=sums.tally.units(),
            max_rank=n - 1,
            of=f"{n} rows of {sums.tally.dims[x]} and {sums.tally.dims[y]} features",
        )


class _PairSums(Sums):
    """Moments of the paired rows of one part, the modalities in the order of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.moments = Moments()

    def columns(self, name: str) -> slice:
        """Return where a modality's columns stand."""
        dims = self.tally.dims
        start = sum(width for other, width in dims.items() if other < name)
        return slice(start, start + dims[name])

    def take(self, rows: Rows) -> None:
        super().take(rows)
        self.moments.add([x for _, x in sorted(rows.views.items())])

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.moments.merge(other.moments)

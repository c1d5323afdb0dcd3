"""Canonical correlation analysis of paired rows."""

from dataclasses import dataclass
from typing import ClassVar

from earsight.methods._linear import LinearCCA, Statistics, Stream, Tally
from earsight.moments import Blocks, Moments


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

    def _statistics(self, stream: Stream, tally: Tally) -> Statistics:
        cut, moments = Blocks(), Moments()
        for rows in tally.watch(stream()):
            for block in cut.push(*rows.views.values()):
                moments.add(dict(zip(rows.views, block, strict=True)))
        for block in cut.rest():
            moments.add(dict(zip(tally.dims, block, strict=True)))
        x, y = tally.dims
        return Statistics(
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

"""CCA over all pairs within a class, without building a pair."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from earsight.methods._linear.base import LinearCCA, Statistics
from earsight.methods._linear.class_sums import class_moments, common_classes
from earsight.methods._linear.streaming import Passes, Sums


@dataclass(kw_only=True)
class ClusterCCA(LinearCCA):
    """CCA in which every row of a class is paired with every row of that class on the other side.

    With nᶜx, nᶜy the class counts, M = Σ nᶜx·nᶜy and S the class sums about the weighted means,

        Σxy = (1/M) Σ_c Sᶜx Sᶜyᵀ,    Σxx = (1/M) Σ_c nᶜy Σ_{i∈c} xᵢxᵢᵀ,    Σyy likewise

    equal explicit pairing. The rank is at most C − 1. Rows need not be paired, and their counts
    may differ; each modality must have every class.

    Reference: Rasiwasia, Mahajan, Mahadevan, Aggarwal, Cluster canonical correlation analysis,
    AISTATS 2014.

    >>> import numpy as np
    >>> x = np.array([[0.0, 1.0], [0.5, 0.0], [2.0, 1.0], [2.5, 0.0]])
    >>> model = ClusterCCA().fit({"audio": x, "visual": -x}, labels=["dog", "dog", "cat", "cat"])
    >>> model.n_components_
    1
    """

    name: ClassVar[str] = "cluster_cca"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    def _statistics(self, passes: Passes) -> Statistics:
        tally = passes.gather(Sums).tally
        classes, counts_x, counts_y = common_classes(self.name, tally)
        n_pairs = float(counts_x @ counts_y)
        weights = dict(zip(tally.dims, (counts_y, counts_x), strict=True))
        means, centred, seconds = [], [], []
        views = class_moments(passes, tally, classes, weights)
        for view, own in zip(views, weights.values(), strict=True):
            offset = own @ view.sums / n_pairs  # (d,) weighted mean about the shift
            means.append(view.shift + offset)
            centred.append(view.sums - view.counts[:, None] * offset)  # (C, d)
            seconds.append(view.second() / n_pairs - np.outer(offset, offset))
        return Statistics(
            tally=tally,
            means=(means[0], means[1]),
            covariances=(seconds[0], seconds[1], centred[0].T @ centred[1] / n_pairs),
            units=tally.units(),
            max_rank=len(classes) - 1,
            of=f"{len(classes)} classes",
        )

"""CCA of the class means: the plainest use of labels."""

from dataclasses import dataclass
from typing import ClassVar

from earsight.methods._linear.base import LinearCCA, Statistics
from earsight.methods._linear.class_sums import class_moments, common_classes
from earsight.methods._linear.streaming import Passes, Sums


@dataclass(kw_only=True)
class MeanCCA(LinearCCA):
    """CCA of C pairs, the means of each class in the two modalities.

        Σxy = (1/C) Σ_c (x̄ᶜ − x̄)(ȳᶜ − ȳ)ᵀ,    Σxx, Σyy likewise,    x̄ = (1/C) Σ_c x̄ᶜ

    Classes count alike, whatever their sizes, and what varies within a class is not seen: without
    a ridge C points correlate perfectly. Independent units are the C means. The rank is at most
    C − 1. Rows need not be paired; each modality must have every class.

    Reference: Rasiwasia, Mahajan, Mahadevan, Aggarwal, Cluster canonical correlation analysis,
    AISTATS 2014, section 3.

    >>> import numpy as np
    >>> x = np.array([[0.0, 1.0], [0.5, 0.0], [2.0, 1.0], [2.5, 0.0]])
    >>> model = MeanCCA(ridge=0).fit({"audio": x, "visual": -x}, labels=[0, 0, 1, 1])
    >>> model.correlations_
    array([1.])
    """

    name: ClassVar[str] = "mean_cca"
    for_comparison_only: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    def _statistics(self, passes: Passes) -> Statistics:
        tally = passes.gather(Sums).tally
        classes, *_ = common_classes(self.name, tally)
        n = len(classes)
        means, centred = [], []
        for view in class_moments(passes, tally, classes):
            offsets = view.sums / view.counts[:, None]  # (C, d) class means about the shift
            means.append(view.shift + offsets.mean(axis=0))
            centred.append(offsets - offsets.mean(axis=0))
        x, y = centred
        return Statistics(
            tally=tally,
            means=(means[0], means[1]),
            covariances=(x.T @ x / n, y.T @ y / n, x.T @ y / n),
            units=(n, n),
            max_rank=n - 1,
            of=f"{n} classes",
        )

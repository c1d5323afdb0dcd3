"""Deep CCA over all pairs within a class."""

from dataclasses import dataclass
from typing import ClassVar

from earsight.methods._deep.deep_cca import DeepCCA


@dataclass(kw_only=True)
class SDCCA(DeepCCA):
    """Networks under which rows of one class correlate most across modalities.

        max ‖Σff^-½ Σfg Σgg^-½‖*    with    Σfg = (1/M) Σ_c Sᶜf Sᶜgᵀ

    over all M = Σ nᶜx·nᶜy pairs within a class: cluster-CCA on top of networks, trained with
    them. Rows need not be paired. At most C − 1 components.

    Batches are drawn class by class. The paper's description and its author's code leave both
    Σff and Σgg unweighted; here they are of the same pairs as Σfg, as in cluster-CCA, which in
    batches drawn class by class is the same up to a factor.

    Reference: Zeng, Yu, Oyama, Audio-visual embedding for cross-modal music video retrieval
    through supervised deep CCA, ISM 2018. Layers, dropout, optimiser and epochs are our own,
    chosen by cross-validation on training rows of Wikipedia.

    >>> import numpy as np
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(size=(60, 2)) + y[:, None]
    >>> model = SDCCA(hidden=(8,), epochs=2)
    >>> model.fit({"audio": x, "visual": x[:50]}, labels={"audio": y, "visual": y[:50]})
    SDCCA(...)
    >>> model.n_components_
    2
    """

    name: ClassVar[str] = "s_dcca"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    def _share_of_pairs(self) -> float:
        return 0.0

"""Deep CCA over true pairs and pairs within a class."""

from dataclasses import dataclass
from typing import ClassVar

from earsight.methods._checks import check_number
from earsight.methods._deep.deep_cca import DeepCCA


@dataclass(kw_only=True)
class CDCCA(DeepCCA):
    """Networks under which true pairs, and rows of one class, correlate most.

        max ‖Σff^-½ Σfg Σgg^-½‖*    with    Σfg = β·Σfg(pairs) + (1 − β)·Σfg(within a class)

    where all moments, means and Σff, Σgg included, are those of one mixture of pairs: with
    chance β a true pair, else any two rows of one class. `s_dcca` is β = 0, `dcca` is β = 1.
    Linear CCA of the same mixture follows.

    Attributes:
        beta: β, from 0 to 1.

    Reference: Yu, Tang, Raposo, Chen, Deep cross-modal correlation learning for audio and lyrics
    in music retrieval, 2018. Layers, dropout, optimiser and epochs are our own, chosen by
    cross-validation on training rows of Wikipedia; β is the author's.

    >>> import numpy as np
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(size=(60, 2)) + y[:, None]
    >>> model = CDCCA(n_components=2, hidden=(8,), epochs=2)
    >>> model.fit({"audio": x, "visual": x**3}, labels=y).transform("visual", x[:1]).shape
    (1, 2)
    """

    name: ClassVar[str] = "c_dcca"
    needs_labels: ClassVar[bool] = True

    beta: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta", self.beta, at_least=0, at_most=1)

    def _share_of_pairs(self) -> float:
        return self.beta

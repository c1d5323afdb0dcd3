"""Deep canonical correlation analysis of paired rows."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from earsight.methods._base import Rows
from earsight.methods._checks import check_choice
from earsight.methods._deep.deep_cca import Canonical, DeepCCA
from earsight.methods.cca import CCA


@dataclass(kw_only=True)
class DCCA(DeepCCA):
    """Networks under which the two sides of a pair correlate most.

        max ‖Σff^-½ Σfg Σgg^-½‖*    over the weights of f and g, on batches of pairs

    (the nuclear norm: the sum of the canonical correlations), then linear CCA. Labels are not
    used; training stops by the correlations of held-out pairs.

    With `start="cca"` a network is the linear map of CCA, which stays, plus layers that start at
    0. Training therefore starts as CCA, and where nothing that it learns helps held-out pairs,
    CCA is what is kept, exactly. (CCA has seen the held-out pairs, the layers have not: what
    replaces it must be better by more than that.) Networks that start at random need many pairs:
    on the 2,173 of Wikipedia they fall below CCA, since 128 columns let them raise the
    correlation of training pairs by learning those pairs.

    Attributes:
        start: "cca" or "random".

    Reference: Andrew, Arora, Bilmes, Livescu, Deep canonical correlation analysis, ICML 2013;
    Wang, Arora, Livescu, Bilmes, On deep multi-view representation learning, ICML 2015 (large
    batches). There the networks start at random.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> model = DCCA(n_components=1, hidden=(8,), epochs=2)
    >>> model.fit({"audio": x, "visual": x**3}).transform("audio", x[:1]).shape
    (1, 1)
    """

    name: ClassVar[str] = "dcca"

    dropout: float = 0.3
    learning_rate: float = 1e-3
    batch_size: int = 500
    start: Literal["cca", "random"] = "cca"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("start", self.start, ("cca", "random"))

    def _share_of_pairs(self) -> float:
        return 1.0

    def _start(self, rows: Rows) -> Canonical | None:
        if self.start == "random" or not self.hidden:
            return None
        linear = CCA(n_components=self.n_components).fit(rows.views)
        return Canonical(linear.mean_, linear.weights_, linear.correlations_)

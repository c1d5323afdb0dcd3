"""Contrast of pairs: each item's paired item against the others of its batch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.methods._base import Rows
from earsight.methods._checks import check_number
from earsight.methods._deep.base import DeepEmbedding, standardisation
from earsight.methods._deep.types import Activation, Batch
from earsight.methods.cca import CCA

if TYPE_CHECKING:
    from torch import Tensor

    from earsight.methods._deep.branches import Branches


@dataclass(kw_only=True)
class Contrastive(DeepEmbedding):
    """CCA, moved on by contrast: a row must find its paired item among those of a batch.

        −½ Σᵢ [log softmaxⱼ(sᵢⱼ / τ)ᵢ + log softmaxⱼ(sⱼᵢ / τ)ᵢ] / b,    sᵢⱼ = cos(f(xᵢ), g(yⱼ))

    (InfoNCE, both ways). Each branch is CCA's linear map, its columns times ρ, plus a small network
    whose last layer is zero at first: training starts from CCA and keeps the epoch with the best
    held-out rank of the paired item, CCA itself included. Below 400 rows (groups, where there are
    any) nothing is held out, so nothing guards it: prefer `cca` there. Rows of one group are
    neither negatives of each other nor each other's answer. Labels are not used.

    Attributes:
        n_components: Width k; None: 10, or the rank of CCA where that is smaller.
        temperature: τ, above 0.
        hidden: Widths of the hidden layers; (): the maps stay linear.

    Reference: van den Oord, Li, Vinyals, Representation learning with contrastive predictive
    coding, 2018; both ways as in Radford et al., CLIP, 2021.

    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> model = Contrastive(epochs=2).fit({"audio": x, "visual": x + 1.0})
    >>> model.transform("audio", x).shape
    (40, 5)
    """

    name: ClassVar[str] = "contrastive"

    learning_rate: float = 3e-3
    batch_size: int = 100
    patience: int | None = 30  # the rank of the paired item falls for some epochs before it rises
    temperature: float = 0.2
    hidden: tuple[int, ...] = (512,)
    activation: Activation = "relu"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("temperature", self.temperature, above=0)

    def _fit(self, rows: Rows) -> None:
        from earsight.methods._deep.branches import Branches
        from earsight.methods._deep.trainer import train

        scales = {name: standardisation(x) for name, x in rows.views.items()}
        views: dict[str, FloatArray] = {
            name: (x - scales[name][0]) * scales[name][1] for name, x in rows.views.items()
        }
        groups = rows.groups and next(iter(rows.groups.values()))
        start = CCA(n_components=self.n_components).fit(views, groups=groups)
        self.n_components_ = start.n_components_
        rows = replace(rows, views=views, labels=None)
        rng = np.random.default_rng(self.seed)
        branches = Branches(self, rows, self.n_components_, rng, skip=bool(self.hidden))
        for name, weights in start.weights_.items():
            branches.networks[name].start_as(weights * start.correlations_)
        train(self, rows, _Problem(branches, self.temperature))
        branches.store(self, scales)


class _Problem:
    """What `train` trains: the two branches."""

    def __init__(self, branches: "Branches", temperature: float) -> None:
        self.branches, self.module = branches, branches.module
        self.temperature = temperature

    def loss(self, batch: Batch) -> "Tensor":
        first, second = self.branches(batch).values()
        group = None if batch.groups is None else next(iter(batch.groups.values()))
        return info_nce(first, second, self.temperature, group)

    def points(self, kept: Rows, held: Rows) -> dict[str, FloatArray]:
        return self.branches.outputs(held)


def info_nce(
    first: "Tensor", second: "Tensor", temperature: float, group: "Tensor | None" = None
) -> "Tensor":
    """Return the contrastive loss of paired rows, mean over rows and both directions.

    Args:
        first, second: (b, k), row i of both is one clip.
        temperature: What cosines are divided by.
        group: (b,) whole numbers; other rows of one group are left out of the softmax.
    """
    import torch
    from torch.nn import functional

    logits = functional.normalize(first) @ functional.normalize(second).T / temperature  # (b, b)
    if group is not None:
        related = group[:, None] == group
        logits = logits.masked_fill(related.fill_diagonal_(False), -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    both_ways = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)
    return both_ways / 2

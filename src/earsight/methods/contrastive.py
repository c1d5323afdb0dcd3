"""Contrast of pairs: each clip's own half against the other halves of its batch."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.methods._base import Rows, check_number
from earsight.methods._deep.base import (
    Activation,
    Arrays,
    DeepEmbedding,
    check_layers,
    check_network,
    run_network,
    standardisation,
)
from earsight.methods.cca import CCA

if TYPE_CHECKING:
    from torch import Tensor, nn

    from earsight.methods._deep.encoders import Poolers
    from earsight.methods._deep.trainer import Batch


@dataclass(kw_only=True)
class Contrastive(DeepEmbedding):
    """CCA, moved on by contrast: a row must find its own half among those of a batch.

        −½ Σᵢ [log softmaxⱼ(sᵢⱼ / τ)ᵢ + log softmaxⱼ(sⱼᵢ / τ)ᵢ] / b,    sᵢⱼ = cos(f(xᵢ), g(yⱼ))

    (InfoNCE, both ways). Each branch is CCA's linear map, its columns times ρ, plus a small network
    whose last layer is zero at first: training starts from CCA and keeps the epoch with the best
    held-out rank of the own half, CCA itself included. Below 400 rows (groups, where there are
    any) nothing is held out, so nothing guards it: prefer `cca` there. Rows of one group are
    neither negatives of each other nor each other's answer. Labels are not used.

    Attributes:
        n_components: Width k; None: 10, or the rank of CCA where that is smaller.
        temperature: τ, above 0.
        hidden: Widths of the hidden layers; (): the maps stay linear.
        activation, dropout: After each hidden layer.
        networks_: modality → its network.

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
    patience: int | None = 30  # the rank of the own half falls for some epochs before it rises
    temperature: float = 0.2
    hidden: tuple[int, ...] = (512,)
    activation: Activation = "relu"
    dropout: float = 0.1
    networks_: dict[str, Arrays] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("temperature", self.temperature, above=0)
        check_layers(self.hidden, self.activation, self.dropout)

    def _fit(self, rows: Rows) -> None:
        from torch import nn

        from earsight.methods._deep.encoders import Poolers
        from earsight.methods._deep.trainer import train

        scales = {name: standardisation(x) for name, x in rows.views.items()}
        views: dict[str, FloatArray] = {
            name: (x - scales[name][0]) * scales[name][1] for name, x in rows.views.items()
        }
        groups = rows.groups and next(iter(rows.groups.values()))
        start = CCA(n_components=self.n_components).fit(views, groups=groups)
        self.n_components_ = start.n_components_
        rng = np.random.default_rng(self.seed)
        maps = {name: w * start.correlations_ for name, w in start.weights_.items()}
        poolers = Poolers(self.pooling, rows, np.random.default_rng([self.seed, 1]))
        networks = {
            name: self._branch(np.pad(weights, ((0, poolers.columns(name)), (0, 0))), rng)
            for name, weights in maps.items()
        }
        problem = _Problem(nn.ModuleList(networks.values()), poolers, self.temperature)
        train(self, replace(rows, views=views, labels=None), problem)
        if rows.steps:
            self.encoders_ = poolers.arrays()
        self.networks_ = {name: net.arrays(*scales[name]) for name, net in networks.items()}

    def _branch(self, start: FloatArray, rng: np.random.Generator) -> "nn.Module":
        """Return a network that begins as a linear map (d, k) of standardised rows."""
        import torch

        from earsight.methods._deep.network import Network

        network = Network(
            (len(start), *self.hidden, self.n_components_),
            activation=self.activation,
            dropout=self.dropout,
            skip=bool(self.hidden),
            rng=rng,
        )
        with torch.no_grad():
            network.layers[-1].weight.zero_()
            linear = network.layers[-1].weight if network.skip is None else network.skip
            linear.copy_(torch.from_numpy(start.T))
        return network

    def _check_learned(self) -> None:
        super()._check_learned()
        for modality, columns in self._check_encoders().items():
            width = self.dims_[modality] + columns
            check_network(self.networks_[modality], width, self.n_components_)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return run_network(self.networks_[modality], x)


@dataclass
class _Problem:
    """What `train` trains: the two branches, and what reads sequences before them."""

    branches: "nn.ModuleList"
    poolers: "Poolers"
    temperature: float

    def __post_init__(self) -> None:
        from torch import nn

        self.module = nn.ModuleList([*self.branches, self.poolers])

    def loss(self, batch: "Batch") -> "Tensor":
        views = self.poolers(batch.views, batch.steps)
        first, second = (net(x) for net, x in zip(self.branches, views.values(), strict=True))
        group = None if batch.groups is None else next(iter(batch.groups.values()))
        return info_nce(first, second, self.temperature, group)

    def points(self, kept: Rows, held: Rows) -> dict[str, FloatArray]:
        from earsight.methods._deep.network import outputs

        return {
            name: outputs(net, x)
            for net, (name, x) in zip(self.branches, self.poolers.rows(held).items(), strict=True)
        }


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

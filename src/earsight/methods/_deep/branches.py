"""A network for each modality, with what reads sequences before it: what most methods train."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from earsight.arrays import FloatArray
from earsight.methods._base import Rows
from earsight.methods._deep.base import DeepEmbedding
from earsight.methods._deep.encoders import Poolers
from earsight.methods._deep.network import Network, outputs
from earsight.methods._deep.types import Batch

Scales = Mapping[str, tuple[FloatArray, FloatArray]]


class Branches:
    """One network for each modality, modality → (b, k).

    Args:
        model: Tells the hidden layers, and how sequences are read.
        rows: What is learned from, as it enters the networks.
        width: k.
        rng: Draws the weights of the networks, in the order of the modalities.
        output, skip: As for `Network`.
    """

    def __init__(
        self,
        model: DeepEmbedding,
        rows: Rows,
        width: int,
        rng: np.random.Generator,
        *,
        output: str = "none",
        skip: bool = False,
    ) -> None:
        self.poolers = Poolers(model.pooling, rows, np.random.default_rng([model.seed, 1]))
        self.networks = {
            name: Network(
                (x.shape[1] + self.poolers.columns(name), *model.hidden, width),
                activation=model.activation,
                output=output,
                dropout=model.dropout,
                skip=skip,
                rng=rng,
            )
            for name, x in rows.views.items()
        }
        self.module = nn.ModuleList([*self.networks.values(), self.poolers])

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of a batch, modality → (b, k)."""
        views = self.poolers(batch.views, batch.steps)
        return {name: self.networks[name](x) for name, x in views.items()}

    def outputs(self, rows: Rows) -> dict[str, FloatArray]:
        """Return the outputs of all rows without gradients, modality → (n, k)."""
        views = self.poolers.rows(rows)
        return {name: outputs(self.networks[name], x) for name, x in views.items()}

    def store(self, model: DeepEmbedding, scales: Scales) -> None:
        """Give a model what was learned, as arrays, with the standardisation of its rows."""
        if self.poolers.names:
            model.encoders_ = self.poolers.arrays()
        model.networks_ = {
            name: network.arrays(*scales[name]) for name, network in self.networks.items()
        }

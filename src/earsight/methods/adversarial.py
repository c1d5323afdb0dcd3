"""The paper's plan: features generated from the other view, against a network of triplets."""

import math
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
from earsight.methods._linear.class_sums import check_two_classes

if TYPE_CHECKING:
    from torch import Tensor

    from earsight.methods._deep.encoders import Poolers
    from earsight.methods._deep.trainer import Batch

Views = dict[str, "Tensor"]


@dataclass(kw_only=True)
class Adversarial(DeepEmbedding):
    """An embedding that also learns from features generated under a discriminator of triplets.

    With an encoder E, a generator G and a discriminator D for each view:

    * x̃ = G(E′(x′)) are features of a view made from the other view's rows x′, through their points.
    * The embedding minimises the triplet loss across views, both ways, in which every clip stands
      with its originals E(x) and what was generated, E(x̃), all of unit length.
    * D minimises the triplet loss whose anchors and positives are originals x of one class, and
      whose negatives are originals of other classes and the x̃ of the same class: its space must
      tell them apart.
    * The gradient of D's loss goes on to x̃ times −λ, and so to the generator and through it to the
      encoder of the other view; λ = strength·(2 / (1 + e^(−10 p)) − 1), p the share of the training
      that is over.

    Rows need not be paired, and pairs are not used; unpaired batches are drawn class by class.

    Attributes:
        n_components: Width of the points; None: 10.
        margin: Of all triplets, in squared distance of unit vectors; above 0.
        strength: Of the adversary; 0: the embedding never hears of it.
        hidden: Widths of the hidden layers of each network.
        activation, dropout: After each hidden layer.
        networks_: modality → its encoder.

    References: Zeng, Yu, Oyama, Deep triplet neural networks with cluster-CCA for audio-visual
    cross-modal retrieval, 2020 (its outlook); Wang et al., Adversarial cross-modal retrieval,
    2017; λ as in Ganin, Lempitsky, Unsupervised domain adaptation by backpropagation, 2015.

    >>> x = np.array([[0.0, 1.0], [0.5, 0.0], [2.0, 1.0], [2.5, 0.0]])
    >>> labels = ["dog", "dog", "cat", "cat"]
    >>> model = Adversarial(epochs=2).fit({"audio": x, "visual": -x}, labels=labels)
    >>> model.transform("visual", x).shape
    (4, 10)
    """

    name: ClassVar[str] = "adversarial"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    batch_size: int = 64
    margin: float = 1.0
    strength: float = 1.0
    hidden: tuple[int, ...] = (100,)
    activation: Activation = "tanh"
    dropout: float = 0.5
    networks_: dict[str, Arrays] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("margin", self.margin, above=0)
        check_number("strength", self.strength, at_least=0)
        check_layers(self.hidden, self.activation, self.dropout)

    def _fit(self, rows: Rows) -> None:
        from earsight.methods._deep.encoders import Poolers
        from earsight.methods._deep.trainer import train

        check_two_classes(self.name, rows)
        self.n_components_ = self.n_components or 10
        scales = {name: standardisation(x) for name, x in rows.views.items()}
        views: dict[str, FloatArray] = {
            name: (x - scales[name][0]) * scales[name][1] for name, x in rows.views.items()
        }
        poolers = Poolers(self.pooling, rows, np.random.default_rng([self.seed, 1]))
        problem = Game(self, {name: x.shape[1] for name, x in views.items()}, poolers)
        train(self, replace(rows, views=views), problem)
        if rows.steps:
            self.encoders_ = poolers.arrays()
        self.networks_ = {
            name: encoder.arrays(*scales[name]) for name, encoder in problem.encoders.items()
        }

    def _check_learned(self) -> None:
        super()._check_learned()
        for modality, columns in self._check_encoders().items():
            width = self.dims_[modality] + columns
            check_network(self.networks_[modality], width, self.n_components_)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return run_network(self.networks_[modality], x)


class Game:
    """What `train` trains: encoders and generators against discriminators.

    Attributes:
        encoders, generators, discriminators: modality → its network; a generator takes points of
            the other modality.
        poolers: What reads sequences. No sequence is generated: the columns that are read in one
            are 0, their mean, in generated rows, and the discriminators do not see them. If they
            did, the adversary would keep the encoders from reading.
        module: All of them.
    """

    def __init__(self, model: Adversarial, widths: dict[str, int], poolers: "Poolers") -> None:
        from torch import nn

        from earsight.methods._deep.network import Network

        self.model, self.poolers = model, poolers
        k, hidden = model.n_components or 10, model.hidden
        rng = np.random.default_rng(model.seed)

        def network(*widths: int) -> Network:
            return Network(widths, activation=model.activation, dropout=model.dropout, rng=rng)

        self.encoders = {
            name: network(d + poolers.columns(name), *hidden, k) for name, d in widths.items()
        }
        self.generators = {name: network(k, *hidden, d) for name, d in widths.items()}
        self.discriminators = {name: network(d, *hidden, k) for name, d in widths.items()}
        parts = (self.encoders, self.generators, self.discriminators)
        networks = [net for part in parts for net in part.values()]
        self.module = nn.ModuleList([*networks, poolers])

    def loss(self, batch: "Batch") -> "Tensor":
        """Return the embedding's loss and the discriminators', with the reversal between."""
        labels = batch.labels or {}
        weight = self.model.strength * (2 / (1 + math.exp(-10 * batch.progress)) - 1)
        points = self.embed(self.poolers(batch.views, batch.steps))
        made = self.generate(points)
        told = self.telling_apart(batch.views, reverse(made, weight), labels)
        return self.embedding(points, self.embed(self._unread(made)), labels) + told

    def embed(self, views: Views) -> Views:
        """Return the unit-length points of each view, (b, k)."""
        return {name: _unit(self.encoders[name](x)) for name, x in views.items()}

    def _unread(self, made: Views) -> Views:
        """Return generated rows with zeros where a sequence's columns would be."""
        from torch.nn.functional import pad

        return {name: pad(x, (0, self.poolers.columns(name))) for name, x in made.items()}

    def generate(self, points: Views) -> Views:
        """Return features of each view, made from the other view's points."""
        first, second = points
        return {
            first: self.generators[first](points[second]),
            second: self.generators[second](points[first]),
        }

    def embedding(self, points: Views, made: Views, labels: Views) -> "Tensor":
        """Return the triplet loss across views, of originals and generated rows together."""
        import torch

        from earsight.methods._deep.triplets import cross_triplet_loss

        one, other = points
        first = torch.cat([points[one], made[one]])
        second = torch.cat([points[other], made[other]])
        own = torch.cat([labels[one], labels[other]])  # what was generated has its source's class
        same = own[:, None] == torch.cat([labels[other], labels[one]])
        return cross_triplet_loss(first, second, same, margin=self.model.margin, anchors="both")

    def telling_apart(self, views: Views, made: Views, labels: Views) -> "Tensor":
        """Return the discriminators' loss, mean over the views."""
        import torch

        from earsight.methods._deep.triplets import triplet_loss

        total = 0.0
        for (name, x), source in zip(views.items(), reversed(views), strict=True):
            discriminator = self.discriminators[name]
            real, false = _unit(discriminator(x)), _unit(discriminator(made[name]))
            alike = labels[name][:, None] == labels[name]  # (b, b)
            as_made = labels[name][:, None] == labels[source]  # (b, b′)
            itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
            total = total + triplet_loss(
                real,
                torch.cat([real, false]),
                torch.cat([alike & ~itself, torch.zeros_like(as_made)], dim=1),
                different=torch.cat([~alike, as_made], dim=1),
                margin=self.model.margin,
            )
        return total / len(views)

    def points(self, kept: Rows, held: Rows) -> dict[str, FloatArray]:
        """Map held-out rows, modality → (n, k)."""
        from earsight.methods._deep.network import outputs

        rows = self.poolers.rows(held)
        return {name: outputs(self.encoders[name], x) for name, x in rows.items()}


def reverse(made: Views, weight: float) -> Views:
    """Return the same values, with gradients times −weight."""
    return {name: (1 + weight) * x.detach() - weight * x for name, x in made.items()}


def _unit(x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.normalize(x)

"""The paper's plan: features generated from the other view, against a network of triplets."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.methods._base import Rows
from earsight.methods._checks import check_number
from earsight.methods._deep.base import DeepEmbedding, standardisation, standardised
from earsight.methods._deep.types import Activation, Batch
from earsight.methods._linear.class_sums import check_two_classes

if TYPE_CHECKING:
    from torch import Tensor

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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("margin", self.margin, above=0)
        check_number("strength", self.strength, at_least=0)

    def _fit(self, rows: Rows) -> None:
        from earsight.methods._deep.trainer import train

        check_two_classes(self.name, rows)
        self.n_components_ = self.n_components or 10
        scales = {name: standardisation(x) for name, x in rows.views.items()}
        rows = replace(
            rows, views={name: standardised(x, *scales[name]) for name, x in rows.views.items()}
        )
        game = Game(self, rows)
        train(self, rows, game)
        game.branches.store(self, scales)


class Game:
    """What `train` trains: encoders and generators against discriminators.

    Attributes:
        branches: The encoders, and what reads sequences. No sequence is generated: the columns
            that are read in one are 0, their mean, in generated rows, and the discriminators do
            not see them. If they did, the adversary would keep the encoders from reading.
        encoders, generators, discriminators: modality → its network; a generator takes points of
            the other modality.
        module: All of them.
    """

    def __init__(self, model: Adversarial, rows: Rows) -> None:
        from torch import nn

        from earsight.methods._deep.branches import Branches
        from earsight.methods._deep.network import Network

        self.model = model
        k, hidden = model.n_components or 10, model.hidden
        rng = np.random.default_rng(model.seed)

        def networks(*, after: bool) -> dict[str, Network]:
            """Return networks from or to the width of each view."""
            return {
                name: Network(
                    (k, *hidden, x.shape[1]) if after else (x.shape[1], *hidden, k),
                    activation=model.activation,
                    dropout=model.dropout,
                    rng=rng,
                )
                for name, x in rows.views.items()
            }

        self.branches = Branches(model, rows, k, rng)
        self.encoders = self.branches.networks
        self.generators, self.discriminators = networks(after=True), networks(after=False)
        parts = (self.encoders, self.generators, self.discriminators)
        every = [network for part in parts for network in part.values()]
        self.module = nn.ModuleList([*every, self.branches.poolers])

    def loss(self, batch: Batch) -> "Tensor":
        """Return the embedding's loss and the discriminators', with the reversal between."""
        labels = batch.labels or {}
        weight = self.model.strength * (2 / (1 + math.exp(-10 * batch.progress)) - 1)
        points = _unit_rows(self.branches(batch))
        made = self.generate(points)
        told = self.telling_apart(batch.views, reverse(made, weight), labels)
        return self.embedding(points, self.embed(self._unread(made)), labels) + told

    def embed(self, views: Views) -> Views:
        """Return the unit-length points of each view, (b, k)."""
        return _unit_rows({name: self.encoders[name](x) for name, x in views.items()})

    def _unread(self, made: Views) -> Views:
        """Return generated rows with zeros where a sequence's columns would be."""
        from torch.nn.functional import pad

        return {name: pad(x, (0, self.branches.poolers.columns(name))) for name, x in made.items()}

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
        return self.branches.outputs(held)


def reverse(made: Views, weight: float) -> Views:
    """Return the same values, with gradients times −weight."""
    return {name: (1 + weight) * x.detach() - weight * x for name, x in made.items()}


def _unit_rows(views: Views) -> Views:
    return {name: _unit(x) for name, x in views.items()}


def _unit(x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.normalize(x)

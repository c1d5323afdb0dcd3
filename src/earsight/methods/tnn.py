"""The triplet network of the paper: Cluster-CCA's points, rearranged by triplets."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from earsight.arrays import FloatArray
from earsight.methods._base import Rows
from earsight.methods._checks import check_array, check_choice, check_number
from earsight.methods._deep.base import DeepEmbedding, run_network, standardisation, standardised
from earsight.methods._deep.types import Activation, Batch
from earsight.methods._linear.class_sums import check_two_classes
from earsight.methods.cluster_cca import ClusterCCA

if TYPE_CHECKING:
    from torch import Tensor

    from earsight.methods._deep.branches import Branches

CENTRE = 0.5  # of the outputs, which lie between sigmoid(-1) and sigmoid(1)


@dataclass(kw_only=True)
class TNN(DeepEmbedding):
    """A triplet network on each view's Cluster-CCA, or on the features themselves.

        mean over all triplets of a batch of max(0, ‖a − p‖² − ‖a − n‖² + margin)

    with an anchor a of one view, a positive p and a negative n of the other. As published: the
    input is Cluster-CCA at its own rank, the first view (audio) gives the anchors, all triplets
    count; each branch has three hidden layers of 100 with tanh and dropout, ten outputs with tanh
    and then sigmoid, Adam at 1e-3, batches of 45, ten epochs, no early stopping. Two things are
    ours. Batches are shuffled. And 0.5 is taken from the outputs: they lie around it, no distance
    notices, but the cosine, which ranks, then measures angles about their middle.

    Rows need not be paired, and pairs are not used; unpaired batches are drawn class by class.

    Attributes:
        n_components: Width of the outputs; None: 10.
        input: "cluster_cca", or "raw": the features, each column at unit variance.
        anchors: Which view's rows are anchors, in the order of the views; "both": the mean of both.
        mining: "all" triplets; "hard": for each anchor its farthest positive with its nearest
            negative; "semi-hard": those whose negative is farther than the positive, but within
            the margin. Hard triplets from the first step collapse on noisy classes: try "all".
        margin: In squared distance; above 0. No distance exceeds 0.21 a component.
        input_: modality → the Cluster-CCA before it, "mean" (d,) and "weights" (d, rank); empty
            for "raw".

    Reference: Zeng, Yu, Oyama, Deep triplet neural networks with cluster-CCA for audio-visual
    cross-modal retrieval, 2020.

    >>> x = np.array([[0.0, 1.0], [0.5, 0.0], [2.0, 1.0], [2.5, 0.0]])
    >>> model = TNN(epochs=2).fit({"audio": x, "visual": -x}, labels=["dog", "dog", "cat", "cat"])
    >>> model.transform("visual", x).shape
    (4, 10)
    """

    name: ClassVar[str] = "tnn"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    batch_size: int = 45
    epochs: int = 10
    patience: int | None = None
    input: Literal["cluster_cca", "raw"] = "cluster_cca"
    anchors: Literal["first", "second", "both"] = "first"
    mining: Literal["all", "hard", "semi-hard"] = "all"
    margin: float = 0.5
    hidden: tuple[int, ...] = (100, 100, 100)
    activation: Activation = "tanh"
    dropout: float = 0.1
    input_: dict[str, dict[str, FloatArray]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("input", self.input, ("cluster_cca", "raw"))
        check_choice("anchors", self.anchors, ("first", "second", "both"))
        check_choice("mining", self.mining, ("all", "hard", "semi-hard"))
        check_number("margin", self.margin, above=0)

    def _fit(self, rows: Rows) -> None:
        from earsight.methods._deep.branches import Branches
        from earsight.methods._deep.trainer import train

        check_two_classes(self.name, rows)
        self.n_components_ = self.n_components or 10
        self.input_ = {} if self.input == "raw" else _cluster_cca(rows)
        views = {name: self._enter(name, x) for name, x in rows.views.items()}
        scales = {name: standardisation(x) for name, x in views.items()}
        rows = replace(
            rows, views={name: standardised(x, *scales[name]) for name, x in views.items()}
        )
        rng = np.random.default_rng(self.seed)
        branches = Branches(self, rows, self.n_components_, rng, output="tanh-sigmoid")
        train(self, rows, _Problem(self, branches))
        branches.store(self, scales)

    def _enter(self, modality: str, x: FloatArray) -> FloatArray:
        """Return what the network of a modality takes, before it is standardised."""
        if not self.input_:
            return x
        own = self.input_[modality]
        d = len(own["mean"])
        linear = (x[:, :d] - own["mean"]) @ own["weights"]
        return np.asarray(np.hstack([linear, x[:, d:]]))  # what was read in sequences as it is

    def _network_size(self, modality: str) -> tuple[int, int]:
        width, outputs = super()._network_size(modality)
        if self.input_:
            width = self.input_[modality]["weights"].shape[1]
        return width, outputs

    def _check_learned(self) -> None:
        super()._check_learned()
        for modality, own in self.input_.items():
            d, width = self.dims_[modality], own["weights"].shape[1]
            check_array("mean", own["mean"], d)
            check_array("weights", own["weights"], d, width)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return run_network(self.networks_[modality], self._enter(modality, x)) - CENTRE


class _Problem:
    """What `train` trains: the two branches."""

    def __init__(self, model: TNN, branches: "Branches") -> None:
        self.model, self.branches, self.module = model, branches, branches.module

    def loss(self, batch: Batch) -> "Tensor":
        from earsight.methods._deep.triplets import cross_triplet_loss

        first, second = self.branches(batch).values()
        own, other = (batch.labels or {}).values()
        return cross_triplet_loss(
            first,
            second,
            own[:, None] == other,
            margin=self.model.margin,
            anchors=self.model.anchors,
            mining=self.model.mining,
        )

    def points(self, kept: Rows, held: Rows) -> dict[str, FloatArray]:
        return {name: z - CENTRE for name, z in self.branches.outputs(held).items()}


def _cluster_cca(rows: Rows) -> dict[str, dict[str, FloatArray]]:
    """Return modality → the linear map of Cluster-CCA at its own rank, unweighted."""

    def fitted(n_components: int | None) -> ClusterCCA:
        model = ClusterCCA(n_components=n_components, weighting="none")
        return model.fit(rows.views, rows.labels, rows.groups)

    model = fitted(None)
    if model.n_components_ < model.rank_:
        model = fitted(model.rank_)
    return {
        name: {"mean": model.mean_[name], "weights": model.weights_[name]} for name in rows.views
    }

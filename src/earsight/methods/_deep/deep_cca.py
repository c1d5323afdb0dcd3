"""What `dcca`, `c_dcca` and `s_dcca` share: two networks, and linear CCA of what they give."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from earsight import linalg
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.methods._base import Rows
from earsight.methods._checks import check_array, check_choice, check_number, resolve_components
from earsight.methods._deep.base import (
    DeepEmbedding,
    run_network,
    standardisation,
    standardised,
)
from earsight.methods._deep.types import Activation, Batch
from earsight.methods._linear.class_sums import common_classes
from earsight.methods._linear.streaming import Tally

if TYPE_CHECKING:
    from torch import Tensor

_ROWS_PER_COMPONENT = 4  # in a batch, at least: with fewer any outputs seem to correlate


@dataclass(frozen=True)
class Canonical:
    """Linear CCA, of columns or of networks' outputs.

    Attributes:
        means, weights: modality → (d,) and (d, r).
        correlations: (r,) descending.
    """

    means: Mapping[str, FloatArray]
    weights: Mapping[str, FloatArray]
    correlations: FloatArray


@dataclass(kw_only=True)
class DeepCCA(DeepEmbedding):
    """Base of the deep CCA family: one objective, each method its own pairs.

    Two networks f and g maximise the sum of the canonical correlations of f(x) and g(y) over the
    pairs of a batch: the nuclear norm of T = Σff^-½ Σfg Σgg^-½, with Σ + r·(tr Σ/k)·I for Σff
    and Σgg. Then linear CCA over the same pairs of all training rows:

        z = (f(x) − μ) A · diag(ρ)

    Columns of x are standardised by the training rows; that replaces a batch norm on the input.

    Attributes:
        ridge: r > 0, in units of the mean variance of the outputs.
        weighting: "correlation" multiplies each side's columns by ρ; "none" leaves them.
        mean_, weights_: modality → (k′,) and (k′, k) of the linear CCA at the end.
        correlations_: (k,) ρ on the training rows, descending: those of networks that know them.
    """

    hidden: tuple[int, ...] = (512, 256)
    activation: Activation = "relu"
    dropout: float = 0.7
    learning_rate: float = 2e-3
    batch_size: int = 300
    epochs: int = 100
    patience: int | None = 20
    ridge: float = 1e-3
    weighting: Literal["correlation", "none"] = "correlation"

    mean_: dict[str, FloatArray] = field(init=False, repr=False, compare=False)
    weights_: dict[str, FloatArray] = field(init=False, repr=False, compare=False)
    correlations_: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("ridge", self.ridge, above=0)
        check_choice("weighting", self.weighting, ("correlation", "none"))

    @abstractmethod
    def _share_of_pairs(self) -> float:
        """Return β: the share of true pairs; the others are pairs of one class."""

    def _start(self, rows: Rows) -> Canonical | None:
        """Return the linear CCA to which the networks add; None, as a rule: there is none."""
        return None

    def _fit(self, rows: Rows) -> None:
        from earsight.methods._deep.trainer import train

        beta = self._share_of_pairs()
        standard = {name: standardisation(x) for name, x in rows.views.items()}
        for name, (_, scale) in standard.items():
            if not scale.any():
                raise InputError(f"{self.name} needs views that vary; in {name!r} nothing does.")
        rows = replace(
            rows,
            views={name: standardised(x, *standard[name]) for name, x in rows.views.items()},
            labels=None if beta == 1 else rows.labels,
        )
        start = self._start(rows)
        width, of = self._width(rows, start)
        problem = _Problem(self, rows, width, start)
        if beta == 1:
            train(self, rows, problem, score=held_out_correlation)
        else:
            train(self, rows, problem, by_class=True)
        last = problem.canonical(rows)
        if start is not None and self.best_epoch_ == 0:  # what was learned is left out
            last = _as_it_is(start, width)
        if not len(last.correlations):
            raise InputError(f"{self.name} needs views that vary together; on {of} nothing does.")
        k = resolve_components(self.n_components, len(last.correlations), f"{self.name} on {of}")
        problem.branches.store(self, standard)
        self.n_components_ = k
        self.correlations_ = last.correlations[:k]
        self.mean_ = dict(last.means)
        self.weights_ = {name: w[:, :k] for name, w in last.weights.items()}

    def _width(self, rows: Rows, start: Canonical | None) -> tuple[int, str]:
        """Return how many outputs a network has, and what limits them in words."""
        n = min(len(x) for x in rows.views.values())
        rank, of = n - 1, f"{n} rows"
        if rows.labels is not None:
            classes, *_ = common_classes(self.name, Tally.of(rows))
            if self._share_of_pairs() == 0:
                rank, of = len(classes) - 1, f"{len(classes)} classes"
        if not self.hidden:
            rank = min(rank, *(x.shape[1] for x in rows.views.values()))
        if start is not None:
            rank = min(rank, len(start.correlations))
        if rank < 1:
            raise InputError(f"{self.name} needs at least two rows; got {of}.")
        width = resolve_components(self.n_components, rank, f"{self.name} on {of}")
        if self.batch_size < _ROWS_PER_COMPONENT * width and self.batch_size < n:
            raise InputError(
                f"`batch_size` must be at least {_ROWS_PER_COMPONENT} times the {width} "
                f"components, {_ROWS_PER_COMPONENT * width}: in a small batch any outputs "
                f"correlate; got {self.batch_size}."
            )
        return width, of

    def _network_size(self, modality: str) -> tuple[int, int]:
        return self.dims_[modality], len(self.mean_[modality])

    def _check_learned(self) -> None:
        super()._check_learned()
        k = self.n_components_
        check_array("correlations_", self.correlations_, k)
        for modality in self.dims_:
            width = len(self.mean_[modality])
            check_array("mean_", self.mean_[modality], width)
            check_array("weights_", self.weights_[modality], width, k)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        outputs = run_network(self.networks_[modality], x)
        z: FloatArray = (outputs - self.mean_[modality]) @ self.weights_[modality]
        return z * self.correlations_ if self.weighting == "correlation" else z


def held_out_correlation(points: Mapping[str, FloatArray], rows: Rows) -> float:
    """Sum over the components of the correlation between the two sides of held-out pairs.

    Ranks of single clips among a few hundred are too noisy to tell CCA from what is no better.
    """
    x, y = (z - z.mean(0) for z in points.values())
    product, spread = (x * y).sum(0), np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return float(np.divide(product, spread, out=np.zeros_like(product), where=spread > 0).sum())


class _Problem:
    """The networks, their loss, and the points they give (see `types.Problem`)."""

    def __init__(self, model: DeepCCA, rows: Rows, width: int, start: Canonical | None) -> None:
        from earsight.methods._deep.branches import Branches

        self.model, self.beta = model, model._share_of_pairs()
        rng = np.random.default_rng([model.seed, 0])
        self.branches = Branches(model, rows, width, rng, skip=start is not None)
        self.module = self.branches.module
        for name, weights in () if start is None else start.weights.items():
            self.branches.networks[name].start_as(weights[:, :width], fixed=True)

    def loss(self, batch: Batch) -> "Tensor":
        """Return minus the sum of the canonical correlations."""
        from earsight.methods._deep.losses import pair_covariances, total_correlation

        f, g = self.branches(batch).values()  # (b, k) each
        codes = None
        if batch.labels is not None:
            first, second = batch.labels.values()
            codes = (first, second)
        return -total_correlation(pair_covariances(f, g, codes, self.beta), self.model.ridge)

    def points(self, kept: Rows, held: Rows) -> dict[str, FloatArray]:
        """Map held-out rows by the networks, and by the CCA of the other rows' outputs."""
        last = self.canonical(kept)
        rho = last.correlations if self.model.weighting == "correlation" else 1.0
        return {
            name: (h - last.means[name]) @ last.weights[name] * rho
            for name, h in self.branches.outputs(held).items()
        }

    def canonical(self, rows: Rows) -> Canonical:
        """Return the linear CCA of the outputs, over the same pairs as in the loss."""
        import torch

        from earsight.methods._deep.losses import pair_covariances

        outputs = self.branches.outputs(rows)
        f, g = (torch.from_numpy(h) for h in outputs.values())
        codes, max_rank = None, None
        if rows.labels is not None:
            classes = np.unique(np.concatenate(list(rows.labels.values())))
            first, second = (
                torch.from_numpy(np.searchsorted(classes, own)) for own in rows.labels.values()
            )
            codes, max_rank = (first, second), len(classes) - 1 if self.beta == 0 else None
        moments = pair_covariances(f, g, codes, self.beta)
        xx, yy, xy = (each.numpy() for each in (moments.xx, moments.yy, moments.xy))
        ridge = self.model.ridge
        pair = linalg.cca(
            xx,
            yy,
            xy,
            ridge=(ridge * linalg.mean_variance(xx), ridge * linalg.mean_variance(yy)),
            eps=float(np.finfo(np.float32).eps),
            max_rank=max_rank,
        )
        return Canonical(
            means={n: m.numpy() for n, m in zip(outputs, moments.means, strict=True)},
            weights=dict(zip(outputs, pair.weights, strict=True)),
            correlations=pair.correlations,
        )


def _as_it_is(start: Canonical, width: int) -> Canonical:
    """Return the last step of networks that are `start` itself: none, but for its ρ.

    CCA of its outputs would undo the ridge with which it was found.
    """
    return Canonical(
        means={name: np.zeros(width) for name in start.means},
        weights={name: np.eye(width) for name in start.weights},
        correlations=start.correlations[:width],
    )

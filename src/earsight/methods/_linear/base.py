"""What the closed forms of the CCA family share: covariances in, two linear maps out."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, final

import numpy as np

from earsight import linalg
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.methods._base import JointEmbedding, Rows
from earsight.methods._checks import check_array, check_choice, check_number, resolve_components
from earsight.methods._linear.streaming import Part, Passes, Run, Tally


@dataclass(frozen=True)
class Statistics:
    """All that the solution needs to know about the training rows of two views.

    Attributes:
        tally: The rows, counted.
        means: (p,) and (q,).
        covariances: Σxx (p, p), Σyy (q, q), Σxy (p, q), normalised by the weight of the rows.
        units: How many independent units each view's covariance rests on.
        max_rank: What the rank cannot exceed.
        of: The data in words, such as "10 classes", for errors.
    """

    tally: Tally
    means: tuple[FloatArray, FloatArray]
    covariances: tuple[FloatArray, FloatArray, FloatArray]
    units: tuple[int, int]
    max_rank: int
    of: str


@dataclass(kw_only=True)
class LinearCCA(JointEmbedding):
    """Base of `cca`, `cluster_cca` and `mean_cca`: one solution, each its own covariances.

    Attributes:
        n_components: Width k of the joint space; None: 10, or the rank where that is smaller.
        ridge: A number r ≥ 0 adds r·tr(Σ)/p·I to each view's covariance; "auto" is the
            shrinkage of OAS as a ridge, from the number of independent units.
        standardize: Bring every column to unit variance first; columns that do not vary are
            ignored either way.
        weighting: "correlation" multiplies each side's columns by ρ, so that dimensions which
            the views do not share count less in the cosine; "none" leaves them.
        rank_: The most dimensions there could be.
        correlations_: (k,) canonical correlations ρ, descending.
        mean_, weights_: modality → (d,) and (d, k) float64: z = (x − mean) W, times diag(ρ).
        ridge_: modality → r, what was added to the diagonal in units of tr(Σ)/p.
    """

    n_components: int | None = None
    ridge: float | Literal["auto"] = "auto"
    standardize: bool = True
    weighting: Literal["correlation", "none"] = "correlation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_components is not None:
            check_number("n_components", self.n_components, whole=True, at_least=1)
        if self.ridge != "auto":
            check_number("ridge", self.ridge, at_least=0)
        check_choice("standardize", self.standardize, (True, False))
        check_choice("weighting", self.weighting, ("correlation", "none"))

    @abstractmethod
    def _statistics(self, passes: Passes) -> Statistics:
        """Pass over the rows, once or more."""

    @final
    def fit_batches(self, make_batches: Callable[[], Iterable[tuple[Any, ...]]]) -> Self:
        """Fit on rows that come batch by batch; equal to `fit` on all of them, to rounding.

        Memory: the covariances and a batch, however many rows there are. From a feature file:
        `fit_batches(FeatureBatches("features.h5"))`.

        Args:
            make_batches: Called once for each pass; returns a fresh iterator of
                (views, labels) or (views, labels, groups), each as for `fit`. The first batch
                says which modality comes first. Where rows are not paired, a batch may have
                (0, d) rows of a modality.

        Raises:
            InputError: What `fit` refuses; no batch, or no row of a modality; batches that differ
                in their views, widths or precision, or from one pass to the next.
        """
        return self.fit_parts([make_batches])

    @final
    def fit_parts(self, parts: Sequence[Part], run: Run = map) -> Self:
        """Fit on rows that come in parts, each read on its own, here or wherever `run` has it done.

        The model is that of `fit` on all rows, to rounding (see `earsight.covariance`).

        Args:
            parts: Each is a `make_batches` as for `fit_batches`. For `run` to send them to other
                processes they must be picklable.
            run: Called once for each pass, as the builtin `map`: run(work, parts) yields work(part)
                for each part. What it yields can be pickled, and parts may come merged, by
                first.merge(second). A part may be read again after a failure.

        Raises:
            InputError: As for `fit_batches`.
        """
        with self._replacing_fit():
            self._learn(Passes.of(self, parts, run))
        return self

    @final
    def _fit(self, rows: Rows) -> None:
        self._learn(Passes([lambda: iter([rows])]))

    def _learn(self, passes: Passes) -> None:
        found = self._statistics(passes)
        tally = found.tally
        xx, yy, xy = found.covariances
        names, eps = list(tally.dims), [*tally.eps.values()]
        scale_x = _scale(xx, found.means[0], eps[0], self.standardize)
        scale_y = _scale(yy, found.means[1], eps[1], self.standardize)
        for matrix, rows, columns in (
            (xx, scale_x, scale_x),
            (yy, scale_y, scale_y),
            (xy, scale_x, scale_y),
        ):  # in place: at a thousand features a copy is 8 MiB
            linalg.rescaled(matrix, rows, columns, out=matrix)
        ridge_x = self._relative_ridge(xx, found.units[0])
        ridge_y = self._relative_ridge(yy, found.units[1])
        pair = linalg.cca(
            xx,
            yy,
            xy,
            ridge=(ridge_x * linalg.mean_variance(xx), ridge_y * linalg.mean_variance(yy)),
            eps=max(eps),
            max_rank=found.max_rank,
            n_weights=self.n_components or 10,
        )
        rank = len(pair.correlations)
        if rank == 0:
            raise InputError(
                f"{self.name} needs views that vary together; on {found.of} nothing does."
            )
        k = resolve_components(self.n_components, rank, f"{self.name} on {found.of}")
        scaled = (scale_x[:, None] * pair.weights[0], scale_y[:, None] * pair.weights[1])
        self.dims_ = tally.dims
        self.n_components_, self.rank_ = k, rank
        self.correlations_ = pair.correlations[:k]
        self.mean_ = dict(zip(names, found.means, strict=True))
        self.weights_ = {name: w[:, :k] for name, w in zip(names, scaled, strict=True)}
        self.ridge_ = dict(zip(names, (ridge_x, ridge_y), strict=True))

    def _relative_ridge(self, covariance: FloatArray, n: int) -> float:
        """Return r, the ridge in units of the mean variance."""
        if self.ridge == "auto":
            return linalg.oas_ridge(covariance, n)
        return float(self.ridge)

    def _check_learned(self) -> None:
        super()._check_learned()
        k = self.n_components_
        check_array("correlations_", self.correlations_, k)
        for modality, d in self.dims_.items():
            check_array("mean_", self.mean_[modality], d)
            check_array("weights_", self.weights_[modality], d, k)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        z: FloatArray = (x - self.mean_[modality]) @ self.weights_[modality]
        return z * self.correlations_ if self.weighting == "correlation" else z


def _scale(covariance: FloatArray, mean: FloatArray, eps: float, standardize: bool) -> FloatArray:
    """Return what each column is multiplied by, (d,); 0 for one that does not vary.

    A column does not vary if its deviation is within the rounding of its own values.
    """
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    varies = deviation > 4 * eps * np.abs(mean)
    target = deviation if standardize else np.ones_like(deviation)
    return np.divide(1.0, target, out=np.zeros_like(deviation), where=varies)

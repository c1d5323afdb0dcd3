"""What the closed forms of the CCA family share: covariances in, two linear maps out."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, final

import numpy as np

from earsight import linalg
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.methods._base import (
    JointEmbedding,
    Rows,
    batches_of,
    check_choice,
    check_number,
    resolve_components,
)

Stream = Callable[[], Iterator[Rows]]  # starts a fresh pass over the training rows, in batches


@dataclass(frozen=True)
class Statistics:
    """All that the solution needs to know about the training rows of two views.

    Attributes:
        means: (p,) and (q,).
        covariances: Σxx (p, p), Σyy (q, q), Σxy (p, q), normalised by the weight of the rows.
        units: How many independent units each view's covariance rests on.
        max_rank: What the rank cannot exceed.
        of: The data in words, such as "10 classes", for errors.
    """

    means: tuple[FloatArray, FloatArray]
    covariances: tuple[FloatArray, FloatArray, FloatArray]
    units: tuple[int, int]
    max_rank: int
    of: str


@dataclass
class Tally:
    """Counts the rows of a pass, and holds every batch to the form of the first one.

    Attributes:
        dims: modality → width.
        eps: modality → relative precision of its rows.
        rows, classes, groups: modality → number of rows, rows of each class, groups seen.
    """

    dims: dict[str, int] = field(default_factory=dict)
    eps: dict[str, float] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[Any]] = field(default_factory=dict)
    groups: dict[str, set[Any]] = field(default_factory=dict)

    def watch(self, batches: Iterable[Rows]) -> Iterator[Rows]:
        """Yield the batches as they are, counting.

        Raises:
            InputError: No batch, one of another form than the first, or no row of a modality.
        """
        first = None
        for batch in batches:
            form = _form(batch)
            first = first or form
            if form != first:
                raise InputError(f"Batches must be alike; the first has {first}, another {form}.")
            for name, x in batch.views.items():
                self.dims[name] = x.shape[1]
                self.eps[name] = float(np.finfo(x.dtype).eps)
                self.rows[name] += len(x)
                if batch.labels is not None:
                    self.classes.setdefault(name, Counter()).update(batch.labels[name].tolist())
                if batch.groups is not None:
                    self.groups.setdefault(name, set()).update(batch.groups[name].tolist())
            yield batch
        if first is None:
            raise InputError("`make_batches` must yield at least one batch; got none.")
        for name in self.dims:
            if not self.rows[name]:
                raise InputError(f"Batches must have rows of each modality; {name!r} has none.")

    def units(self) -> tuple[int, int]:
        """Return how many independent units each view has: groups where given, else rows."""
        first, second = (len(self.groups.get(name, ())) or self.rows[name] for name in self.dims)
        return first, second


def _form(batch: Rows) -> dict[str, Any]:
    return {
        "views": {name: (x.shape[1], str(x.dtype)) for name, x in batch.views.items()},
        "labels": batch.labels is not None,
        "groups": batch.groups is not None,
        "paired": batch.paired,
    }


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
    def _statistics(self, stream: Stream, tally: Tally) -> Statistics:
        """Pass over the rows, once or more, one pass under the tally's watch."""

    @final
    def fit_batches(self, make_batches: Callable[[], Iterable[tuple[Any, ...]]]) -> Self:
        """Fit on rows that come batch by batch; equal to `fit` on all of them, bit for bit.

        Memory: the covariances and 4,096 rows, however many rows there are.

        Args:
            make_batches: Called once for each pass; returns a fresh iterator of
                (views, labels) or (views, labels, groups), each as for `fit`. The first batch
                says which modality comes first. Where rows are not paired, a batch may have
                (0, d) rows of a modality.

        Raises:
            InputError: What `fit` refuses; no batch, or no row of a modality; batches that differ
                in their views, widths or precision, or from one pass to the next.
        """
        order: list[str] = []  # of the modalities, in the first batch of the first pass

        def stream() -> Iterator[Rows]:
            is_empty = True
            for batch in batches_of(make_batches):
                views, labels, groups = _read_batch(batch)
                if isinstance(views, Mapping) and set(views) == set(order):
                    views = {name: views[name] for name in order}
                min_rows = 0 if isinstance(labels, Mapping) else 1
                rows = self._check_rows(views, labels, groups, min_rows=min_rows)
                order[:] = order or rows.views
                is_empty = False
                yield rows
            if is_empty and order:
                raise InputError(
                    "`make_batches` must return a fresh iterator each time it is called; another "
                    "pass found it exhausted."
                )

        with self._replacing_fit():
            self._learn(stream)
        return self

    @final
    def _fit(self, rows: Rows) -> None:
        self._learn(lambda: iter([rows]))

    def _learn(self, stream: Stream) -> None:
        tally = Tally()
        found = self._statistics(stream, tally)
        xx, yy, xy = found.covariances
        names, eps = list(tally.dims), [*tally.eps.values()]
        scale_x = _scale(xx, found.means[0], eps[0], self.standardize)
        scale_y = _scale(yy, found.means[1], eps[1], self.standardize)
        for matrix, rows, columns in (
            (xx, scale_x, scale_x),
            (yy, scale_y, scale_y),
            (xy, scale_x, scale_y),
        ):  # in place: at a thousand features a copy is 8 MiB
            matrix *= rows[:, None]
            matrix *= columns
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


def _read_batch(batch: Any) -> tuple[Any, Any, Any]:
    """Read (views, labels) or (views, labels, groups)."""
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise InputError(
            "A batch must be a tuple (views, labels) or (views, labels, groups); "
            f"got {type(batch).__name__}."
        )
    views, labels, groups = batch if len(batch) == 3 else (*batch, None)
    return views, labels, groups

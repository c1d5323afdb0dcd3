"""Nothing learned but a centre: for rows that lie in one space already."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from earsight.arrays import FloatArray, as_matrix, as_views, unit_rows
from earsight.errors import InputError
from earsight.methods._base import JointEmbedding, Rows
from earsight.methods._checks import check_array, check_number, check_same
from earsight.methods._linear.streaming import batches_of


@dataclass(kw_only=True, eq=False)
class ZeroShot(JointEmbedding):
    """Centre each modality where it lies, and scale to unit length.

        z = (x − c) / ‖x − c‖,    c = (n·mean(x) + m·prior) / (n + m)

    The views must share one space (words, sounds and sights as vectors of a text model). Each
    modality fills its own cone of that space; taking its centre away makes cosines comparable.
    Neither pairs nor labels are used, so the counts of rows may differ. A modality that has a
    prior can be transformed even if `fit` had no rows of it; `fit_prior` fits with no rows at all.

    Attributes:
        prior: modality → (d,) where its rows are expected to centre; where a modality has none,
            its centre is the mean alone.
        m: How many rows the prior is worth, ≥ 0.
        centre_: modality → (d,) float64.

    Reference: the shrunken mean is the posterior mean of a normal mean under a normal prior worth
    m observations.

    >>> model = ZeroShot(prior={"text": [0.0, 1.0]}).fit({"audio": [[1.0, 1.0], [3.0, 1.0]]})
    >>> model.transform("audio", [[3.0, 1.0]])
    array([[1., 0.]], dtype=float32)
    >>> model.transform("text", [[0.0, 3.0]])
    array([[0., 1.]], dtype=float32)
    """

    name: ClassVar[str] = "zero_shot"
    needs_pairs: ClassVar[bool] = False
    min_views: ClassVar[int] = 1
    max_views: ClassVar[int | None] = None

    prior: Mapping[str, Any] | None = None
    m: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("m", self.m, at_least=0)
        self._priors()

    def fit_prior(self) -> Self:
        """Fit with no rows at all: each modality of `prior` is centred by its prior.

        Raises:
            InputError: There is no prior.
        """
        if not self.prior:
            raise InputError("`fit_prior` needs `prior`, modality → (d,) centre; got none.")
        with self._replacing_fit():
            self._centre({})
        return self

    def fit_batches(self, make_batches: Callable[[], Iterable[tuple[Any, ...]]]) -> Self:
        """Learn the centres from batches; memory is that of one batch.

        Equal to `fit` on all rows up to the rounding of float64 sums.

        Args:
            make_batches: Returns a fresh iterator of (views, …); a batch may hold rows of some
                modalities only, and what follows the views is not looked at.

        Raises:
            InputError: Rows that `fit` would refuse, or no batch at all.
        """
        sums: dict[str, FloatArray] = {}
        counts: dict[str, int] = {}
        for views, *_ in batches_of(make_batches):
            for modality, x in as_views(views, max_views=None, min_views=1).items():
                before = sums.get(modality)
                as_matrix(x, f"views[{modality!r}]", dim=None if before is None else len(before))
                total = x.sum(axis=0, dtype=np.float64)
                sums[modality] = total if before is None else before + total
                counts[modality] = counts.get(modality, 0) + len(x)
        if not sums:
            raise InputError("`make_batches` must yield at least one batch; it yielded none.")
        with self._replacing_fit():
            self._centre(
                {name: (total / counts[name], counts[name]) for name, total in sums.items()}
            )
        return self

    def _fit(self, rows: Rows) -> None:
        self._centre(
            {name: (x.mean(axis=0, dtype=np.float64), len(x)) for name, x in rows.views.items()}
        )

    def _centre(self, means: Mapping[str, tuple[FloatArray, int]]) -> None:
        """Set the centres from modality → (mean, number of rows)."""
        priors = self._priors()
        widths = {modality: len(mean) for modality, (mean, _) in means.items()}
        for modality, prior in priors.items():
            if widths.setdefault(modality, len(prior)) != len(prior):
                raise InputError(
                    f"`prior[{modality!r}]` must be as wide as the rows, {widths[modality]}; "
                    f"got {len(prior)}."
                )
        if len(set(widths.values())) != 1:
            raise InputError(
                f"zero_shot needs modalities that share one space, so one width; got {widths}. "
                "Rows of different spaces need a method that learns, such as cca."
            )
        centre = dict(priors)
        for modality, (mean, n) in means.items():
            weight = self.m / (n + self.m) if modality in priors else 0.0
            centre[modality] = (1 - weight) * mean + weight * priors.get(modality, mean)
        self.centre_ = centre
        self.dims_ = widths
        self.n_components_ = next(iter(widths.values()))

    def _check_learned(self) -> None:
        super()._check_learned()
        for modality, d in self.dims_.items():
            check_same("dims_", d, self.n_components_)
            check_array("centre_", self.centre_[modality], d)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return unit_rows(x - self.centre_[modality])

    def _priors(self) -> dict[str, FloatArray]:
        priors: dict[str, FloatArray] = {}
        for modality, prior in (self.prior or {}).items():
            vector = np.asarray(prior, dtype=np.float64)
            if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
                raise InputError(
                    f"`prior[{modality!r}]` must be one finite vector, (d,); "
                    f"got shape {vector.shape}."
                )
            priors[modality] = vector
        return priors

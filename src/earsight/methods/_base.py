"""What every method that learns a joint embedding is: the base validates, a method computes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import Any, ClassVar, Self, final

import numpy as np

from earsight.arrays import (
    ArrayLike,
    FloatArray,
    Labels,
    LabelsLike,
    as_matrix,
    as_views,
    bad_rows,
    check_same_length,
    labels_by_view,
)
from earsight.errors import InputError, LabelError, ModelFileError, NotFittedError
from earsight.features import StepTable
from earsight.methods._checks import BLOCK_ROWS, check_number
from earsight.methods._sequences import mean_rows
from earsight.untrusted import check_memory


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What `fit` was given, checked.

    Attributes:
        views: modality → (n, d) finite rows, in the user's order.
        labels: modality → (n,) classes; None where none were given. Paired rows share one array.
        groups: modality → (n,) what each row was cut from (a clip); None where none were given.
        paired: Row i of every view is the same item.
        steps: modality → the sequences whose means are its rows; only for a method that reads them.
    """

    views: dict[str, FloatArray]
    labels: dict[str, Labels] | None = None
    groups: dict[str, Labels] | None = None
    paired: bool = True
    steps: dict[str, StepTable] = field(default_factory=dict)


@dataclass(kw_only=True)
class JointEmbedding(ABC):
    """Maps each modality into one space, in which cosine similarity ranks.

    A method is one file, `methods/<name>.py`, with one public keyword-only dataclass: its fields
    are its hyper-parameters, checked in `__post_init__`; it writes `_fit` and `_project`. What it
    learns are attributes that end in `_`; `save` and `load_model` need nothing else from it.

    Attributes:
        seed: Fixes whatever is random.
        dims_: modality → width of its rows, in the order of `fit`.
        n_components_: Width of the joint space (each method sets it).
    """

    name: ClassVar[str]
    needs_labels: ClassVar[bool] = False
    needs_pairs: ClassVar[bool] = True
    min_views: ClassVar[int] = 2
    max_views: ClassVar[int | None] = 2
    for_comparison_only: ClassVar[bool] = False  # others are better on all data that we know
    trains_in_epochs: ClassVar[bool] = False
    not_saved: ClassVar[tuple[str, ...]] = ()  # hyper-parameters of this machine

    seed: int = 0
    dims_: dict[str, int] = field(init=False, repr=False, compare=False)
    n_components_: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_number("seed", self.seed, whole=True, at_least=0)

    @abstractmethod
    def _fit(self, rows: Rows) -> None:
        """Learn from checked rows: set `n_components_` and whatever else ends in `_`."""

    @abstractmethod
    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        """Map checked rows (n, d) of one modality to (n, k)."""

    def _reads(self, steps: dict[str, StepTable]) -> dict[str, StepTable]:
        """Return the sequences that are read beside their means, checked: as a rule none."""
        return {}

    def _with_steps(self, modality: str, x: FloatArray, steps: StepTable | None) -> FloatArray:
        """Add to checked rows (n, d) what is read in their sequences: as a rule nothing."""
        return x

    @final
    def fit(
        self,
        views: Mapping[str, ArrayLike | StepTable],
        labels: LabelsLike = None,
        groups: LabelsLike = None,
    ) -> Self:
        """Learn the joint space. A fit that fails leaves the model as it was before.

        Args:
            views: modality → (n, d) rows, in an order that is kept. Rows are paired (row i of
                every view is the same clip) unless `labels` is a mapping. Sequences, as a
                `StepTable`, count as their means, unless the method's `pooling` reads them.
            labels: (n,) one class a row; or modality → (n,) classes, which says that rows are not
                paired, even where the counts agree. A method that needs no labels ignores them.
            groups: (n,) what each row was cut from, for rows that are parts of one clip and so
                not independent; a mapping where `labels` is one.

        Returns:
            The model itself.

        Raises:
            InputError: Rows that `as_views` refuses, counts that differ though rows are paired, or
                unpaired rows for a method that needs pairs.
            LabelError: Labels are missing for a method that needs them, or do not match the rows.
        """
        rows = self._check_rows(views, labels, groups)
        with self._replacing_fit():
            self.dims_ = {modality: x.shape[1] for modality, x in rows.views.items()}
            self._fit(rows)
        return self

    def fit_batches(self, make_batches: Callable[[], Iterable[tuple[Any, ...]]]) -> Self:
        """Fit on rows that come batch by batch; only closed forms can (see `LinearCCA`).

        Raises:
            InputError: This method needs all rows at once.
        """
        raise InputError(
            f"{self.name} needs all rows at once: call `fit`. The closed forms of the CCA family, "
            "such as cca and cluster_cca, can be fitted from batches."
        )

    def fit_parts(self, parts: Any, run: Any = map) -> Self:
        """Fit on rows that come in parts; only closed forms can (see `LinearCCA`).

        Raises:
            InputError: This method cannot.
        """
        raise InputError(
            f"{self.name} cannot be fitted from parts: call `fit`. The closed forms of the CCA "
            "family, such as cca and cluster_cca, can."
        )

    @final
    def transform(self, modality: str, x: ArrayLike | StepTable) -> FloatArray:
        """Map rows of one modality into the joint space; the others are not needed.

        Args:
            modality: One of the names given to `fit`.
            x: (n, d) rows of that modality, or sequences, which count as their means; a method
                whose `pooling` read sequences in `fit` takes nothing else.

        Returns:
            (n, k) float32.

        Raises:
            NotFittedError: Before `fit`.
            InputError: An unknown modality, another width than in `fit`, or rows that are not
                finite numbers, or so large that their points would not be.
        """
        self._check_fitted("transform")
        if not isinstance(modality, str) or modality not in self.dims_:
            raise InputError(
                f"`modality` must be one of those in `fit`, {list(self.dims_)}; got {modality!r}."
            )
        rows = as_matrix(mean_rows(x, "x"), "x", dim=self.dims_[modality])
        rows = self._with_steps(modality, rows, x if isinstance(x, StepTable) else None)
        out = np.empty((len(rows), self.n_components_), dtype=np.float32)
        with np.errstate(all="ignore"):  # what is not finite is told below
            for start in range(0, len(rows), BLOCK_ROWS):
                block = slice(start, start + BLOCK_ROWS)
                out[block] = self._project(modality, rows[block])
        if (bad := bad_rows(out)).any():
            raise InputError(
                f"{self.name} finds no finite point for row {int(bad.argmax())} of `x`: its "
                "numbers are too large. Scale the features as they were in `fit`."
            )
        return out

    @final
    def fit_transform(
        self,
        views: Mapping[str, ArrayLike | StepTable],
        labels: LabelsLike = None,
        groups: LabelsLike = None,
    ) -> dict[str, FloatArray]:
        """Fit, and return modality → (n, k) points of the same rows."""
        return self.fit(views, labels, groups).transform_views(views)

    @final
    def transform_views(self, views: Mapping[str, ArrayLike | StepTable]) -> dict[str, FloatArray]:
        """Map rows of several modalities: modality → (n, k) points. Raises as `transform` does."""
        return {modality: self.transform(modality, x) for modality, x in views.items()}

    @final
    def save(self, folder: str | PathLike[str]) -> None:
        """Write the model to `folder` (see `methods/_files.py`): tensors and JSON, no code.

        Raises:
            NotFittedError: Before `fit`.
            ModelFileError: The folder holds something else or cannot be written, or its name is a
                file's.
        """
        from earsight.methods._files import save_model

        self._check_fitted("save")
        try:
            save_model(self, folder)
        except OSError as error:
            raise ModelFileError(
                f"The model cannot be written to {folder}: {error}. Choose a folder on a disk that "
                "can be written to and has room."
            ) from error

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return hyper-parameter → value, as scikit-learn's `clone` wants it."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    @final
    def set_params(self, **params: Any) -> Self:
        """Change hyper-parameters; what was learned stays until the next `fit`.

        Raises:
            InputError: An unknown hyper-parameter, or a value that breaks its rule; then nothing
                changes.
        """
        if strange := sorted(params.keys() - self.get_params()):
            raise InputError(
                f"{self.name} has no hyper-parameter {strange[0]!r}. "
                f"It has: {', '.join(self.get_params())}."
            )
        vars(self).update(type(self)(**(self.get_params() | params)).get_params())
        return self

    def saved_params(self) -> dict[str, Any]:
        """Return the hyper-parameters that belong to the model and not to this machine."""
        return {k: v for k, v in self.get_params().items() if k not in self.not_saved}

    def prepare(self) -> None:  # noqa: B027 - as a rule there is nothing to load
        """Load what the first `fit` would load, so that its time is that of fitting alone."""

    def learned(self) -> dict[str, Any]:
        """Return what `fit` learned, name → arrays, numbers, strings, and mappings of these."""
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") and not name.startswith("_")
        }

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned: the model is fitted again.

        Raises:
            ValueError: It is not what this method learns; in parts of it any other exception.
        """
        if strange := [name for name in learned if not name.endswith("_") or name[0] == "_"]:
            raise ValueError(f"{self.name} learns nothing of the name {strange[0]!r}")
        vars(self).update(learned)
        self._check_learned()

    def _check_learned(self) -> None:
        """Check shapes and numbers that were restored, before anything is computed with them."""
        check_number("n_components_", self.n_components_, whole=True, at_least=1)
        most = self.max_views or len(self.dims_)
        check_number("modalities", len(self.dims_), at_least=self.min_views, at_most=most)
        for modality, width in self.dims_.items():
            check_number(f"dims_[{modality!r}]", width, whole=True, at_least=1)
            check_memory(f"A row of {width:,} columns", width * 8)

    @contextmanager
    def _replacing_fit(self) -> Iterator[None]:
        """Forget the old fit, and bring it back if what happens inside fails."""
        before = dict(vars(self))
        for name in [name for name in before if name.endswith("_")]:
            delattr(self, name)
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _check_fitted(self, what: str) -> None:
        if not hasattr(self, "dims_"):
            raise NotFittedError(f"{self.name} must be fitted before `{what}`; call `fit` first.")

    def _check_rows(
        self,
        views: Mapping[str, ArrayLike | StepTable],
        labels: LabelsLike,
        groups: LabelsLike,
        *,
        min_rows: int = 1,
    ) -> Rows:
        steps: dict[str, StepTable] = {}
        rows: Any = views
        if isinstance(views, Mapping):
            steps = {name: x for name, x in views.items() if isinstance(x, StepTable)}
            rows = {name: mean_rows(x, f"views[{name!r}]") for name, x in views.items()}
        checked = as_views(
            rows, max_views=self.max_views, min_views=self.min_views, min_rows=min_rows
        )
        if labels is None and self.needs_labels:
            raise LabelError(f"{self.name} needs `labels`, one class a row; got None.")
        paired = not isinstance(labels, Mapping)
        if not paired and self.needs_pairs:
            raise InputError(
                f"{self.name} needs paired rows; got `labels` as a mapping, which means unpaired. "
                "Give one array of labels if row i of every view is the same clip."
            )
        if labels is None and not self.needs_pairs:
            paired = len({len(x) for x in checked.values()}) == 1
        elif paired:
            check_same_length(checked, "rows are paired unless `labels` is a mapping")
        return Rows(
            views=checked,
            labels=labels_by_view(labels, "labels", checked),
            groups=labels_by_view(groups, "groups", checked),
            paired=paired,
            steps=self._reads(steps),
        )

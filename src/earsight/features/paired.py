"""Rows of several modalities with their labels, as a feature file or a data set holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels, as_labels, as_matrix
from earsight.errors import InputError, NotAvailableError
from earsight.features.sequences import StepTable

Column = Labels | Mapping[str, Labels] | None
"""One value a row: an array where rows are paired, else an array for each modality."""

COLUMNS = ("labels", "ids", "group", "split")


@dataclass(frozen=True)
class PairedFeatures:
    """One row for each clip in every modality; or, unpaired, each modality with rows of its own.

    A column given as a mapping means: rows unpaired, even if the counts agree.

    Attributes:
        views: Modality → (n, d) floats, in an order that is kept. Where there are sequences these
            are their means.
        labels: The class of each row.
        ids: The name of each row.
        group: Rows of one group (a clip cut into windows) belong in one fold.
        split: "train" or "test" for each row, where the data set has a split of its own.
        steps: Modality → the sequences behind its means, for some modalities or none.
        provenance: What made the features (extractor, checksum of its weights, fps, hop …), any
            JSON; what is true of one modality alone stands under that modality's name.
    """

    views: Mapping[str, FloatArray]
    labels: Column = None
    ids: Column = None
    group: Column = None
    split: Column = None
    steps: Mapping[str, StepTable] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError("PairedFeatures need at least one modality; got none.")
        views = {name: as_matrix(x, name) for name, x in self.views.items()}
        object.__setattr__(self, "views", views)
        if self.paired and len({len(x) for x in views.values()}) > 1:
            raise InputError(
                "Paired modalities must have as many rows as each other; got "
                f"{ {name: len(x) for name, x in views.items()} }. "
                "Where rows are unpaired, give labels, ids or group for each modality."
            )
        for name in COLUMNS:
            object.__setattr__(self, name, self._checked(name))
        for name, table in self.steps.items():
            if name not in views or (len(table), table.dim) != views[name].shape:
                raise InputError(
                    f"The steps of {name!r} must belong to a view of as many clips and features; "
                    f"got {len(table)} clips of {table.dim} features."
                )

    def __repr__(self) -> str:
        """Tell what it holds: rows, width and steps of each modality, classes and columns.

        >>> views = {"audio": np.ones((4, 20)), "visual": np.ones((4, 30))}
        >>> PairedFeatures(views, labels=["dog", "dog", "cat", "cat"], ids=["a", "b", "c", "d"])
        PairedFeatures(audio: 4 × 20; visual: 4 × 30; paired; 2 classes; ids)
        """
        parts = []
        for name, x in self.views.items():
            own = f"{name}: {x.shape[0]} × {x.shape[1]}"
            parts.append(f"{own}, {self.steps[name]!r}" if name in self.steps else own)
        parts.append("paired" if self.paired else "unpaired")
        if self.labels is not None:
            every = self.labels.values() if isinstance(self.labels, Mapping) else [self.labels]
            parts.append(f"{len(np.unique(np.concatenate([*every])))} classes")
        parts += [name for name in COLUMNS[1:] if getattr(self, name) is not None]
        return f"PairedFeatures({'; '.join(parts)})"

    @property
    def paired(self) -> bool:
        """Whether row i of every modality is one clip."""
        return not any(isinstance(getattr(self, name), Mapping) for name in COLUMNS)

    def part(self, name: str) -> "PairedFeatures":
        """Return the rows of one part of the data set's own split: "train" or "test".

        Raises:
            NotAvailableError: The data set has no split.
        """
        if self.split is None:
            raise NotAvailableError(f"There is no {name!r} part: these features have no split.")
        if isinstance(self.split, Mapping):
            return self.take({m: np.flatnonzero(s == name) for m, s in self.split.items()})
        return self.take(np.flatnonzero(self.split == name))

    def take(self, rows: IntArray | Mapping[str, IntArray]) -> "PairedFeatures":
        """Return some rows, in the order asked for.

        Args:
            rows: Row numbers; where rows are unpaired, those of each modality.

        Raises:
            InputError: A mapping for paired rows, or the other way round.
        """
        if isinstance(rows, Mapping) == self.paired:
            wanted = "an array of row numbers" if self.paired else "a mapping from modality to rows"
            raise InputError(f"`rows` must be {wanted}; got {type(rows).__name__}.")
        by_view = rows if isinstance(rows, Mapping) else dict.fromkeys(self.views, rows)
        any_view = next(iter(by_view.values()))  # paired rows: the same for all

        def taken(column: Column) -> Column:
            if isinstance(column, Mapping):
                return {name: values[by_view[name]] for name, values in column.items()}
            return None if column is None else column[any_view]

        return PairedFeatures(
            {name: x[by_view[name]] for name, x in self.views.items()},
            taken(self.labels),
            taken(self.ids),
            taken(self.group),
            taken(self.split),
            steps={name: table.take(by_view[name]) for name, table in self.steps.items()},
            provenance=self.provenance,
        )

    def _checked(self, name: str) -> Column:
        column: Column = getattr(self, name)
        if column is None:
            return None
        if self.paired:
            return as_labels(np.asarray(column), name, n=len(next(iter(self.views.values()))))
        if not isinstance(column, Mapping) or set(column) != set(self.views):
            got = list(column) if isinstance(column, Mapping) else "one array"
            raise InputError(
                f"`{name}` of unpaired rows must have values for each of {list(self.views)}; "
                f"got {got}."
            )
        return {m: as_labels(column[m], f"{name}[{m!r}]", n=len(x)) for m, x in self.views.items()}

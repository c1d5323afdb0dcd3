"""`evaluate`: how well one modality finds another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeVar

import numpy as np

from earsight.arrays import (
    ArrayLike,
    FloatArray,
    Labels,
    LabelsLike,
    as_views,
    check_same_length,
    labels_by_view,
)
from earsight.errors import InputError, NotAvailableError, UnknownPairError
from earsight.metrics import (
    ClassFigures,
    PairedRanks,
    chance_average_precision,
    class_figures,
    paired_ranks,
)
from earsight.similarity import distance_blocks, to_unit

_Figures = TypeVar("_Figures", ClassFigures, PairedRanks)


class AtK(Mapping[int, float]):
    """A figure for each k that was asked for and that the gallery allows."""

    def __init__(self, values: Mapping[int, float], what: str, ks: Sequence[int], n: int) -> None:
        self._values = dict(values)
        self._what, self._ks, self._n = what, tuple(ks), n

    def __getitem__(self, k: int) -> float:
        if k in self._values:
            return self._values[k]
        if k in self._ks:
            raise NotAvailableError(
                f"`{self._what}[{k}]` needs a gallery of at least {k} items; it has {self._n}."
            )
        raise NotAvailableError(f"`{self._what}[{k}]` needs {k} among `ks`; it was {self._ks}.")

    def __contains__(self, k: object) -> bool:
        return k in self._values

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Direction:
    """How well one modality finds another.

    Figures by class need labels, figures by the query's paired item need paired rows; reading
    one whose input was not given raises NotAvailableError. Conventions are those of `metrics`.

    Attributes:
        n_queries, n_gallery: Sizes.
        ks: The ranks asked for.
    """

    n_queries: int
    n_gallery: int
    ks: tuple[int, ...]
    _query_labels: Labels | None
    _by_class: ClassFigures | None
    _own: PairedRanks | None

    def __repr__(self) -> str:
        return f"Direction({self._told()})"

    def _told(self) -> str:
        """Say the main figures that are known, on one line."""
        told = [f"{self.n_queries} queries in {self.n_gallery}"]
        if self._by_class is not None:
            told.append(f"MAP {self.map:.3f} (chance {self.map_chance:.3f})")
        if self._own is not None:
            told += [f"recall@{k} {value:.3f}" for k, value in self.recall.items()]
            told.append(f"MRR {self.mrr:.3f}, median rank {self.median_rank:.1f}")
        return ", ".join(told)

    @property
    def ap(self) -> FloatArray:
        """Average precision of each query, (n_queries,)."""
        return self._class_figures("ap").ap

    @property
    def map(self) -> float:
        """Mean average precision; a query with no relevant item counts 0."""
        return float(self._class_figures("map").ap.mean())

    @property
    def map_chance(self) -> float:
        """Expected MAP of random rankings of this very gallery."""
        n_relevant = self._class_figures("map_chance").n_relevant
        return float(chance_average_precision(n_relevant, self.n_gallery).mean())

    @property
    def per_class(self) -> dict[Any, float]:
        """Class → MAP of the queries of that class."""
        ap = self._class_figures("per_class").ap
        classes, codes = np.unique(np.asarray(self._query_labels), return_inverse=True)
        means = np.bincount(codes, weights=ap) / np.bincount(codes)
        return dict(zip(classes.tolist(), means.tolist(), strict=True))

    @property
    def precision(self) -> AtK:
        """precision[k]: share of the first k that is relevant, mean over queries."""
        means = self._class_figures("precision").precision.mean(axis=0)
        return self._at_k("precision", means.tolist())

    @property
    def curve(self) -> FloatArray:
        """Interpolated precision at recall 0, .1, …, 1, mean over queries, (11,)."""
        return np.asarray(self._class_figures("curve").curve.mean(axis=0))

    @property
    def recall(self) -> AtK:
        """recall[k]: share of queries whose paired item is among the first k."""
        own = self._paired_ranks("recall")
        return self._at_k("recall", [float(own.recall(k).mean()) for k in self._allowed_ks()])

    @property
    def recall_chance(self) -> AtK:
        """recall_chance[k]: what random rankings of this gallery would reach, k/N."""
        self._paired_ranks("recall_chance")
        return self._at_k("recall_chance", [k / self.n_gallery for k in self._allowed_ks()])

    @property
    def reciprocal_ranks(self) -> FloatArray:
        """1/rank of each query's paired item, (n_queries,)."""
        return self._paired_ranks("reciprocal_ranks").reciprocal()

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank of the paired item."""
        return float(self._paired_ranks("mrr").reciprocal().mean())

    @property
    def ranks(self) -> FloatArray:
        """Rank of each query's paired item, (n_queries,), best 1; ties get their mean rank."""
        return self._paired_ranks("ranks").rank()

    @property
    def median_rank(self) -> float:
        """Median rank of the paired item, best 1."""
        return float(np.median(self._paired_ranks("median_rank").rank()))

    def _class_figures(self, what: str) -> ClassFigures:
        if self._by_class is None:
            raise NotAvailableError(f"`{what}` needs labels; `evaluate` was given none.")
        return self._by_class

    def _paired_ranks(self, what: str) -> PairedRanks:
        if self._own is None:
            raise NotAvailableError(
                f"`{what}` needs paired rows; `evaluate` was given `labels` as a mapping, which "
                "means unpaired."
            )
        return self._own

    def _allowed_ks(self) -> list[int]:
        return [k for k in self.ks if k <= self.n_gallery]

    def _at_k(self, what: str, values: Sequence[float]) -> AtK:
        pairs = zip(self._allowed_ks(), values, strict=True)
        return AtK(dict(pairs), what, self.ks, self.n_gallery)


class Evaluation(Mapping[tuple[str, str], Direction]):
    """(query modality, gallery modality) → `Direction`, for all ordered pairs of modalities.

    Any other pair raises UnknownPairError, which is a KeyError.
    """

    def __init__(self, directions: Mapping[tuple[str, str], Direction]) -> None:
        self._directions = dict(directions)

    def __getitem__(self, pair: tuple[str, str]) -> Direction:
        try:
            return self._directions[pair]
        except (KeyError, TypeError):  # TypeError: of a kind that no key can be, such as a list
            raise UnknownPairError(
                f"There is no direction {pair!r}. Known: {', '.join(map(repr, self))}."
            ) from None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._directions)

    def __len__(self) -> int:
        return len(self._directions)

    def __repr__(self) -> str:
        lines = [f"{query} -> {gallery}: {one._told()}" for (query, gallery), one in self.items()]
        return "\n  ".join(["Evaluation(", *lines]) + "\n)"


def evaluate(
    embeddings: Mapping[str, ArrayLike],
    labels: LabelsLike = None,
    ks: Sequence[int] = (1, 5, 10),
) -> Evaluation:
    """Rank every modality by every other, and score the rankings.

    Query: each row of one modality; gallery: all rows of another, the query's paired item
    included; ranked by cosine similarity in float64, rounded to multiples of 2⁻²⁰, so that equal
    vectors tie; relevant: same class. Memory: blocks of queries, never the whole matrix.

    Args:
        embeddings: modality → (n, k) points of one space, as from `transform`.
        labels: (n,) one class a row, or None: rows are paired. modality → (n,) classes: rows are
            not paired, even where the counts agree.
        ks: Ranks for precision@k and recall@k. One beyond a gallery has no figure there:
            reading it raises.

    Returns:
        scores[query, gallery], a `Direction` each.

    Raises:
        InputError: Embeddings of different widths, or of different counts though paired; a k
            below 1, or `ks` that is no list.
        LabelError: Labels that do not match the rows.

    >>> z = np.eye(3)
    >>> scores = evaluate({"audio": z, "visual": z}, labels=["dog", "cat", "rain"], ks=[1, 2])
    >>> scores["audio", "visual"].map, scores["visual", "audio"].precision
    (1.0, {1: 1.0, 2: 0.5})
    >>> scores["audio", "visual"]
    Direction(3 queries in 3, MAP 1.000 (chance 0.611), recall@1 1.000, recall@2 1.000,
      MRR 1.000, median rank 1.0)
    """
    views = as_views(embeddings, max_views=None, name="embeddings")
    widths = {name: x.shape[1] for name, x in views.items()}
    if len(set(widths.values())) != 1:
        raise InputError(f"`embeddings` must be points of one space, of one width; got {widths}.")
    try:
        ks = tuple(ks)
    except TypeError:
        raise InputError(
            f"`ks` must be a list of whole numbers, such as [1, 5]; got {ks!r}."
        ) from None
    for k in ks:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"`ks` must be whole numbers of at least 1; got {k!r}.")
    paired = not isinstance(labels, Mapping)
    if paired:
        check_same_length(views, "rows are paired unless `labels` is a mapping")
    classes = labels_by_view(labels, "labels", views)
    units = {name: to_unit(x) for name, x in views.items()}
    directions = {}
    for query, gallery in permutations(views, 2):
        pair = None if classes is None else (classes[query], classes[gallery])
        directions[query, gallery] = _rank(units[query], units[gallery], pair, paired=paired, ks=ks)
    return Evaluation(directions)


def _rank(
    queries: FloatArray,
    items: FloatArray,
    labels: tuple[Labels, Labels] | None,
    *,
    paired: bool,
    ks: tuple[int, ...],
) -> Direction:
    """Score every figure of one direction in one pass over its similarities."""
    allowed = [k for k in ks if k <= len(items)]
    by_class: list[ClassFigures] = []
    own: list[PairedRanks] = []
    if labels is not None:
        _, codes = np.unique(np.concatenate(labels), return_inverse=True)
        of_queries, of_items = np.split(codes, [len(queries)])
    for rows, distance in distance_blocks(queries, items):
        if paired:
            own.append(paired_ranks(distance, np.arange(rows.start, rows.stop)))
        if labels is not None:
            relevant = of_queries[rows, None] == of_items
            by_class.append(class_figures(distance, relevant, allowed))
    return Direction(
        n_queries=len(queries),
        n_gallery=len(items),
        ks=ks,
        _query_labels=None if labels is None else labels[0],
        _by_class=_joined(ClassFigures, by_class),
        _own=_joined(PairedRanks, own),
    )


def _joined(kind: type[_Figures], parts: list[_Figures]) -> _Figures | None:
    """Put the figures of consecutive queries together; None where there are none."""
    if not parts:
        return None
    names = vars(parts[0])
    return kind(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in names})

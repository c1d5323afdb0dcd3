"""When to trust a library: which classes are confused, and the best and the worst queries."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray, unit_rows
from earsight.library.embedding.training_rows import NO_LABEL
from earsight.library.progress import Progress
from earsight.library.reports.evaluate import (
    DIRECTIONS,
    LibraryEvaluation,
    Ranked,
    evaluate_library,
)
from earsight.metrics import chance_average_precision
from earsight.similarity import distance_blocks
from earsight.storage import Location

K = 5  # results that are looked at
SHOWN = 6  # queries at each end
MAX_CONFUSED = 40  # classes in the table of confusion; of more, those with the most queries


@dataclass(frozen=True, kw_only=True)
class Case:
    """One query with its first results, by content.

    Attributes:
        content: The clip that is the query.
        by, for_: "audio" or "visual".
        ap: Average precision by class; None where the clip has none.
        rank: Of its paired item, best 1.
        results: The contents of the first results, best first.
    """

    content: str
    by: str
    for_: str
    ap: float | None
    rank: float
    results: list[str]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well a library retrieves, on clips that were held out.

    Attributes:
        evaluation: The figures of both directions.
        per_class: For each class: label, n, chance, and direction → MAP of its queries.
        confusion: Direction → labels and rows: of the first results for the queries of a class, the
            share of each class. Looked at are `K` results, or as many as the class has clips in the
            gallery: where all are right, the diagonal is 1. Empty without classes.
        best, worst: Queries by AP (without classes: by the rank of their paired item), then by
            content.
    """

    evaluation: LibraryEvaluation
    per_class: list[dict[str, str | int | float]]
    confusion: dict[str, dict[str, list[str] | list[list[float]]]]
    best: list[Case]
    worst: list[Case]


def measure(library: str | Location, *, progress: Progress | None = None) -> Quality:
    """Evaluate a library as `evaluate_library` does, and keep what people look at.

    Args:
        library: The clips folder, or the library folder itself.
        progress: Is told of each fold.

    Raises:
        LibraryError: No library, or fewer than two clips with both sound and sight.
    """
    counts = _Counts()
    evaluation = evaluate_library(library, progress=progress, watch=counts.add)
    labels = sorted(counts.n_queries, key=lambda label: (-counts.n_queries[label], label))
    shown = sorted(labels[:MAX_CONFUSED])
    classed = [case for case in counts.cases if case.ap is not None]
    ordered = sorted(
        classed or counts.cases, key=lambda one: (-(one.ap or 0), one.rank, one.content)
    )
    return Quality(
        evaluation=evaluation,
        per_class=counts.per_class(),
        confusion={direction: _shares(shown, n) for direction, n in counts.confused.items()},
        best=ordered[:SHOWN],
        worst=ordered[: -SHOWN - 1 : -1] if len(ordered) > SHOWN else [],
    )


class _Counts:
    """What is counted over the folds."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.n_queries: dict[str, int] = {}  # class → clips
        self.chance: dict[str, list[float]] = {}  # class → of each of its queries
        self.ap: dict[str, dict[str, list[float]]] = {}  # direction → class → of each query
        self.confused: dict[str, dict[tuple[str, str], int]] = {}  # direction → classes → results

    def add(self, ranked: Ranked) -> None:
        labels = [str(label) for label in ranked.rows.labels]
        given = [label for label in labels if label != NO_LABEL]
        for label in given:
            self.n_queries[label] = self.n_queries.get(label, 0) + 1
            chance = chance_average_precision([given.count(label)], len(given))[0]
            self.chance.setdefault(label, []).append(float(chance))
        for by, for_ in DIRECTIONS:
            aps = iter([] if ranked.by_class is None else ranked.by_class[by, for_].ap.tolist())
            firsts = _first(ranked.points[by], ranked.points[for_], K)
            ranks = ranked.by_pair[by, for_].ranks
            for i, label in enumerate(labels):
                case = Case(
                    content=str(ranked.rows.clips[i]),
                    by=by,
                    for_=for_,
                    ap=None if label == NO_LABEL else next(aps),
                    rank=float(ranks[i]),
                    results=[str(ranked.rows.clips[j]) for j in firsts[i]],
                )
                self.cases.append(case)
                if case.ap is not None:
                    others = [labels[j] for j in firsts[i] if labels[j] != NO_LABEL]
                    self._count(case, label, others[: given.count(label)])

    def _count(self, case: Case, label: str, results: list[str]) -> None:
        """Count the AP of a query of a class, and the classes of its first results."""
        direction = f"{case.by}->{case.for_}"
        self.ap.setdefault(direction, {}).setdefault(label, []).append(case.ap or 0.0)
        counts = self.confused.setdefault(direction, {})
        for other in results:
            counts[label, other] = counts.get((label, other), 0) + 1

    def per_class(self) -> list[dict[str, str | int | float]]:
        rows = []
        for label, n in sorted(self.n_queries.items()):
            row: dict[str, str | int | float] = {"label": label, "n": n}
            row["chance"] = float(np.mean(self.chance[label]))
            row |= {direction: float(np.mean(found[label])) for direction, found in self.ap.items()}
            rows.append(row)
        return rows


def _first(queries: FloatArray, items: FloatArray, k: int) -> list[list[int]]:
    """Return the places of the k best items for each query; ties in the order of the items."""
    units = [unit_rows(np.asarray(x, dtype=np.float64)) for x in (queries, items)]
    k = min(k, len(items))
    found: list[list[int]] = []
    for _, distances in distance_blocks(units[0], units[1]):
        found += np.argsort(distances, axis=1, kind="stable")[:, :k].tolist()
    return found


def _shares(
    labels: list[str], counts: Mapping[tuple[str, str], int]
) -> dict[str, list[str] | list[list[float]]]:
    table = np.array([[counts.get((row, column), 0) for column in labels] for row in labels])
    totals = np.array(
        [sum(n for (row, _), n in counts.items() if row == label) for label in labels]
    )
    shares = table / np.maximum(totals, 1)[:, None]
    return {"labels": labels, "rows": [[float(share) for share in row] for row in shares]}

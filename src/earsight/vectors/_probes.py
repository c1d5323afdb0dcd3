"""How many parts of LanceDB's index a question has to look into: found out on the table itself.

The index cuts the rows into parts around centres, about 4,096 rows each, and compares a query with
the rows of the parts nearest to it alone. How many parts are enough hangs on how the vectors lie:
with clear groups a few, without them several times LanceDB's default of 20. So, when the index is
made, some of the rows are asked as queries, and the number grows until nearly all of the rows that
are nearest to them are found.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from earsight.arrays import FloatArray, unit_rows

SAMPLE = 100  # rows that are asked
_NEAREST = 40  # so many are asked for, as a question for ten clips does
_RECALL = 0.995  # on the sample, so that .99 holds for other queries too
_SLACK = 1e-6  # of a cosine in float32
_FEWEST, _GROWTH = 8, 1.5
_PART = 4096  # rows of a part, by LanceDB's default


def enough(table: Any, queries: FloatArray, among: Mapping[str, Iterable[FloatArray]]) -> int:
    """Return how many parts must be looked into.

    Args:
        table: LanceDB's, with an index.
        queries: (m, dim).
        among: A condition → all vectors that meet it, in blocks (n, dim).
    """
    units = unit_rows(queries[queries.any(axis=1)].astype(np.float32))
    nearest = {condition: _nearest(units, blocks) for condition, blocks in among.items()}
    n_rows, parts = table.count_rows(), _FEWEST
    while parts * _PART < n_rows:
        if all(_recall(table, units, c, of, parts=parts) >= _RECALL for c, of in nearest.items()):
            break
        parts = int(parts * _GROWTH)
    return parts


def scaled(parts: int, k: int, passing: int, measured: int) -> int:
    """Return how many parts take the k nearest that pass a filter, where they lie as the others do.

    Args:
        parts: How many take the 40 nearest of all.
        k: How many are wanted.
        passing: Rows that pass.
        measured: Rows among which the 40 were.
    """
    return math.ceil(parts * max(1.0, k * measured / (_NEAREST * passing)))


def _nearest(units: FloatArray, blocks: Iterable[FloatArray]) -> FloatArray:
    """Return the cosines of the nearest rows, (m, 40); −∞ where there are fewer."""
    best = np.full((len(units), _NEAREST), -np.inf, np.float32)
    for block in blocks:
        similar = units @ unit_rows(block.astype(np.float32, copy=False)).T
        best = np.partition(np.hstack([best, similar]), -_NEAREST, axis=1)[:, -_NEAREST:]
    return best


def _recall(
    table: Any, units: FloatArray, condition: str, nearest: FloatArray, *, parts: int
) -> float:
    """Return the share of the nearest rows that so many parts hold; of equally near ones any."""
    n_found, n_there = 0, int(np.isfinite(nearest).sum())
    for unit, best in zip(units, nearest, strict=True):
        asked = table.search(unit).distance_type("cosine").where(condition).nprobes(parts)
        found = asked.select(["_distance"]).limit(_NEAREST).to_arrow().column("_distance")
        least = best[np.isfinite(best)].min(initial=np.inf)
        n_found += int((1 - found.to_numpy() >= least - _SLACK).sum())
    return n_found / n_there if n_there else 1.0

"""Is a method lower than the best, or than one of your choice, by luck alone?"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.experiments.results import Result
from earsight.features import PairedFeatures
from earsight.metrics import paired_bootstrap

_DRAWS = 50_000_000  # numbers drawn in one test, which bounds its time to about a second
_RESAMPLES = (1_000, 10_000)
NEAR = 10  # the paired item counts as found if it is among the first 10


def reference_of(results: Iterable[Result], against: str | None) -> Result | None:
    """Return the result that the others are held against: the one asked for, or the best."""
    able = [result for result in results if result.error is None]
    if against is not None:
        return next((result for result in able if result.method == against), None)
    return max(able, key=lambda result: result.score, default=None)


def hold_against(results: Iterable[Result], reference: Result, data: PairedFeatures) -> None:
    """Add to each direction of each result how it stands against the reference.

        p = P(mean of the reference > mean of the method, by luck), one-sided, paired, by query

    `p_map` compares average precision, `p_recall@10` whether the paired item is among the first 10,
    both means over the seeds. Small p: the method is lower. Near 1: it is higher.
    """
    for result in results:
        for direction, figures in result.directions.items():
            held: dict[str, Any] = {"method": reference.method}
            if result is not reference:
                held |= _p_values(result, reference, direction, data)
            figures["against"] = held


def _p_values(
    result: Result, reference: Result, direction: str, data: PairedFeatures
) -> dict[str, float]:
    found = {}
    mine, theirs = (each.queries.get(direction, {}) for each in (result, reference))
    if "ap" in mine and "ap" in theirs:
        found["p_map"] = _p(theirs["ap"], mine["ap"], direction, data)
    if "rank" in mine and "rank" in theirs:
        hits = (_near(theirs["rank"]), _near(mine["rank"]))
        found[f"p_recall@{NEAR}"] = _p(*hits, direction, data)
    return found


def _near(rank: FloatArray) -> FloatArray:
    """Return 1 or 0, and NaN where a row was not asked."""
    return np.where(np.isnan(rank), np.nan, rank <= NEAR)


def _p(better: FloatArray, worse: FloatArray, direction: str, data: PairedFeatures) -> float:
    asked = ~np.isnan(better).all(axis=0) & ~np.isnan(worse).all(axis=0)
    one, two = (x[:, asked].mean(axis=0) for x in (better, worse))
    groups: Any = data.group
    if isinstance(groups, dict):
        groups = groups[direction.split("->")[0]]
    low, high = _RESAMPLES
    n = int(np.clip(_DRAWS // len(one), low, high))
    return paired_bootstrap(one, two, groups=None if groups is None else groups[asked], n=n)

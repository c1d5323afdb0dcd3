"""Rows for tests of vector indexes, and the slow search that each must agree with."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from earsight.vectors import Hit, Row


def make_rows(n: int, first: int = 0) -> list[Row]:
    return [
        Row(f"k{i:04d}", f"c{i // 3}", ("audio", "visual")[i % 2], i % 3, i * 0.5, i * 0.5 + 1)
        for i in range(first, first + n)
    ]


def slow_search(rows: Sequence[Row], vectors: Any, query: Any, k: int) -> list[tuple[str, float]]:
    """Score one pair at a time in float64, sort by score and key."""
    scored = []
    for row, vector in zip(rows, vectors, strict=True):
        a, b = query.astype(float), vector.astype(float)
        norms = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
        cosine = float((a * b).sum() / norms) if norms > 0 else 0.0
        scored.append((-round(cosine * 2**20) / 2**20, row.key))
    return [(key, -score) for score, key in sorted(scored)[:k]]


def found(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.row.key, hit.score) for hit in hits]

"""The quality of a library: what people look at agrees with the figures, and with a slow count."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from earsight.library.embedding.training_rows import PairedRows
from earsight.library.reports.evaluate import Ranked, evaluate_library
from earsight.library.reports.quality import K, Quality, _Counts, measure
from earsight.retrieval import evaluate


def ranked(seed: int, labels: list[str]) -> Ranked:
    rng = np.random.default_rng(seed)
    clips = np.array([f"c{seed}-{i:02d}" for i in range(len(labels))])
    points = {m: rng.normal(size=(len(labels), 4)) for m in ("audio", "visual")}
    named = np.array([bool(label) for label in labels])
    by_class = None
    if named.any():
        some = {m: x[named] for m, x in points.items()}
        by_class = evaluate(some, labels=np.array(labels)[named], ks=())
    rows = PairedRows(clips, np.array(labels), {})
    by_pair = evaluate(points, ks=(1,))
    return Ranked(space="words", rows=rows, points=points, by_pair=by_pair, by_class=by_class)


def slow_first(fold: Ranked, i: int) -> list[str]:
    """The clips whose sight fits the sound of clip i best, one cosine at a time."""
    a = fold.points["audio"][i]
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in fold.points["visual"]]
    order = sorted(range(len(cosines)), key=lambda j: -cosines[j])
    return [str(fold.rows.clips[j]) for j in order[:K]]


def test_it_counts_as_a_slow_reader_would() -> None:
    folds = [ranked(0, ["a", "b", "a", "", "b", "a", "c"]), ranked(1, ["b", "a", "c", "a", "b"])]
    kept = _Counts()
    for fold in folds:
        kept.add(fold)
    by_content = {case.content: case for case in kept.cases if case.by == "audio"}
    counted: Counter[tuple[str, str]] = Counter()
    for fold in folds:
        label_of = dict(zip(fold.rows.clips.tolist(), fold.rows.labels.tolist(), strict=True))
        for i, content in enumerate(fold.rows.clips.tolist()):
            case = by_content[content]
            assert case.results == slow_first(fold, i)
            assert (case.ap is None) == (label_of[content] == "")
            if case.rank <= K:
                assert case.results[round(case.rank) - 1] == content
            r = sum(label == label_of[content] for label in label_of.values())
            others = [label_of[one] for one in case.results if label_of[one]][:r]
            if case.ap is not None:
                counted.update((label_of[content], other) for other in others)
    assert kept.confused["audio->visual"] == counted
    rows = {row["label"]: row for row in kept.per_class()}
    assert {label: row["n"] for label, row in rows.items()} == {"a": 5, "b": 4, "c": 2}
    aps = [case.ap for case in kept.cases if case.by == "audio" and case.ap is not None]
    weighted = sum(row["n"] * row["audio->visual"] for row in rows.values()) / 11  # type: ignore
    assert weighted == pytest.approx(np.mean(aps))


def test_without_classes_the_paired_item_orders_the_queries() -> None:
    kept = _Counts()
    kept.add(ranked(2, [""] * 6))
    assert kept.per_class() == [] and kept.confused == {}
    assert len(kept.cases) == 12 and all(case.ap is None for case in kept.cases)


def test_a_library(made: Path) -> None:
    found = measure(made)
    assert isinstance(found, Quality)
    assert found.evaluation == evaluate_library(made)
    assert {row["label"] for row in found.per_class} == {"blue", "red"}
    for table in found.confusion.values():
        assert table["labels"] == ["blue", "red"]
        assert np.allclose(np.sum(table["rows"], axis=1), 1)
    assert (
        found.best
        and all(
            a.ap >= b.ap  # type: ignore[operator]
            for a, b in zip(found.best, found.best[1:], strict=False)
        )
    )
    assert found.best[0].ap >= (found.worst or found.best)[0].ap  # type: ignore[operator]

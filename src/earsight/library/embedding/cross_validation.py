"""Cross-validation: score clips that were held out, with and without a learned embedding.

Each fold is a fit of its own, and the last fit is of all clips. Fits run side by side in processes,
because scipy's LAPACK holds Python's lock and threads would take turns; the results are the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from earsight import engine
from earsight.arrays import FloatArray
from earsight.datasets import folds, n_folds_for
from earsight.discovery import make, parse_spec
from earsight.errors import TrainingError
from earsight.library.catalog.records import MODALITIES
from earsight.library.embedding.extraction import Sources, zero_shot_role
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.training_rows import NO_LABEL, PairedRows
from earsight.library.progress import Progress
from earsight.methods import JointEmbedding
from earsight.retrieval import evaluate

WEIGHT = 0.5  # share of the zero-shot space in the cosine, with a learned embedding beside it
_FEW = 1500  # rows, whose matrices are so small that two threads are slower than one
_PROCESSES_FROM = 400  # rows, which take longer to learn from than processes to start


@dataclass(frozen=True)
class Scores:
    """One figure for each held-out clip: the mean of both directions.

    Attributes:
        ap: (n,) average precision by class; NaN where the clip has no class.
        rr: (n,) reciprocal rank of the paired item.
    """

    ap: FloatArray
    rr: FloatArray


def fit_zero_shot(views: Mapping[str, FloatArray], sources: Sources) -> JointEmbedding:
    """Fit the zero-shot space to its vectors; without rows its prior alone centres it."""
    model = make("methods", "zero_shot", {"prior": sources.priors()})
    fitted: JointEmbedding = model.fit(views) if views else model.fit_prior()
    return fitted


def fit_learned(rows: PairedRows, method: str) -> JointEmbedding:
    """Fit a method to the features of both modalities."""
    name, parameters = parse_spec(method)
    model: JointEmbedding = make("methods", name, dict(parameters))
    labels = None if (rows.labels == NO_LABEL).any() else rows.labels
    views = {modality: rows.vectors[modality] for modality in MODALITIES}
    return model.fit(views, labels=labels, groups=rows.clips)


def zero_shot_views(rows: PairedRows, sources: Sources) -> dict[str, FloatArray]:
    """Return modality → the vectors of the zero-shot space."""
    return {m: rows.vectors[zero_shot_role(sources.zero_shot, m)] for m in MODALITIES}


def score(space: JointSpace, rows: PairedRows) -> Scores:
    """Rank clips against each other, sound and sight, and score each one as a query."""
    rows = rows.one_per_clip()
    embedded = {modality: space.embed(modality, rows.vectors) for modality in MODALITIES}
    own = evaluate(embedded)
    rr = np.mean([own[pair].reciprocal_ranks for pair in own], axis=0)
    ap = np.full(len(rows), np.nan)
    named = rows.labels != NO_LABEL
    if named.any():
        some = {modality: x[named] for modality, x in embedded.items()}
        by_class = evaluate(some, labels=rows.labels[named])
        ap[named] = np.mean([by_class[pair].ap for pair in by_class], axis=0)
    return Scores(ap, rr)


# -- fold by fold ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """One fit: to `rows`, and what it says of `test`; of the last one, to all clips, no more."""

    number: int
    rows: PairedRows
    test: PairedRows | None
    method: str
    sources: Sources


def cross_validate(
    rows: PairedRows, method: str, sources: Sources, *, workers: int, progress: Progress
) -> tuple[Scores, Scores, JointEmbedding]:
    """Score every clip while it is held out, and learn from all of them.

    Args:
        rows: What may be learned from.
        method: "auto" or the name of a method, with hyper-parameters.
        sources: The extractors.
        workers: Processes that learn side by side, where there is enough to learn and little to
            hold in memory.
        progress: Receives each fit.

    Returns:
        The scores of the zero-shot space alone, those with the method beside it, and the method
        fitted to all rows.

    Raises:
        InputError, TrainingError: It cannot learn from these clips.
    """
    n_folds = n_folds_for(rows.n_clips) or 2
    parts = folds(rows.labels, rows.clips, n_folds, seed=0)

    def jobs() -> Iterator[_Job]:
        yield _Job(n_folds, rows, None, method, sources)  # the longest one is begun first
        for number, (train, test) in enumerate(parts):
            yield _Job(number, rows.take(train), rows.take(test), method, sources)

    progress.start("Learning, fold by fold", n_folds + 1)
    found: dict[int, Any] = {}
    in_processes = _PROCESSES_FROM <= len(rows) <= _FEW and _fits_in_processes(method)
    for number, result in _results(jobs(), workers if in_processes else 1):
        found[number] = result
        progress.advance()
    progress.finish()
    learned = found.pop(n_folds)
    alone, joined = zip(*(found[number] for number in range(n_folds)), strict=True)
    return _concatenated(alone), _concatenated(joined), learned


def _fits_in_processes(method: str) -> bool:
    """Whether a method may be fitted in other processes: one of ours that needs no torch.

    Networks take all cores, or the one GPU, themselves; what others wrote may not be sendable.
    """
    name, parameters = parse_spec(method)
    model = make("methods", name, dict(parameters))
    return type(model).__module__.startswith("earsight.") and not hasattr(model, "device")


def _results(jobs: Iterator[_Job], workers: int) -> Iterator[tuple[int, Any]]:
    """Yield the number of each job with what it gives, as they come."""
    if workers == 1:
        for job in jobs:
            yield job.number, _fit_and_score(job)
        return
    for job, result in engine.run(_fit_and_score, jobs, workers=workers):
        if isinstance(result, engine.WorkerDied):
            raise TrainingError(
                "The process that learns crashed twice. There may be too little memory."
            )
        yield job.number, result


def _fit_and_score(job: _Job) -> tuple[Scores, Scores] | JointEmbedding:
    with _threads_for(len(job.rows)):
        learned = fit_learned(job.rows, job.method)
        if job.test is None:
            return learned
        name, views = job.sources.zero_shot, zero_shot_views(job.rows, job.sources)
        zero_shot = fit_zero_shot(views, job.sources)
        alone = JointSpace(zero_shot, zero_shot_name=name)
        joined = JointSpace(zero_shot, learned, WEIGHT, name)
        return score(alone, job.test), score(joined, job.test)


def _threads_for(n_rows: int) -> AbstractContextManager[object]:
    """Have few rows learned from on one thread: on more, small matrices wait for each other."""
    import scipy.linalg  # noqa: F401 - brings a BLAS of its own, limited only once it is loaded
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas") if n_rows <= _FEW else nullcontext()


def _concatenated(parts: Sequence[Scores]) -> Scores:
    return Scores(
        np.concatenate([part.ap for part in parts]), np.concatenate([part.rr for part in parts])
    )

"""What clips that are held out say: of the bridge alone, and with a learned part beside it.

Each fold is a fit of its own, and so is the last one, of all clips. They are alike whether they are
made one after another or side by side, in processes: LAPACK, through scipy, does not let go of
Python's lock, so threads would take turns.
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
from earsight.library.embedding.extraction import MODALITIES, Sources, bridge_role
from earsight.library.embedding.joint_space import Space
from earsight.library.embedding.paired_rows import NO_LABEL, PairedRows
from earsight.library.progress import Progress
from earsight.methods._base import JointEmbedding
from earsight.retrieval import evaluate

WEIGHT = 0.5  # the bridge's share where a learned part stands beside it
_FEW = 1500  # rows, whose matrices are so small that two threads are slower than one
_APART = 400  # rows, which take longer to learn from than processes to start


@dataclass(frozen=True)
class Scores:
    """One figure a clip, on held-out clips: the mean of both directions.

    Attributes:
        ap: (n,) average precision by class; NaN where the clip has no class.
        rr: (n,) reciprocal rank of the own half.
    """

    ap: FloatArray
    rr: FloatArray


def fit_bridge(views: Mapping[str, FloatArray], sources: Sources) -> JointEmbedding:
    """Fit `zero_shot` to vectors of the bridge; with no rows it is centred by its prior alone."""
    bridge = make("methods", "zero_shot", {"prior": sources.priors()})
    fitted: JointEmbedding = bridge.fit(views) if views else bridge.fit_prior()
    return fitted


def fit_learned(rows: PairedRows, method: str) -> JointEmbedding:
    """Fit a method to the features of both modalities."""
    name, parameters = parse_spec(method)
    model: JointEmbedding = make("methods", name, dict(parameters))
    labels = None if (rows.labels == NO_LABEL).any() else rows.labels
    views = {modality: rows.vectors[modality] for modality in MODALITIES}
    return model.fit(views, labels=labels, groups=rows.clips)


def bridge_views(rows: PairedRows, sources: Sources) -> dict[str, FloatArray]:
    """Return modality → the vectors of the bridge."""
    return {m: rows.vectors[bridge_role(sources.bridge, m)] for m in MODALITIES}


def score(space: Space, rows: PairedRows) -> Scores:
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


def held_out(
    rows: PairedRows, method: str, sources: Sources, workers: int, progress: Progress
) -> tuple[Scores, Scores, JointEmbedding]:
    """Score every clip while it is held out, and learn from all of them.

    Args:
        rows: What may be learned from.
        method: "auto" or the name of a method, with hyper-parameters.
        sources: The extractors.
        workers: Processes that learn side by side, where there is enough to learn and little to
            hold in memory.
        progress: Is told of each fit.

    Returns:
        The scores of the bridge alone, those with the method beside it, and the method fitted.

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
    apart = _APART <= len(rows) <= _FEW and _goes_apart(method)
    for number, result in _done(jobs(), workers if apart else 1):
        found[number] = result
        progress.advance()
    progress.finish()
    learned = found.pop(n_folds)
    alone, joined = zip(*(found[number] for number in range(n_folds)), strict=True)
    return _joined(alone), _joined(joined), learned


def _goes_apart(method: str) -> bool:
    """Whether a method may be fitted in other processes: one of ours that needs no torch.

    Networks take all cores, or the one GPU, themselves; what others wrote may not be sendable.
    """
    name, parameters = parse_spec(method)
    model = make("methods", name, dict(parameters))
    return type(model).__module__.startswith("earsight.") and not hasattr(model, "device")


def _done(jobs: Iterator[_Job], workers: int) -> Iterator[tuple[int, Any]]:
    """Yield the number of each job with what it gives, as they come."""
    if workers == 1:
        for job in jobs:
            yield job.number, _learned(job)
        return
    for job, result in engine.run(_learned, jobs, workers=workers):
        if isinstance(result, engine.WorkerDied):
            raise TrainingError("a process that learned crashed, twice; memory may be short.")
        yield job.number, result


def _learned(job: _Job) -> tuple[Scores, Scores] | JointEmbedding:
    with _threads_for(len(job.rows)):
        learned = fit_learned(job.rows, job.method)
        if job.test is None:
            return learned
        bridge = fit_bridge(bridge_views(job.rows, job.sources), job.sources)
        alone = Space(bridge, bridge_name=job.sources.bridge)
        beside = Space(bridge, learned, WEIGHT, job.sources.bridge)
        return score(alone, job.test), score(beside, job.test)


def _threads_for(n_rows: int) -> AbstractContextManager[object]:
    """Have few rows learned from on one thread: on more, small matrices wait for each other."""
    import scipy.linalg  # noqa: F401 - brings a BLAS of its own, limited only once it is loaded
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas") if n_rows <= _FEW else nullcontext()


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(
        np.concatenate([part.ap for part in parts]), np.concatenate([part.rr for part in parts])
    )

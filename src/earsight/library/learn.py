"""Decide what answers: the bridge alone (words, by default), or with a learned part beside it.

The learned part joins only where there is enough to learn from and it shows on clips that were
held out: better than the bridge alone in one of MAP by class and reciprocal rank of the own half
(one-sided paired bootstrap over clips, p < .05), and not worse in the other (p > .05).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from earsight.arrays import FloatArray, Labels
from earsight.datasets import folds, n_folds_for
from earsight.discovery import make, parse_spec
from earsight.errors import InputError, TrainingError
from earsight.library.paired import NO_LABEL, PairedRows, load_pairs
from earsight.library.progress import Progress, Silent
from earsight.library.settings import Settings
from earsight.library.sources import MODALITIES, TEXT, Sources, bridge_role
from earsight.library.space import Space, method_name
from earsight.library.tables import Tables
from earsight.methods._base import JointEmbedding
from earsight.metrics import paired_bootstrap
from earsight.retrieval import evaluate

LEARN_VERSION = 4  # raised when the same clips would give another embedding
MIN_CLIPS = 50
MIN_PER_CLASS = 5
WEIGHT = 0.5  # the bridge's share where a learned part stands beside it
_LEVEL = 0.05
_FEW = 1500  # clips, whose matrices are so small that two threads are slower than one


@dataclass(frozen=True)
class Decision:
    """What answers, and the figures behind it.

    Attributes:
        answers: The bridge ("words" by default), or "words + NAME".
        why: One sentence for people.
        figures: Means over held-out clips and p-values; empty where nothing was compared.
    """

    answers: str
    why: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """One figure a clip, on held-out clips: the mean of both directions.

    Attributes:
        ap: (n,) average precision by class; NaN where the clip has no class.
        rr: (n,) reciprocal rank of the own half.
    """

    ap: FloatArray
    rr: FloatArray


def learn(
    tables: Tables,
    contents: Mapping[str, int],
    labels: Mapping[str, str],
    settings: Settings,
    progress: Progress,
    *,
    texts: Mapping[str, int],
) -> tuple[Space, Decision]:
    """Fit the bridge, and what stands beside it if that helps; say which and why.

    Args:
        tables: What was read.
        contents: Content of a clip → its number of windows.
        labels: Content → label.
        settings: What is to be learned, and the extractors.
        progress: Is told.
        texts: Content of a text → its number of windows; the bridge is centred on them too.
    """
    bridge = _fit_bridge(tables, {**contents, **texts}, settings.sources)
    if settings.learn == "never":
        decision = Decision(
            settings.sources.bridge, "Nothing is learned, as asked (--learn never)."
        )
    else:
        rows, note = load_pairs(tables, contents, labels)
        decision, learned = choose(
            rows, settings.learn, settings.sources, note=note, progress=progress
        )
        if learned is not None:
            progress.say(_told(decision))
            return Space(bridge, learned, WEIGHT, settings.sources.bridge), decision
    progress.say(_told(decision))
    return Space(bridge, bridge_name=settings.sources.bridge), decision


def _fit_bridge(tables: Tables, contents: Mapping[str, int], sources: Sources) -> JointEmbedding:
    def batches() -> Iterator[tuple[dict[str, FloatArray]]]:
        for modality in (*MODALITIES, TEXT):
            for piece in tables.read(modality, contents):
                yield ({modality: piece.vectors[bridge_role(sources.bridge, modality)]},)

    bridge: JointEmbedding = make("methods", "zero_shot", {"prior": sources.priors()})
    return bridge.fit_batches(batches)


def fit_bridge(views: Mapping[str, FloatArray], sources: Sources) -> JointEmbedding:
    """Fit `zero_shot` to vectors of the bridge; with no rows it is centred by its prior alone."""
    bridge = make("methods", "zero_shot", {"prior": sources.priors()})
    fitted: JointEmbedding = bridge.fit(views) if views else bridge.fit_prior()
    return fitted


# -- is learning worth it? -------------------------------------------------------------------------


@dataclass(frozen=True)
class Trainable:
    """Which rows can be learned from.

    Attributes:
        mask: (n,) truth values, or None where nothing can be learned.
        note: Which classes are left out, or why nothing can be learned.
    """

    mask: Labels | None
    note: str = ""


def trainable(rows: PairedRows, share: float = 1.0) -> Trainable:
    """Find the rows to learn from: those of classes of at least 5 clips, or all without labels.

    Args:
        rows: Paired rows.
        share: The part of a library that these rows are; what it needs of clips shrinks likewise,
            so that a training fold is treated as the library is.
    """
    clips_of = dict(zip(rows.clips, rows.labels, strict=True))
    sizes = Counter(label for label in clips_of.values() if label != NO_LABEL)
    large = [label for label, count in sizes.items() if count >= MIN_PER_CLASS * share]
    lacking = []
    if len(clips_of) < MIN_CLIPS * share:
        lacking.append(
            f"learning needs {MIN_CLIPS} clips with sound and sight; here: {len(clips_of)}"
        )
    if sizes and len(large) < 2:
        lacking.append(
            f"a class needs {MIN_PER_CLASS} clips with sound and sight to be learned, and fewer "
            "than two classes have them"
        )
    mask = np.isin(rows.labels, large) if sizes else np.ones(len(rows), dtype=bool)
    n_clips = len(np.unique(rows.clips[mask]))
    if not lacking and n_clips < MIN_CLIPS * share:
        lacking.append(
            f"learning needs {MIN_CLIPS} clips with sound and sight in classes of at least "
            f"{MIN_PER_CLASS}; here: {n_clips}"
        )
    if lacking:
        return Trainable(None, "; and ".join(lacking))
    left_out = len(clips_of) - n_clips
    note = f"{left_out} clips of small classes or without a label are not learned from. "
    return Trainable(mask, note if left_out else "")


def choose(
    rows: PairedRows,
    method: str,
    sources: Sources,
    *,
    share: float = 1.0,
    note: str = "",
    progress: Progress | None = None,
) -> tuple[Decision, JointEmbedding | None]:
    """Compare the bridge with and without `method` on held-out folds, and fit what won.

    Args:
        rows: All that may be looked at; nothing of it is a test row of the caller.
        method: "auto" or the name of a method, with hyper-parameters.
        sources: The extractors (for the bridge's prior).
        share: The part of a library that these rows are (see `trainable`).
        note: Put before the reason.
        progress: Is told of each fold.
    """
    usable = trainable(rows, share)
    if usable.mask is None:
        return Decision(sources.bridge, f"{note}Nothing is learned: {usable.note}."), None
    rows = rows.take(usable.mask)
    note += usable.note
    try:
        with _threads_for(rows.n_clips):
            alone, joined = _held_out(rows, method, sources, progress or Silent())
            learned = fit_learned(rows, method)
    except (InputError, TrainingError) as error:
        why = f"{parse_spec(method)[0]} cannot learn from these clips: {error}"
        return Decision(sources.bridge, note + why), None
    figures, joins = compare(alone, joined)
    figures |= {"clips": rows.n_clips}
    name = method_name(learned)
    if not joins:
        why = f"{name} beside the bridge does not help on held-out clips."
        return Decision(sources.bridge, note + why, figures), None
    why = f"{name} beside the bridge is better on held-out clips."
    return Decision(f"{sources.bridge} + {name}", note + why, figures), learned


def _threads_for(n_clips: int) -> AbstractContextManager[object]:
    """Have few clips learned from on one thread: on more, small matrices wait for each other."""
    from threadpoolctl import threadpool_limits

    few = n_clips <= _FEW
    return threadpool_limits(1, user_api="blas") if few else nullcontext()


def fit_learned(rows: PairedRows, method: str) -> JointEmbedding:
    """Fit a method to the features of both modalities."""
    name, parameters = parse_spec(method)
    model: JointEmbedding = make("methods", name, dict(parameters))
    labels = None if (rows.labels == NO_LABEL).any() else rows.labels
    views = {modality: rows.vectors[modality] for modality in MODALITIES}
    return model.fit(views, labels=labels, groups=rows.clips)


def _held_out(
    rows: PairedRows, method: str, sources: Sources, progress: Progress
) -> tuple[Scores, Scores]:
    """Score every clip while it is held out: by the bridge alone, and with the method beside it."""
    alone, joined = [], []
    n_folds = n_folds_for(rows.n_clips) or 2
    progress.start("Learning, fold by fold", n_folds)
    for train, test in folds(rows.labels, rows.clips, n_folds, seed=0):
        fitted, held_out = rows.take(train), rows.take(test)
        bridge = fit_bridge(bridge_views(fitted, sources), sources)
        alone.append(score(Space(bridge, bridge_name=sources.bridge), held_out))
        beside = Space(bridge, fit_learned(fitted, method), WEIGHT, sources.bridge)
        joined.append(score(beside, held_out))
        progress.advance()
    progress.finish()
    return _joined(alone), _joined(joined)


def _joined(parts: list[Scores]) -> Scores:
    return Scores(
        np.concatenate([part.ap for part in parts]), np.concatenate([part.rr for part in parts])
    )


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


def compare(alone: Scores, joined: Scores) -> tuple[dict[str, float], bool]:
    """Return the figures of the comparison, and whether the learned part joins."""
    figures: dict[str, float] = {}
    better, worse = [], []
    for name, one, two in (("map", alone.ap, joined.ap), ("mrr", alone.rr, joined.rr)):
        known = ~np.isnan(one)
        if not known.any():
            continue
        one, two = one[known], two[known]
        p_better, p_worse = paired_bootstrap(two, one), paired_bootstrap(one, two)
        figures |= {
            f"{name}_words": float(one.mean()),
            f"{name}_joined": float(two.mean()),
            f"p_{name}_better": p_better,
            f"p_{name}_worse": p_worse,
        }
        better.append(p_better < _LEVEL)
        worse.append(p_worse <= _LEVEL)
    # One that is better cannot be worse itself, so "not worse in the other" is "none is worse".
    return figures, any(better) and not any(worse)


def _told(decision: Decision) -> str:
    figures = decision.figures
    shown = [
        f"{label} {figures[f'{name}_words']:.3f} → {figures[f'{name}_joined']:.3f} "
        f"(p {_p(figures[f'p_{name}_better'])})"
        for name, label in (("map", "MAP by class"), ("mrr", "reciprocal rank of the own half"))
        if f"{name}_words" in figures
    ]
    told = f"Answers come from {decision.answers}: {decision.why}"
    return f"{told} {'; '.join(shown)}." if shown else told


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}"

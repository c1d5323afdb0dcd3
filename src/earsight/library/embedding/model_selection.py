"""Choose the joint space: the zero-shot space alone, or with a learned embedding beside it.

The learned embedding joins if there is enough to learn from and it is better on held-out clips: in
MAP by class or in the reciprocal rank of the paired item (one-sided paired bootstrap over clips,
p < .05), and not worse in the other (p > .05).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from earsight.arrays import FloatArray, Labels
from earsight.discovery import make, parse_spec
from earsight.errors import InputError, TrainingError
from earsight.library.catalog.records import MODALITIES
from earsight.library.embedding.cross_validation import WEIGHT, Scores, cross_validate
from earsight.library.embedding.extraction import TEXT, Sources, zero_shot_role
from earsight.library.embedding.feature_tables import FeatureTables
from earsight.library.embedding.joint_space import JointSpace, method_name
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_rows import (
    NO_LABEL,
    PairedRows,
    TrainingPlan,
    load_paired_rows,
)
from earsight.library.progress import Progress, Silent
from earsight.methods import JointEmbedding
from earsight.metrics import paired_bootstrap

MIN_CLIPS = 50
MIN_PER_CLASS = 5
_LEVEL = 0.05


@dataclass(frozen=True)
class Decision:
    """Which joint space was chosen, and the figures behind it.

    Attributes:
        answers: The zero-shot space ("words" by default), or "words + NAME".
        why: One sentence for people.
        figures: Means over held-out clips and p-values; empty where nothing was compared.
    """

    answers: str
    why: str
    figures: dict[str, float] = field(default_factory=dict)


def select_model(
    tables: FeatureTables,
    plan: TrainingPlan,
    settings: Settings,
    *,
    workers: int,
    progress: Progress,
) -> tuple[JointSpace, Decision]:
    """Fit the zero-shot space, and a learned embedding beside it if that helps; say why.

    Args:
        tables: What was read.
        plan: The clips, their labels, and the texts beside them.
        settings: What is to be learned, and the extractors.
        workers: Processes that learn side by side.
        progress: Receives what happens.
    """
    sources = settings.sources
    zero_shot = _fit_zero_shot(tables, plan, sources)
    if settings.learn == "never":
        decision = Decision(sources.zero_shot, "Nothing is learned, as asked (--learn never).")
        progress.say(_summary(decision))
        return JointSpace(zero_shot, zero_shot_name=sources.zero_shot), decision
    rows, note = load_paired_rows(tables, plan.windows, plan.labels)
    decision, learned = choose_model(
        rows, settings.learn, sources, note=note, workers=workers, progress=progress
    )
    progress.say(_summary(decision))
    weight = 1.0 if learned is None else WEIGHT
    return JointSpace(zero_shot, learned, weight, sources.zero_shot), decision


def _fit_zero_shot(tables: FeatureTables, plan: TrainingPlan, sources: Sources) -> JointEmbedding:
    """Centre the zero-shot space on all clips, and on the texts beside them."""

    def batches() -> Iterator[tuple[dict[str, FloatArray]]]:
        for modality in (*MODALITIES, TEXT):
            for piece in tables.read(modality, plan.windows | plan.texts):
                yield ({modality: piece.vectors[zero_shot_role(sources.zero_shot, modality)]},)

    model: JointEmbedding = make("methods", "zero_shot", {"prior": sources.priors()})
    return model.fit_batches(batches)


@dataclass(frozen=True)
class Trainable:
    """Which rows can be learned from.

    Attributes:
        mask: (n,) truth values, or None where nothing can be learned.
        note: Which classes are left out, or why nothing can be learned.
    """

    mask: Labels | None
    note: str = ""


def trainable_rows(rows: PairedRows, share: float = 1.0) -> Trainable:
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


def choose_model(
    rows: PairedRows,
    method: str,
    sources: Sources,
    *,
    share: float = 1.0,
    note: str = "",
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Decision, JointEmbedding | None]:
    """Compare the zero-shot space with and without `method` on held-out folds; fit the better one.

    Args:
        rows: All that may be looked at; nothing of it is a test row of the caller.
        method: "auto" or the name of a method, with hyper-parameters.
        sources: The extractors.
        share: The part of a library that these rows are (see `trainable_rows`).
        note: Put before the reason.
        workers: Processes that learn side by side.
        progress: Receives each fold.
    """
    usable = trainable_rows(rows, share)
    if usable.mask is None:
        return Decision(sources.zero_shot, f"{note}Nothing is learned: {usable.note}."), None
    rows = rows.take(usable.mask)
    note += usable.note
    try:
        alone, joined, learned = cross_validate(
            rows, method, sources, workers=workers, progress=progress or Silent()
        )
    except (InputError, TrainingError) as error:
        why = f"{parse_spec(method)[0]} cannot learn from these clips: {error}"
        return Decision(sources.zero_shot, note + why), None
    figures, joins = compare(alone, joined)
    figures |= {"clips": rows.n_clips}
    name = method_name(learned)
    if not joins:
        why = f"{name} beside the zero-shot space does not help on held-out clips."
        return Decision(sources.zero_shot, note + why, figures), None
    why = f"{name} beside the zero-shot space is better on held-out clips."
    return Decision(f"{sources.zero_shot} + {name}", note + why, figures), learned


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


def _summary(decision: Decision) -> str:
    figures = decision.figures
    shown = [
        f"{label} {figures[f'{name}_words']:.3f} → {figures[f'{name}_joined']:.3f} "
        f"(p {_p(figures[f'p_{name}_better'])})"
        for name, label in (("map", "MAP by class"), ("mrr", "reciprocal rank of the paired item"))
        if f"{name}_words" in figures
    ]
    text = f"Answers come from {decision.answers}: {decision.why}"
    return f"{text} {'; '.join(shown)}." if shown else text


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}"

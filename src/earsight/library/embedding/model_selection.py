"""Decide what answers: the bridge alone (words, by default), or with a learned part beside it.

The learned part joins only where there is enough to learn from and it shows on clips that were
held out: better than the bridge alone in one of MAP by class and reciprocal rank of the own half
(one-sided paired bootstrap over clips, p < .05), and not worse in the other (p > .05).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from earsight.arrays import FloatArray, Labels
from earsight.discovery import make, parse_spec
from earsight.errors import InputError, TrainingError
from earsight.library.embedding.cross_validation import WEIGHT, Scores, held_out
from earsight.library.embedding.extraction import MODALITIES, TEXT, Sources, bridge_role
from earsight.library.embedding.feature_tables import Tables
from earsight.library.embedding.joint_space import Space, method_name
from earsight.library.embedding.paired_rows import NO_LABEL, PairedRows, load_pairs
from earsight.library.embedding.settings import Settings
from earsight.library.progress import Progress, Silent
from earsight.methods._base import JointEmbedding
from earsight.metrics import paired_bootstrap

LEARN_VERSION = 4  # raised when the same clips would give another embedding
MIN_CLIPS = 50
MIN_PER_CLASS = 5
_LEVEL = 0.05


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


def learn(
    tables: Tables,
    contents: Mapping[str, int],
    labels: Mapping[str, str],
    settings: Settings,
    progress: Progress,
    *,
    texts: Mapping[str, int],
    workers: int = 1,
) -> tuple[Space, Decision]:
    """Fit the bridge, and what stands beside it if that helps; say which and why.

    Args:
        tables: What was read.
        contents: Content of a clip → its number of windows.
        labels: Content → label.
        settings: What is to be learned, and the extractors.
        progress: Is told.
        texts: Content of a text → its number of windows; the bridge is centred on them too.
        workers: Processes that learn side by side.
    """
    bridge = _fit_bridge(tables, {**contents, **texts}, settings.sources)
    if settings.learn == "never":
        decision = Decision(
            settings.sources.bridge, "Nothing is learned, as asked (--learn never)."
        )
    else:
        rows, note = load_pairs(tables, contents, labels)
        decision, learned = choose(
            rows,
            settings.learn,
            settings.sources,
            note=note,
            workers=workers,
            progress=progress,
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
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Decision, JointEmbedding | None]:
    """Compare the bridge with and without `method` on held-out folds, and fit what won.

    Args:
        rows: All that may be looked at; nothing of it is a test row of the caller.
        method: "auto" or the name of a method, with hyper-parameters.
        sources: The extractors (for the bridge's prior).
        share: The part of a library that these rows are (see `trainable`).
        note: Put before the reason.
        workers: Processes that learn side by side.
        progress: Is told of each fold.
    """
    usable = trainable(rows, share)
    if usable.mask is None:
        return Decision(sources.bridge, f"{note}Nothing is learned: {usable.note}."), None
    rows = rows.take(usable.mask)
    note += usable.note
    try:
        alone, joined, learned = held_out(rows, method, sources, workers, progress or Silent())
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

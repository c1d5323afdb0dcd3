"""Decide what answers: the words bridge alone, or with a learned embedding beside it.

The learned part joins only where there is enough to learn from and it shows on clips that were
held out: better than the bridge alone in one of MAP by class and reciprocal rank of the own half
(one-sided paired bootstrap over clips, p < .05), and not worse in the other (p > .05).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.datasets import folds, n_folds_for
from earsight.discovery import make, parse_spec
from earsight.errors import InputError
from earsight.library.progress import Progress
from earsight.library.settings import Settings
from earsight.library.sources import MODALITIES, Sources
from earsight.library.space import Space, method_name
from earsight.library.tables import Tables
from earsight.methods._base import JointEmbedding
from earsight.metrics import paired_bootstrap
from earsight.retrieval import evaluate

LEARN_VERSION = 1  # raised when the same clips would give another embedding
MIN_CLIPS = 50
MIN_PER_CLASS = 5
MAX_ROWS = 50_000  # more rows than this are sampled, by whole clips, to learn from
WEIGHT = 0.5  # the bridge's share where a learned part stands beside it
_LEVEL = 0.05
NO_LABEL = ""


@dataclass(frozen=True)
class PairedRows:
    """Rows with both sound and sight, in memory.

    Attributes:
        clips: (n,) content of each row; rows of one content are not independent.
        labels: (n,) class of each row, `NO_LABEL` where it has none.
        vectors: Role → (n, d).
    """

    clips: Labels
    labels: Labels
    vectors: dict[str, FloatArray]

    def __len__(self) -> int:
        return len(self.clips)

    def take(self, which: IntArray | Labels) -> "PairedRows":
        """Return some of the rows, by index or truth value."""
        vectors = {role: x[which] for role, x in self.vectors.items()}
        return PairedRows(self.clips[which], self.labels[which], vectors)

    @property
    def n_clips(self) -> int:
        """Number of contents."""
        return len(np.unique(self.clips))


@dataclass(frozen=True)
class Decision:
    """What answers, and the figures behind it.

    Attributes:
        answers: "words", or "words + NAME".
        why: One sentence for people.
        figures: Means over held-out clips and p-values; empty where nothing was compared.
    """

    answers: str
    why: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """One figure a row, on held-out rows: the mean of both directions.

    Attributes:
        ap: (n,) average precision by class; NaN where the row has no class.
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
) -> tuple[Space, Decision]:
    """Fit the bridge, and what stands beside it if that helps; say which and why."""
    bridge = _fit_bridge(tables, contents, settings.sources)
    if settings.learn == "never":
        decision = Decision("words", "Nothing is learned, as asked (--learn never).")
    else:
        rows, note = load_pairs(tables, contents, labels)
        decision, learned = choose(rows, settings.learn, settings.sources, note)
        if learned is not None:
            progress.say(_told(decision))
            return Space(bridge, learned, WEIGHT), decision
    progress.say(_told(decision))
    return Space(bridge), decision


def load_pairs(
    tables: Tables, contents: Mapping[str, int], labels: Mapping[str, str], *, seed: int = 0
) -> tuple[PairedRows, str]:
    """Read the rows that have both sound and sight; a note tells if they had to be sampled."""
    contents, note = _sampled(contents, seed)
    keys: dict[str, list[str]] = {}
    parts: dict[str, list[FloatArray]] = {}
    for modality in MODALITIES:
        keys[modality] = []
        for piece in tables.read(modality, contents):
            keys[modality] += [row.key for row in piece.rows]
            for role, part in piece.vectors.items():
                parts.setdefault(role, []).append(part)
    both = sorted(set(keys["audio"]) & set(keys["visual"]))
    if not both:
        return PairedRows(np.array([]), np.array([]), {}), note
    vectors: dict[str, FloatArray] = {}
    for modality in MODALITIES:
        where = {key: i for i, key in enumerate(keys[modality])}
        order = [where[key] for key in both]
        for role in (f"words.{modality}", modality):
            vectors[role] = np.concatenate(parts[role])[order]
    clips = [key.partition(":")[0] for key in both]
    classes = [labels.get(clip, NO_LABEL) for clip in clips]
    return PairedRows(np.array(clips), np.array(classes), vectors), note


def _sampled(contents: Mapping[str, int], seed: int) -> tuple[Mapping[str, int], str]:
    n_rows = sum(contents.values())
    if n_rows <= MAX_ROWS:
        return contents, ""
    share = MAX_ROWS / n_rows
    order = np.random.default_rng(seed).permutation(len(contents))
    names = sorted(contents)
    chosen = [names[i] for i in order[: int(share * len(contents))]]
    note = f"Learned from {len(chosen)} of {len(contents)} clips, drawn with seed {seed}. "
    return {name: contents[name] for name in chosen}, note


def _fit_bridge(tables: Tables, contents: Mapping[str, int], sources: Sources) -> JointEmbedding:
    def batches() -> Iterator[tuple[dict[str, FloatArray]]]:
        for modality in MODALITIES:
            for piece in tables.read(modality, contents):
                yield ({modality: piece.vectors[f"words.{modality}"]},)

    bridge: JointEmbedding = make("methods", "zero_shot", {"prior": sources.priors()})
    return bridge.fit_batches(batches)


def fit_bridge(views: Mapping[str, FloatArray], sources: Sources) -> JointEmbedding:
    """Fit `zero_shot` to words vectors; with no rows it is centred by its prior alone."""
    bridge = make("methods", "zero_shot", {"prior": sources.priors()})
    fitted: JointEmbedding = bridge.fit(views) if views else bridge.fit_prior()
    return fitted


# -- is learning worth it? -------------------------------------------------------------------------


def trainable(rows: PairedRows) -> tuple[Labels | None, str]:
    """Return which rows can be learned from, and why none can (None, reason) where that is so.

    With at least two classes of 5 clips, the rows of those classes; without, all rows.
    """
    clips_of = dict(zip(rows.clips, rows.labels, strict=True))
    sizes = Counter(label for label in clips_of.values() if label != NO_LABEL)
    large = [label for label, count in sizes.items() if count >= MIN_PER_CLASS]
    if len(large) >= 2:
        mask = np.isin(rows.labels, large)
    elif sizes:
        return None, (
            f"a class needs {MIN_PER_CLASS} clips with sound and sight to be learned, and fewer "
            "than two classes have them"
        )
    else:
        mask = np.ones(len(rows), dtype=bool)
    n_clips = len(np.unique(rows.clips[mask]))
    if n_clips < MIN_CLIPS:
        return (
            None,
            f"learning needs {MIN_CLIPS} clips with sound and sight, and {n_clips} are here",
        )
    return mask, ""


def choose(
    rows: PairedRows, method: str, sources: Sources, note: str = ""
) -> tuple[Decision, JointEmbedding | None]:
    """Compare the bridge with and without `method` on held-out folds, and fit what won.

    Args:
        rows: All that may be looked at; nothing of it is a test row of the caller.
        method: "auto" or the name of a method, with hyper-parameters.
        sources: The extractors (for the bridge's prior).
        note: Put before the reason.
    """
    mask, reason = trainable(rows)
    if mask is None:
        return Decision("words", f"{note}Nothing is learned: {reason}."), None
    rows = rows.take(mask)
    n_folds = n_folds_for(rows.n_clips)
    if n_folds is None:
        raise InputError(f"Choosing needs 20 clips; got {rows.n_clips}.")
    alone, joined = _held_out(rows, method, sources, n_folds)
    figures, joins = compare(alone, joined, rows.clips)
    figures |= {"folds": n_folds, "clips": rows.n_clips}
    learned = fit_learned(rows, method)
    name = method_name(learned)
    if not joins:
        why = f"{name} beside the bridge does not help on held-out clips."
        return Decision("words", note + why, figures), None
    why = f"{name} beside the bridge is better on held-out clips."
    return Decision(f"words + {name}", note + why, figures), learned


def fit_learned(rows: PairedRows, method: str) -> JointEmbedding:
    """Fit a method to the features of both modalities."""
    name, parameters = parse_spec(method)
    model: JointEmbedding = make("methods", name, dict(parameters))
    labels = None if (rows.labels == NO_LABEL).any() else rows.labels
    views = {modality: rows.vectors[modality] for modality in MODALITIES}
    return model.fit(views, labels=labels, groups=rows.clips)


def _held_out(
    rows: PairedRows, method: str, sources: Sources, n_folds: int
) -> tuple[Scores, Scores]:
    """Score every row while it is held out: by the bridge alone, and with the method beside it."""
    scores = {kind: Scores(np.zeros(len(rows)), np.zeros(len(rows))) for kind in (False, True)}
    for train, test in folds(rows.labels, rows.clips, n_folds, seed=0):
        fitted = rows.take(train)
        bridge = fit_bridge(words_of(fitted), sources)
        for kind, space in (
            (False, Space(bridge)),
            (True, Space(bridge, fit_learned(fitted, method), WEIGHT)),
        ):
            found = score(space, rows.take(test))
            scores[kind].ap[test], scores[kind].rr[test] = found.ap, found.rr
    return scores[False], scores[True]


def words_of(rows: PairedRows) -> dict[str, FloatArray]:
    """Return modality → the vectors of the bridge."""
    return {modality: rows.vectors[f"words.{modality}"] for modality in MODALITIES}


def score(space: Space, rows: PairedRows) -> Scores:
    """Rank rows against each other, sound and sight, and score each row as a query."""
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


def compare(alone: Scores, joined: Scores, clips: Labels) -> tuple[dict[str, float], bool]:
    """Return the figures of the comparison, and whether the learned part joins."""
    figures: dict[str, float] = {}
    better, worse = [], []
    for name, one, two in (("map", alone.ap, joined.ap), ("mrr", alone.rr, joined.rr)):
        known = ~np.isnan(one)
        if not known.any():
            continue
        one, two, groups = one[known], two[known], clips[known]
        p_better = paired_bootstrap(two, one, groups=groups)
        p_worse = paired_bootstrap(one, two, groups=groups)
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
        f"(p = {figures[f'p_{name}_better']:.3f})"
        for name, label in (("map", "MAP by class"), ("mrr", "reciprocal rank of the own half"))
        if f"{name}_words" in figures
    ]
    return f"Answers come from {decision.answers}: {decision.why} " + "; ".join(shown)

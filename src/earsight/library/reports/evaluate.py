"""Evaluate a library: both directions, on clips that were held out, with chance beside it.

Everything is made inside the training part of each fold: the centring, the learned part, and the
choice of what answers. Query and gallery are the fold's test clips, and so is chance.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.datasets import folds, n_folds_for
from earsight.errors import LibraryError
from earsight.library.embedding.cross_validation import WEIGHT, bridge_views, fit_bridge
from earsight.library.embedding.extraction import MODALITIES
from earsight.library.embedding.joint_space import Space
from earsight.library.embedding.model_selection import choose
from earsight.library.embedding.paired_rows import NO_LABEL, PairedRows
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_rows import stored_pairs
from earsight.library.progress import Progress, Silent
from earsight.retrieval import Evaluation, evaluate
from earsight.storage import Place

LOG = logging.getLogger(__name__)

DIRECTIONS = (("audio", "visual"), ("visual", "audio"))
KS = (1, 5, 10)


@dataclass
class LibraryEvaluation:
    """How well a library answers.

    Attributes:
        n_clips: Clips that were ranked; each has sound and sight.
        n_rows: Their rows; a long clip has several windows, all learned from, and its middle one
            is ranked.
        left_out: Clips without sound or without sight.
        copies: Files beyond the first of one content; each content is one clip here.
        n_labelled: Clips with a class; MAP is over these.
        folds: Number of folds; 0 where nothing was fitted.
        answers: What was chosen, fold by fold.
        directions: "audio->visual" and "visual->audio", each figure the mean over folds.
        note: How it was done, for people.
    """

    n_clips: int
    n_rows: int
    left_out: int
    n_labelled: int
    folds: int
    answers: list[str]
    directions: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""
    copies: int = 0


@dataclass(frozen=True)
class Ranked:
    """Clips that were held out and ranked for each other: a fold, or all of few clips.

    Attributes:
        rows: One for each of the n clips.
        points: Modality → (n, k), where they lie in the space that was made without them.
        own: Figures by each clip's own other half.
        by_class: Figures by class, over the clips that have one; None where none has.
    """

    rows: PairedRows
    points: dict[str, FloatArray]
    own: Evaluation
    by_class: Evaluation | None


def evaluate_library(
    library: str | Place,
    *,
    progress: Progress | None = None,
    watch: Callable[[Ranked], None] | None = None,
) -> LibraryEvaluation:
    """Score the clips of a library as queries for each other.

    Args:
        library: The clips folder, or the library folder itself.
        progress: Is told of each fold.
        watch: Is given what was ranked, fold by fold.

    Raises:
        LibraryError: No library, or fewer than two clips with both sound and sight.
    """
    stored = stored_pairs(library)
    rows, settings, note = stored.rows, stored.settings, stored.note
    if rows.n_clips < 2:
        raise LibraryError(
            f"Evaluation needs at least 2 clips with both sound and sight; {library} has "
            f"{rows.n_clips} of {stored.n_contents}."
        )
    result = LibraryEvaluation(
        rows.n_clips,
        len(rows),
        stored.n_contents - stored.n_paired,
        len(np.unique(rows.clips[rows.labels != NO_LABEL])),
        n_folds_for(rows.n_clips) or 0,
        [],
        copies=stored.n_copies,
    )
    if result.folds:
        _cross_validate(rows, settings, result, progress or Silent(), watch)
        result.note = (
            f"{note}{result.folds} folds by clip; query and gallery are the test fold; centring, "
            "learning and the choice of what answers were made in the training part."
        )
    else:
        bridge = settings.sources.bridge
        space = Space(fit_bridge({}, settings.sources), bridge_name=bridge)
        result.directions = _figures(space, rows, watch)
        result.answers = [bridge]
        result.note = (
            f"{note}With fewer than 20 clips nothing is fitted: all are ranked by the {bridge} "
            "bridge, centred by its prior alone."
        )
    if result.copies:
        result.note += (
            f" Copies of one content are scored once: {result.copies} of the files "
            "hold what another holds."
        )
    return result


def _cross_validate(
    rows: PairedRows,
    settings: Settings,
    result: LibraryEvaluation,
    progress: Progress,
    watch: Callable[[Ranked], None] | None,
) -> None:
    found = []
    progress.start("Evaluating folds", result.folds)
    for train, test in folds(rows.labels, rows.clips, result.folds, seed=0):
        inside = rows.take(train)
        bridge = fit_bridge(bridge_views(inside, settings.sources), settings.sources)
        name = settings.sources.bridge
        if settings.learn == "never":
            learned, answers = None, name
        else:
            share = inside.n_clips / rows.n_clips
            decision, learned = choose(inside, settings.learn, settings.sources, share=share)
            answers = decision.answers
            LOG.info("A fold is answered by %s: %s", answers, decision.why)
        space = Space(bridge, learned, WEIGHT if learned else 1.0, name)
        result.answers.append(answers)
        found.append(_figures(space, rows.take(test), watch))
        progress.advance()
    progress.finish()
    for direction in found[0]:
        names = sorted(set.intersection(*(set(one[direction]) for one in found)))
        result.directions[direction] = {
            name: float(np.mean([one[direction][name] for one in found])) for name in names
        }


def _figures(
    space: Space, rows: PairedRows, watch: Callable[[Ranked], None] | None
) -> dict[str, dict[str, float]]:
    """Return direction → figures, on the clips given as queries and gallery."""
    rows = rows.one_per_clip()
    embedded = {modality: space.embed(modality, rows.vectors) for modality in MODALITIES}
    ks = tuple(k for k in KS if k <= len(rows))
    own = evaluate(embedded, ks=ks)
    named = rows.labels != NO_LABEL
    by_class: Evaluation | None = None
    if named.any():
        some = {modality: x[named] for modality, x in embedded.items()}
        by_class = evaluate(some, labels=rows.labels[named], ks=())
    if watch is not None:
        watch(Ranked(rows, embedded, own, by_class))
    figures = {}
    for query, gallery in DIRECTIONS:
        direction = own[query, gallery]
        one: dict[str, Any] = {
            "mrr": direction.mrr,
            "median_rank": direction.median_rank,
            "gallery": len(rows),
        }
        for k in ks:
            one[f"recall@{k}"] = direction.recall[k]
            one[f"recall_chance@{k}"] = direction.recall_chance[k]
        if by_class is not None:
            one["map"] = by_class[query, gallery].map
            one["map_chance"] = by_class[query, gallery].map_chance
        figures[f"{query}->{gallery}"] = {name: float(value) for name, value in one.items()}
    return figures

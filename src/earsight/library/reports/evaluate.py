"""Evaluate a library: both directions, on clips that were held out, with chance beside it.

Everything is made inside the training part of each fold: the centring, the learned part, and the
choice of the space. Query and gallery are the fold's test clips, and so is chance.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.datasets import folds, n_folds_for
from earsight.errors import LibraryError
from earsight.library.catalog.records import MODALITIES
from earsight.library.embedding.cross_validation import WEIGHT, fit_zero_shot, zero_shot_views
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.model_selection import choose_model
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_rows import NO_LABEL, PairedRows, stored_pairs
from earsight.library.progress import Progress, Silent
from earsight.retrieval import Evaluation, evaluate
from earsight.storage import Location

LOG = logging.getLogger(__name__)

DIRECTIONS = (("audio", "visual"), ("visual", "audio"))
KS = (1, 5, 10)


@dataclass(frozen=True, kw_only=True)
class LibraryEvaluation:
    """How well a library retrieves.

    Attributes:
        n_clips: Clips that were ranked; each has sound and sight.
        n_rows: Their rows; a long clip has several windows, all learned from, and its middle one
            is ranked.
        left_out: Clips without sound or without sight.
        n_labelled: Clips with a class; MAP is over these.
        folds: Number of folds; 0 where nothing was fitted.
        spaces: The space that was chosen, fold by fold: "words", or "words + NAME".
        directions: "audio->visual" and "visual->audio", each figure the mean over folds.
        note: How it was done, for people.
        copies: Files beyond the first of one content; each content is one clip here.
    """

    n_clips: int
    n_rows: int
    left_out: int
    n_labelled: int
    folds: int
    spaces: list[str]
    directions: dict[str, dict[str, float]]
    note: str
    copies: int


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Clips that were held out and ranked for each other: a fold, or all of few clips.

    Attributes:
        space: The name of the space that was chosen.
        rows: One for each of the n clips.
        points: Modality → (n, k), where they lie in the space that was made without them.
        by_pair: Figures by each clip's paired item.
        by_class: Figures by class, over the clips that have one; None where none has.
    """

    space: str
    rows: PairedRows
    points: dict[str, FloatArray]
    by_pair: Evaluation
    by_class: Evaluation | None

    def figures(self) -> dict[str, dict[str, float]]:
        """Return direction → figures."""
        found = {}
        for query, gallery in DIRECTIONS:
            pairs = self.by_pair[query, gallery]
            figures: dict[str, Any] = {
                "mrr": pairs.mrr,
                "median_rank": pairs.median_rank,
                "gallery": len(self.rows),
            }
            for k in pairs.recall:
                figures[f"recall@{k}"] = pairs.recall[k]
                figures[f"recall_chance@{k}"] = pairs.recall_chance[k]
            if self.by_class is not None:
                figures["map"] = self.by_class[query, gallery].map
                figures["map_chance"] = self.by_class[query, gallery].map_chance
            found[f"{query}->{gallery}"] = {name: float(one) for name, one in figures.items()}
        return found


def evaluate_library(
    library: str | Location,
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
    rows, settings = stored.rows, stored.settings
    if rows.n_clips < 2:
        raise LibraryError(
            f"Evaluation needs at least 2 clips with both sound and sight; {library} has "
            f"{rows.n_clips} of {stored.n_contents}."
        )
    n_folds = n_folds_for(rows.n_clips) or 0
    name = settings.sources.zero_shot
    if n_folds:
        ranked = _folds(rows, settings, n_folds, progress or Silent())
        note = (
            f"{n_folds} folds by clip; query and gallery are the test fold; centring, learning and "
            "the choice of the space were made in the training part."
        )
    else:
        space = JointSpace(fit_zero_shot({}, settings.sources), zero_shot_name=name)
        ranked = iter([_rank(space, name, rows)])
        note = (
            f"With fewer than 20 clips nothing is fitted: all are ranked in the zero-shot space "
            f"{name!r}, centred by its prior alone."
        )
    if stored.n_copies:
        note += (
            f" Copies of one content are scored once: {stored.n_copies} of the files hold what "
            "another holds."
        )
    spaces, figures = [], []
    for fold in ranked:
        spaces.append(fold.space)
        figures.append(fold.figures())
        if watch is not None:
            watch(fold)
    return LibraryEvaluation(
        n_clips=rows.n_clips,
        n_rows=len(rows),
        left_out=stored.n_contents - stored.n_paired,
        n_labelled=len(np.unique(rows.clips[rows.labels != NO_LABEL])),
        folds=n_folds,
        spaces=spaces,
        directions={direction: _mean(figures, direction) for direction in figures[0]},
        note=stored.note + note,
        copies=stored.n_copies,
    )


def _mean(folds: list[dict[str, dict[str, float]]], direction: str) -> dict[str, float]:
    """Return the mean of each figure that all folds have."""
    names = set.intersection(*(set(fold[direction]) for fold in folds))
    return {
        name: float(np.mean([fold[direction][name] for fold in folds])) for name in sorted(names)
    }


def _folds(
    rows: PairedRows, settings: Settings, n_folds: int, progress: Progress
) -> Iterator[Ranked]:
    """Fit a space to the training part of each fold, and rank its test part."""
    progress.start("Evaluating folds", n_folds)
    for train, test in folds(rows.labels, rows.clips, n_folds, seed=0):
        inside, learned, name = rows.take(train), None, settings.sources.zero_shot
        zero_shot = fit_zero_shot(zero_shot_views(inside, settings.sources), settings.sources)
        if settings.learn != "never":
            share = inside.n_clips / rows.n_clips
            decision, learned = choose_model(inside, settings.learn, settings.sources, share=share)
            name = decision.answers
            LOG.info("A fold is ranked in the space %s: %s", name, decision.why)
        space = JointSpace(
            zero_shot, learned, WEIGHT if learned else 1.0, settings.sources.zero_shot
        )
        yield _rank(space, name, rows.take(test))
        progress.advance()
    progress.finish()


def _rank(space: JointSpace, name: str, rows: PairedRows) -> Ranked:
    """Rank clips for each other, as queries and gallery."""
    rows = rows.one_per_clip()
    points = {modality: space.embed(modality, rows.vectors) for modality in MODALITIES}
    labelled = rows.labels != NO_LABEL
    by_class: Evaluation | None = None
    if labelled.any():
        some = {modality: x[labelled] for modality, x in points.items()}
        by_class = evaluate(some, labels=rows.labels[labelled], ks=())
    by_pair = evaluate(points, ks=tuple(k for k in KS if k <= len(rows)))
    return Ranked(space=name, rows=rows, points=points, by_pair=by_pair, by_class=by_class)

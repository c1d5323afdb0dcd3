"""Fit one method to features and keep the model; score it on other features, if there are some.

model = earsight.load_model(folder)  # what `train` left there
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earsight.errors import InputError
from earsight.experiments.protocol import Protocol
from earsight.experiments.runs import (
    Told,
    figures_of,
    labels_of,
    new_model,
    reads_steps,
    tell_epochs,
    views_for,
)
from earsight.features import PairedFeatures
from earsight.methods import launched, save_model
from earsight.retrieval import evaluate


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model that was fitted and saved.

    Attributes:
        folder: Where it is.
        method: Its name; for `auto`, that of the method it chose.
        n_rows: Modality → rows it was fitted to.
        n_components: Width of its space.
        seconds: Wall-clock time of the fit.
        scores: Direction ("audio->visual") → name → figure, on the other features.
    """

    folder: Path
    method: str
    n_rows: dict[str, int]
    n_components: int
    seconds: float
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


def train(
    data: PairedFeatures,
    spec: str,
    folder: Path,
    *,
    seed: int = 0,
    score: PairedFeatures | None = None,
    told: Told = lambda line: None,
) -> Trained:
    """Fit a method to all rows but those that the data keep for testing, and save it.

    Under torchrun all ranks fit one model together, and the first one scores and saves it.

    Args:
        data: What is learned from.
        spec: The method, such as "cca:n_components=5".
        folder: Where the model goes; it must not be there.
        seed: Of whatever is drawn.
        score: Other rows of the same modalities, ranked by the model; without a split.
        told: Is told of each epoch.

    Raises:
        InputError: The folder is there, the method is unknown, or the rows do not fit it; or
            torchrun runs a method that is not trained in steps.
        TrainingError: Another rank ended, or what `fit` raises.
    """
    check_score(folder, score)
    if data.split is not None:
        data = data.take(Protocol(official_test=True).cut(data)[0].train)
    model: Any = new_model(spec, seed)
    if score is not None and reads_steps(model) and data.steps.keys() - score.steps.keys():
        raise InputError(
            f"Features to score {spec} with must have sequences of {', '.join(data.steps)}; there "
            f"are those of {', '.join(score.steps) or 'none'}."
        )
    rank, ranks = launched()
    if ranks > 1 and not model.trains_in_epochs:
        raise InputError(
            f"{spec} is not trained in steps, so that torchrun's {ranks} ranks would each do the "
            "whole work. Run it without torchrun, or name a method with epochs, such as tnn."
        )
    tell_epochs(model, spec, told if rank == 0 else lambda line: None)
    begun = time.perf_counter()
    model.fit(views_for(model, data), labels=data.labels, groups=data.group)
    seconds = time.perf_counter() - begun
    scores = {} if score is None or rank > 0 else scored(model, score)
    if rank == 0:
        save_model(model, folder)
    return Trained(
        folder=folder,
        method=str(getattr(model, "chosen_", model.name)),
        n_rows={modality: len(x) for modality, x in data.views.items()},
        n_components=model.n_components_,
        seconds=seconds,
        scores=scores,
    )


def check_score(folder: Path, score: PairedFeatures | None) -> None:
    """Check where a model is to go and what it is to be scored with, before anything is fitted.

    Raises:
        InputError: The folder is there, or the features to score with have a split.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; a model is never replaced. Name another.")
    if score is not None and score.split is not None:
        raise InputError(
            "Features to score with must have no split of their own; these keep rows for testing. "
            "To ask those, with the look noted: earsight compare --official-test."
        )


def scored(model: Any, score: PairedFeatures) -> dict[str, dict[str, float]]:
    """Return direction → name → figure, of other features ranked by a model."""
    ks = (1, 5, 10)
    embedded = model.transform_views(views_for(model, score))
    found = evaluate(embedded, labels=labels_of(score), ks=ks)
    return {f"{a}->{b}": figures_of(one, score, ks) for (a, b), one in found.items()}

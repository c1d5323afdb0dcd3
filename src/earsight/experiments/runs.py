"""One fit, scored on the rows that were held out; and all the fits of one method."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.discovery import make, parse_spec
from earsight.errors import InputError
from earsight.experiments.protocol import Fold, Protocol
from earsight.features import PairedFeatures, StepTable
from earsight.methods import JointEmbedding
from earsight.retrieval import Direction, evaluate

Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Queries:
    """What each query of one direction got.

    Attributes:
        rows: (n,) row of the data.
        ap: (n,) average precision; None without labels.
        rank: (n,) rank of the paired item; None where rows are unpaired.
    """

    rows: IntArray
    ap: FloatArray | None
    rank: FloatArray | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fit and how it did.

    Attributes:
        fold, seed: Which.
        fit_seconds: Wall-clock time of `fit`, without the start of torch.
        fitted: What it says of itself: learned numbers and words, such as "n_components_".
        embedded: Modality → (n, k) points of the rows asked.
        test: The rows asked.
        figures: Direction ("audio->visual") → name → figure.
        curves: Direction → (11,) precision at recall 0, .1, …, 1; empty without labels.
        queries: Direction → figures of each query.
    """

    fold: int
    seed: int
    fit_seconds: float
    fitted: dict[str, Any]
    embedded: dict[str, FloatArray]
    test: PairedFeatures
    figures: dict[str, dict[str, float]]
    curves: dict[str, FloatArray]
    queries: dict[str, Queries]


def new_model(spec: str, seed: int = 0) -> JointEmbedding:
    """Make the method that a spec such as "cca:n_components=5" names.

    Raises:
        InputError: Unknown name or hyper-parameter, or a seed among them.
    """
    name, parameters = parse_spec(spec)
    if "seed" in parameters:
        raise InputError(f"A comparison gives the seeds (--seeds); got {spec!r}.")
    model: JointEmbedding = make("methods", name, {**parameters, "seed": seed})
    return model


def runs(data: PairedFeatures, spec: str, protocol: Protocol, told: Told) -> Iterator[Run]:
    """Fit and score one method on every fold with every seed.

    A method whose first two seeds give the very same points in the first fold does not depend on
    the seed; it is fitted once a fold.

    Args:
        data: Rows of at least two modalities.
        spec: The method.
        protocol: The folds and seeds.
        told: Is told of each fit.
    """
    alone = False
    for number, fold in enumerate(protocol.cut(data)):
        first: Run | None = None
        for seed in range(1 if alone else protocol.seeds):
            model = new_model(spec, seed)
            tell_epochs(model, f"{spec}, fold {number + 1}, seed {seed}", told)
            run = _run(data, model, fold, number=number, ks=protocol.ks)
            if number == 0 and seed == 1 and first is not None and _equal(first, run):
                alone = True
                break
            first = first or run
            told(_line(spec, run))
            yield run


def tell_epochs(model: JointEmbedding, what: str, told: Told) -> None:
    """Pass on how training stands, from methods that train in epochs."""

    def tell(epoch: Any) -> None:
        figures = {"loss": epoch.loss, "held-out MAP": epoch.map}
        known = [f", {name} {value:.4g}" for name, value in figures.items() if np.isfinite(value)]
        told(f"{what}: epoch {epoch.number} of {epoch.of}{''.join(known)}")

    if hasattr(model, "on_epoch"):
        model.on_epoch = tell


def _run(
    data: PairedFeatures,
    model: JointEmbedding,
    fold: Fold,
    *,
    number: int,
    ks: tuple[int, ...],
) -> Run:
    train, test = data.take(fold.train), data.take(fold.test)
    labels, groups = labels_of(train), train.group
    model.prepare()  # may take seconds, whichever method comes first
    begun = time.perf_counter()
    model.fit(views_for(model, train), labels=labels, groups=groups)
    seconds = time.perf_counter() - begun
    embedded = model.transform_views(views_for(model, test))
    found = evaluate(embedded, labels=labels_of(test), ks=ks)
    names = {pair: f"{pair[0]}->{pair[1]}" for pair in found}
    labelled = test.labels is not None
    return Run(
        fold=number,
        seed=model.seed,
        fit_seconds=seconds,
        fitted=_said(model),
        embedded=embedded,
        test=test,
        figures={names[pair]: figures_of(one, test, ks) for pair, one in found.items()},
        curves={names[pair]: one.curve for pair, one in found.items() if labelled},
        queries={
            names[pair]: Queries(
                rows=fold.test[pair[0]] if isinstance(fold.test, dict) else fold.test,
                ap=one.ap if labelled else None,
                rank=one.ranks if test.paired else None,
            )
            for pair, one in found.items()
        },
    )


def views_for(model: JointEmbedding, data: PairedFeatures) -> dict[str, FloatArray | StepTable]:
    """Return what a method takes of some data: means, or sequences where it reads them."""
    if not reads_steps(model):
        return dict(data.views)
    return {name: data.steps.get(name, x) for name, x in data.views.items()}


def reads_steps(model: JointEmbedding) -> bool:
    """Whether a method has a `pooling` that reads sequences."""
    return getattr(model, "pooling", "mean") != "mean"


def labels_of(data: PairedFeatures) -> Any:
    """Return labels as `evaluate` wants them; unpaired rows without labels have no figure.

    Raises:
        InputError: There is neither.
    """
    if data.labels is None and not data.paired:
        raise InputError("Unpaired rows without labels cannot be scored; give labels.")
    return data.labels


def figures_of(one: Direction, test: PairedFeatures, ks: tuple[int, ...]) -> dict[str, float]:
    """Return the figures of one direction that the rows allow, by name."""
    allowed = [k for k in ks if k <= one.n_gallery]
    figures: dict[str, float] = {"queries": one.n_queries, "gallery": one.n_gallery}
    if test.labels is not None:
        figures |= {"map": one.map, "map_chance": one.map_chance}
        figures |= {f"precision@{k}": one.precision[k] for k in allowed}
    if test.paired:
        figures |= {f"recall@{k}": one.recall[k] for k in allowed}
        figures |= {f"recall_chance@{k}": one.recall_chance[k] for k in allowed}
        figures |= {"mrr": one.mrr, "median_rank": one.median_rank}
    return figures


def _said(model: JointEmbedding) -> dict[str, Any]:
    """Return the learned numbers and words; how many epochs, where there is a history."""
    learned: Mapping[str, Any] = model.learned()
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in learned.items()
        if isinstance(value, int | float | str | bool | np.generic)
    }
    if "history_" in learned:
        plain["epochs"] = len(learned["history_"]) - 1
    return plain


def _equal(one: Run, other: Run) -> bool:
    return all(np.array_equal(x, other.embedded[m]) for m, x in one.embedded.items())


def _line(spec: str, run: Run) -> str:
    shown = [
        f"{direction} {main_figure(figures):.3f}" for direction, figures in run.figures.items()
    ]
    return f"{spec}, fold {run.fold + 1}, seed {run.seed}: {', '.join(shown)}"


def main_figure(figures: Mapping[str, float]) -> float:
    """Return what methods are ranked by: MAP, or without labels the mean reciprocal rank."""
    return figures["map"] if "map" in figures else figures["mrr"]


def classes(data: PairedFeatures, modality: str) -> Labels | None:
    """Return the class of each row of one modality."""
    if isinstance(data.labels, Mapping):
        return data.labels[modality]
    return data.labels

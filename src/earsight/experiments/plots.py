"""Pictures of a comparison; they need the extra `earsight[plot]`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earsight import extras
from earsight.arrays import FloatArray, Labels, unit_rows
from earsight.errors import InputError
from earsight.experiments.compare import Comparison
from earsight.experiments.protocol import Protocol
from earsight.experiments.published import BY_SIZE
from earsight.experiments.results import Result, slug
from earsight.experiments.runs import classes, runs
from earsight.experiments.table import title_of
from earsight.features import PairedFeatures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision can tell apart; then dashes.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "^", "s", "D")
_MOST_ROWS = 400  # rows of each modality on the map
_MOST_NAMED = 20  # classes that a legend can name


def plot(
    folder: Path, comparison: Comparison, data: PairedFeatures, protocol: Protocol
) -> list[Path]:
    """Draw precision–recall curves, MAP by output size where it was asked for, and the best space.

    Args:
        folder: Where the pictures go; made if it is not there.
        comparison: What was found.
        data, protocol: From which the best method is fitted once more, for the map of its space.

    Returns:
        The files written.

    Raises:
        InputError: matplotlib is not installed, or the folder cannot be made.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder for plots cannot be made: {error}") from error
    able = [result for result in comparison.ranked() if result.error is None]
    written = []
    if any(result.curves for result in able):
        written.append(_save(precision_recall(Figure(), able), folder / "precision-recall.png"))
    if comparison.sizes and any(result.sizes for result in able):
        drawn = by_size(Figure(), able, comparison.name)
        written.append(_save(drawn, folder / "map-by-size.png"))
    if able:
        drawn = space(Figure(), able[0].method, data, protocol)
        written.append(_save(drawn, folder / f"space-{slug(able[0].method)}.png"))
    return written


def require_matplotlib() -> None:
    """See to it that there is something to draw with, before anything takes long.

    Raises:
        InputError: There is not; how to get it.
    """
    extras.require("plot", "Drawing")


def _save(figure: "Figure", path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path


def _panels(figure: "Figure", titles: list[str]) -> "list[Axes]":
    figure.set_size_inches(1 + 4.6 * len(titles), 4.6)
    figure.set_layout_engine("constrained")
    panels: list[Axes] = list(figure.subplots(1, len(titles), sharey=True, squeeze=False)[0])
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    return panels


def _style(number: int) -> dict[str, Any]:
    dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)]
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": dashes, "linewidth": 1.8}


def precision_recall(figure: "Figure", results: list[Result]) -> "Figure":
    """Draw interpolated precision at recall 0, .1, …, 1, a panel for each direction."""
    directions = list(results[0].curves)
    panels = _panels(figure, [title_of(direction) for direction in directions])
    recall = np.linspace(0, 1, 11)
    for axes, direction in zip(panels, directions, strict=True):
        for number, result in enumerate(results):
            label = f"{result.method}  {result.directions[direction]['map']:.3f}"
            axes.plot(recall, result.curves[direction], label=label, **_style(number))
        chance = results[0].directions[direction]["map_chance"]
        axes.axhline(chance, color="0.6", linewidth=1, label=f"chance  {chance:.3f}")
        axes.set_xlabel("recall")
        axes.set_xlim(0, 1)
        axes.legend(title="MAP", frameon=False, fontsize=8, title_fontsize=8)
    panels[0].set_ylabel("precision")
    panels[0].set_ylim(bottom=0)
    return figure


def by_size(figure: "Figure", results: list[Result], name: str) -> "Figure":
    """Draw MAP against the number of components, a panel for each direction."""
    directions = list(results[0].directions)
    panels = _panels(figure, [title_of(direction) for direction in directions])
    for axes, direction in zip(panels, directions, strict=True):
        for number, result in enumerate(results):  # the same colours as for the curves
            if not result.sizes:
                continue
            found = {int(k): one[direction] for k, one in result.sizes.items() if direction in one}
            style = _style(number)
            axes.plot(*_curve(found), label=result.method, marker="o", markersize=4, **style)
            theirs = BY_SIZE.get(result.method, {}) if name == "vegas" else {}
            if theirs and direction == directions[0]:
                faint = style | {"linewidth": 1.0, "alpha": 0.5}
                axes.plot(*_curve(theirs), label="TNN, published", marker="x", **faint)
        axes.set_xlabel("components")
        axes.set_xticks(sorted({int(k) for result in results for k in result.sizes}))
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("MAP")
    return figure


def _curve(points: dict[int, float]) -> tuple[list[int], list[float]]:
    return sorted(points), [points[k] for k in sorted(points)]


def space(figure: "Figure", spec: str, data: PairedFeatures, protocol: Protocol) -> "Figure":
    """Draw the held-out rows of the first fold in one plane, both modalities.

    The plane is t-SNE of the unit vectors: neighbours in it are neighbours by cosine; distances
    between groups mean little.
    """
    run = next(iter(runs(data, spec, protocol, lambda line: None)))
    points, labels, modality = _drawn_rows(run.embedded, run.test)
    xy = _plane(points)
    figure.set_size_inches(7.5, 5.6)
    figure.set_layout_engine("constrained")
    axes: Axes = figure.subplots()
    names = sorted(set(labels.tolist()))
    for code, label in enumerate(names):
        for number in range(len(run.embedded)):
            rows = (labels == label) & (modality == number)
            named = str(label) if number == 0 and 1 < len(names) <= _MOST_NAMED else None
            axes.scatter(*xy[rows].T, label=named, **_dot(code, len(names), number))
    for number, one in enumerate(run.embedded):  # the shapes, explained without a colour
        marker = _MARKERS[number % len(_MARKERS)]
        axes.scatter([], [], label=one, marker=marker, s=26, facecolors="none", edgecolors="black")
    axes.set(xticks=[], yticks=[], title=f"{spec}: held-out rows of one fold, by t-SNE")
    axes.title.set_fontsize(11)
    axes.spines[:].set_color("0.8")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def _dot(code: int, n: int, number: int) -> dict[str, Any]:
    from matplotlib import colormaps

    colour = colormaps["tab10" if n <= 10 else "tab20"](code % 20) if n <= 20 else None
    colour = colour or colormaps["hsv"](code / n)
    marker = _MARKERS[number % len(_MARKERS)]
    return {"color": [colour], "marker": marker, "s": 18, "linewidths": 0, "alpha": 0.8}


def _drawn_rows(
    embedded: dict[str, FloatArray], test: PairedFeatures
) -> tuple[FloatArray, Labels, Labels]:
    """Return points of all modalities with their classes and the number of their modality."""
    points, labels, modality = [], [], []
    for number, (name, z) in enumerate(embedded.items()):
        rows = np.random.default_rng(0).permutation(len(z))[:_MOST_ROWS]
        own = classes(test, name)
        points.append(unit_rows(z[rows].astype(np.float64)))
        labels.append(np.zeros(len(rows), int) if own is None else own[rows])
        modality.append(np.full(len(rows), number))
    return np.concatenate(points), np.concatenate(labels), np.concatenate(modality)


def _plane(points: FloatArray) -> FloatArray:
    from sklearn.manifold import TSNE

    few = max(1.0, min(30.0, (len(points) - 1) / 3))
    init = "pca" if min(points.shape) >= 2 else "random"
    made = TSNE(perplexity=few, init=init, random_state=0).fit_transform(points.astype(np.float32))
    return np.asarray(made)

"""What others published, as data: a figure is shown beside ours with its source, or not at all.

Values are MAP, query → gallery in the order of the data's views. Sources disagree in places, even
those of one author, which is why each figure names its own.
"""

from dataclasses import dataclass

from earsight.experiments.protocol import Protocol

_PAPER = "Zeng, Yu, Oyama: Learning joint embedding for cross-modal retrieval, table {}"
_PLOTS = "plotting code of Zeng, Yu, Oyama: Deep triplet neural networks with cluster-CCA, 2020"
_NOTEBOOK = "a saved notebook of the same author"
_UNCHECKED = "as commonly cited, not checked at the source"
_RASIWASIA = f"Rasiwasia et al. 2010, {_UNCHECKED}"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published figure.

    Attributes:
        data: Name of the data set.
        method: Our name for the method; None where we have no such method.
        title: The publication's name for it.
        values: MAP in both directions, (first view → second, second → first).
        source: Where it stands.
        main: Shown in the table's row; the others below it.
    """

    data: str
    method: str | None
    title: str
    values: tuple[float, float]
    source: str
    main: bool = True


_FIGURES: dict[str, list[tuple[str | None, str, tuple[float, float], str, bool]]] = {
    "vegas": [
        ("cca", "CCA", (0.3243, 0.3211), _PAPER.format("II"), True),
        ("dcca", "DCCA", (0.1409, 0.1249), _PAPER.format("II"), True),
        ("cluster_cca", "Cluster-CCA", (0.6516, 0.6435), _PLOTS, True),
        ("cluster_cca", "Cluster-CCA", (0.7116, 0.7076), _NOTEBOOK, False),
        ("s_dcca", "S-DCCA", (0.7034, 0.6927), _PAPER.format("II"), True),
        ("tnn", "TNN", (0.7269, 0.7184), _PAPER.format("II"), True),
        ("tnn", "TNN-C-CCA", (0.7466, 0.7377), _PLOTS, False),
        ("tnn", "TNN-C-CCA, in a sweep", (0.7326, 0.7531), _PLOTS, False),
    ],
    "wikipedia": [
        ("cca", "CCA, 5 dimensions (CM)", (0.249, 0.196), _RASIWASIA, True),
        ("semantic", "SM", (0.225, 0.223), _RASIWASIA, True),
        ("scm", "SCM", (0.277, 0.226), _RASIWASIA, True),
        (None, "JFSSL, the best cited", (0.306, 0.228), f"Wang et al. 2016, {_UNCHECKED}", True),
    ],
}
FIGURES = tuple(
    Published(data=data, method=method, title=title, values=values, source=source, main=main)
    for data, figures in _FIGURES.items()
    for method, title, values, source, main in figures
)

TABLE_1 = {
    ("soundnet", "i3d"): (0.2545, 0.2528),
    ("vggish", "i3d"): (0.4749, 0.4622),
    ("soundnet", "inception"): (0.4982, 0.4863),
    ("vggish", "inception"): (0.7034, 0.6927),
}
"""The paper's table I: S-DCCA on VEGAS by (audio, visual) features."""

TABLE_1_SOURCE = _PAPER.format("I")

BY_SIZE = {"tnn": {10: 0.7466, 20: 0.7214, 30: 0.6932, 50: 0.6621}}
"""MAP by output size on VEGAS, audio → visual, from the same plotting code."""


def figures_for(name: str, protocol: Protocol) -> tuple[Published, ...]:
    """Return the published figures that a comparison of some data may be held against.

    Those of Wikipedia are on its official test rows; those of VEGAS are means over five folds,
    of which the author's file is one.
    """
    fits = {
        "wikipedia": protocol.official_test,
        "vegas": protocol.official_test or protocol.folds == 5,
    }
    return tuple(each for each in FIGURES if each.data == name) if fits.get(name) else ()

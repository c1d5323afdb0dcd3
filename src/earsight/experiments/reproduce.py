"""The paper's two tables, ours beside the published ones, and the same on AVE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earsight.datasets import ave, vegas
from earsight.datasets.ave import FILES, WHERE
from earsight.errors import FeatureFileError, InputError
from earsight.experiments.compare import Comparison, Options, compare
from earsight.experiments.protocol import Protocol
from earsight.experiments.published import FIGURES, TABLE_1, TABLE_1_SOURCE
from earsight.experiments.results import Result
from earsight.experiments.runs import Told
from earsight.features import PairedFeatures

TABLES = ("table1", "table2")
TABLE_1_METHOD = "s_dcca"
TABLE_2_METHODS = ("cca", "dcca", "s_dcca", "tnn")
FOLDS = 5  # the paper's, where the files have no split of their own


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of a reproduced table.

    Attributes:
        data: "VEGAS" or "AVE".
        features: "vggish / inception".
        result: What we found.
        published: MAP audio → visual and visual → audio; None where there is none.
        source: Of the published figures.
        protocol: How ours was found.
    """

    data: str
    features: str
    result: Result
    published: tuple[float, float] | None
    source: str
    protocol: str


@dataclass(frozen=True)
class _Set:
    """Data found in the folder."""

    name: str
    features: tuple[str, str]
    data: PairedFeatures


def reproduce(
    table: str,
    folder: Path,
    *,
    seeds: int = 1,
    options: Options | None = None,
    told: Told = lambda line: None,
    done: Callable[[Result, bool], None] = lambda result, kept: None,
) -> tuple[list[Line], list[str]]:
    """Run what a table of the paper shows on the features in a folder.

    table1: S-DCCA by features. table2: CCA, DCCA, S-DCCA and TNN on VGGish and Inception. Files
    with a split of their own are compared on it, which is noted in the log; others on five folds.
    AVE's official files in the folder are run as well; the paper has no figures for them.

    Args:
        table: "table1" or "table2".
        folder: Holds the files (see `datasets.vegas` and `datasets.ave`).
        seeds: How many each method is fitted with.
        options: `log` is needed; `json` is a folder, a file for each set of features.
        told, done: As for `compare`.

    Returns:
        The rows, and what is missing for the others, a sentence each.

    Raises:
        InputError: Another table.
        FeatureFileError: The folder holds none of the files.
    """
    if table not in TABLES:
        raise InputError(f"The paper has {' and '.join(TABLES)}; got {table!r}.")
    options = options or Options()
    wanted = list(TABLE_1) if table == "table1" else [("vggish", "inception")]
    sets, missing = _find(folder, wanted)
    if not sets:
        raise FeatureFileError("\n".join(missing))
    lines: list[Line] = []
    for found in sets:
        methods = (TABLE_1_METHOD,) if table == "table1" else TABLE_2_METHODS
        protocol = Protocol(folds=FOLDS, seeds=seeds, official_test=found.data.split is not None)
        comparison = compare(
            *(found.data, methods, protocol),
            name=found.name,
            source=f"{found.name}: {' / '.join(found.features)}",
            options=replace(options, json=_file(found, options.json)),
            told=told,
            done=done,
        )
        lines += [_line(table, found, comparison, result) for result in comparison.results]
    return lines, missing


def _find(folder: Path, wanted: Sequence[tuple[str, str]]) -> tuple[list[_Set], list[str]]:
    sets, missing = [], []
    for audio, visual in wanted:
        try:
            sets.append(_Set("vegas", (audio, visual), vegas(folder, audio, visual)))
        except FeatureFileError as error:
            missing.append(str(error))
    if any((folder / name).is_file() for name in FILES):
        sets.append(_Set("ave", ("vggish", "vgg19"), ave(folder)))
    else:
        missing.append(f"{folder} holds none of AVE's official files: {', '.join(FILES)}. {WHERE}")
    return sets, missing


def _file(found: _Set, folder: Path | None) -> Path | None:
    """Return the file that keeps the results of one set of features, in a folder that is made."""
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{found.name}_{'_'.join(found.features)}.json"


def _line(table: str, found: _Set, comparison: Comparison, result: Result) -> Line:
    published, source = None, ""
    if found.name == "vegas" and table == "table1":
        published, source = TABLE_1[found.features], TABLE_1_SOURCE
    elif found.name == "vegas":
        main = [each for each in FIGURES if each.data == "vegas" and each.main]
        each = next(each for each in main if each.method == result.method)
        published, source = each.values, each.source
    return Line(
        data=found.name.upper(),
        features=" / ".join(found.features),
        result=result,
        published=published,
        source=source,
        protocol=comparison.protocol.describe(found.data),
    )

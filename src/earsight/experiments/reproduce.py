"""The paper's two tables, ours beside the published ones, and the same on AVE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earsight.datasets import ave, vegas
from earsight.datasets.ave import FILES as AVE_FILES
from earsight.datasets.ave import WHERE as AVE_WHERE
from earsight.errors import FeatureFileError, InputError
from earsight.experiments.compare import Comparison, Wishes, compare
from earsight.experiments.protocol import Protocol
from earsight.experiments.published import FIGURES, TABLE_1, TABLE_1_SOURCE
from earsight.experiments.results import Result
from earsight.experiments.runs import Told
from earsight.features import PairedFeatures

TABLES = ("table1", "table2")
TABLE_1_METHOD = "s_dcca"
TABLE_2_METHODS = ("cca", "dcca", "s_dcca", "tnn")
FOLDS = 5  # the paper's, where the files have no split of their own


@dataclass(frozen=True)
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
    wishes: Wishes | None = None,
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
        wishes: `log` is needed; `json` is a folder, a file for each set of features.
        told, done: As for `compare`.

    Returns:
        The rows, and what is missing for the others, a sentence each.

    Raises:
        InputError: Another table.
        FeatureFileError: The folder holds none of the files.
    """
    if table not in TABLES:
        raise InputError(f"The paper has {' and '.join(TABLES)}; got {table!r}.")
    wishes = wishes or Wishes()
    wanted = list(TABLE_1) if table == "table1" else [("vggish", "inception")]
    sets, missing = _find(folder, wanted)
    if not sets:
        raise FeatureFileError("\n".join(missing))
    lines: list[Line] = []
    for found in sets:
        methods = (TABLE_1_METHOD,) if table == "table1" else TABLE_2_METHODS
        comparison = _run(found, methods, seeds, wishes, told, done)
        lines += [_line(table, found, comparison, result) for result in comparison.results]
    return lines, missing


def _find(folder: Path, wanted: Sequence[tuple[str, str]]) -> tuple[list[_Set], list[str]]:
    sets, missing = [], []
    for audio, visual in wanted:
        try:
            sets.append(_Set("vegas", (audio, visual), vegas(folder, audio, visual)))
        except FeatureFileError as error:
            missing.append(str(error))
    if any((folder / name).is_file() for name in AVE_FILES):
        sets.append(_Set("ave", ("vggish", "vgg19"), ave(folder)))
    else:
        missing.append(
            f"{folder} holds none of AVE's official files: {', '.join(AVE_FILES)}. {AVE_WHERE}"
        )
    return sets, missing


def _run(
    found: _Set,
    methods: Sequence[str],
    seeds: int,
    wishes: Wishes,
    told: Told,
    done: Callable[[Result, bool], None],
) -> Comparison:
    own = found.data.split is not None
    protocol = Protocol(folds=FOLDS, seeds=seeds, official_test=own)
    file = None
    if wishes.json is not None:
        wishes.json.mkdir(parents=True, exist_ok=True)
        file = wishes.json / f"{found.name}_{'_'.join(found.features)}.json"
    own_wishes = Wishes(json=file, again=wishes.again, log=wishes.log)
    name, source = found.name, f"{found.name}: {' / '.join(found.features)}"
    return compare(
        *(found.data, methods, protocol),
        name=name,
        source=source,
        wishes=own_wishes,
        told=told,
        done=done,
    )


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

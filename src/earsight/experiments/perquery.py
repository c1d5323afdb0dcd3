"""The figures of each query, in a file for other people's statistics."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from earsight.errors import InputError
from earsight.experiments.compare import Comparison
from earsight.experiments.results import Result
from earsight.features import PairedFeatures

COLUMNS = ("method", "direction", "seed", "row", "id", "label", "ap", "rank")


def write_per_query(path: Path, comparison: Comparison, data: PairedFeatures) -> None:
    """Write a CSV file, a line for each method, direction, seed and query.

    `row` is the query's row in the data, `ap` its average precision, `rank` that of its paired
    item; what the data cannot give is empty.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for result in comparison.results:
                writer.writerows(_lines(result, data))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def _lines(result: Result, data: PairedFeatures) -> Iterator[list[Any]]:
    for direction, figures in result.queries.items():
        modality = direction.split("->")[0]
        columns = [_column(each, modality) for each in (data.ids, data.labels)]
        asked = ~np.isnan(next(iter(figures.values())))  # (seeds, rows)
        for number, row in np.argwhere(asked):
            told = ["" if column is None else column[row] for column in columns]
            found = [
                f"{figures[name][number, row]:.6g}" if name in figures else ""
                for name in ("ap", "rank")
            ]
            yield [result.method, direction, result.seeds[number], row, *told, *found]


def _column(column: Any, modality: str) -> Any:
    return column[modality] if isinstance(column, Mapping) else column

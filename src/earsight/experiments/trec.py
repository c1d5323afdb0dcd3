"""Rankings as TREC run files with their qrels, for trec_eval and its kin.

For each method and direction one run file, of the first seed; a run file of a later fold goes on
in the same file, since no query and no item is in two test parts. A query is named after its row
("r17"), as is an item; relevant is what has the query's class, in the query's gallery.
"""

from pathlib import Path
from typing import IO

import numpy as np

from earsight.arrays import IntArray
from earsight.errors import InputError
from earsight.experiments.results import slug
from earsight.experiments.runs import Run, classes
from earsight.similarity import top

_TOGETHER = 256  # queries ranked at a time


class TrecWriter:
    """Writes the rankings of one method, fold by fold."""

    def __init__(self, folder: Path, method: str, base: str) -> None:
        """Begin its files; `base` is the digest of data and protocol.

        Raises:
            InputError: The folder cannot be made.
        """
        self._folder, self._method, self._base = folder, method, base
        self._begun: set[Path] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder for TREC files cannot be made: {error}") from error
        _mark(folder, method).unlink(missing_ok=True)

    @staticmethod
    def has(folder: Path, method: str, base: str) -> bool:
        """Whether a method's files are there, whole, and of these data and this protocol."""
        mark = _mark(folder, method)
        return mark.is_file() and mark.read_text() == base

    def add(self, run: Run) -> None:
        """Write the rankings of one fit; only those of the first seed."""
        if run.seed:
            return
        for direction, queries in run.queries.items():
            query, gallery = direction.split("->")
            items = run.queries[f"{gallery}->{query}"].rows
            name = direction.replace("->", "-")
            with self._open(self._folder / f"{slug(self._method)}.{name}.run") as file:
                _write_run(file, run, (query, gallery), tag=slug(self._method))
            labels = [classes(run.test, modality) for modality in (query, gallery)]
            if labels[0] is not None and labels[1] is not None:
                with self._open(self._folder / f"{name}.qrels") as file:
                    _write_qrels(file, queries.rows, items, labels[0][:, None] == labels[1])

    def finish(self) -> None:
        """Mark the files as whole."""
        _mark(self._folder, self._method).write_text(self._base)

    def _open(self, path: Path) -> IO[str]:
        """Open a file, anew the first time and to append after that."""
        mode = "a" if path in self._begun else "w"
        self._begun.add(path)
        return path.open(mode, encoding="utf-8")


def _write_run(file: IO[str], run: Run, pair: tuple[str, str], *, tag: str) -> None:
    rows, items = (run.queries[f"{a}->{b}"].rows for a, b in (pair, pair[::-1]))
    queries, gallery = (run.embedded[modality] for modality in pair)
    for start in range(0, len(queries), _TOGETHER):
        block = slice(start, start + _TOGETHER)
        order, scores = top(queries[block], gallery, k=len(gallery))
        for row, found, own in zip(rows[block], items[order], scores, strict=True):
            file.writelines(
                f"r{row} Q0 r{item} {rank} {score:.7f} {tag}\n"
                for rank, (item, score) in enumerate(zip(found, own, strict=True), 1)
            )


def _write_qrels(file: IO[str], queries: IntArray, items: IntArray, relevant: np.ndarray) -> None:
    for row, own in zip(queries, relevant, strict=True):
        file.writelines(f"r{row} 0 r{item} 1\n" for item in items[own])


def _mark(folder: Path, method: str) -> Path:
    return folder / f".{slug(method)}.whole"

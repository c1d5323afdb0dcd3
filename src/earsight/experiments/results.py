"""What a comparison found, method by method, and the files that keep it.

`OUT.json` maps each method's spec to its record; `OUT.queries/` holds the figures of each query,
which significance tests need, a file a method. Records are written as they come, so that a
comparison that is stopped goes on where it was.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import FeatureFileError, InputError
from earsight.experiments.provenance import commit, digest_of, versions
from earsight.experiments.runs import Run, main_figure
from earsight.features import read_arrays
from earsight.untrusted import parse_json, read_whole, reason_of

_CERTAIN = ("queries", "gallery", "map_chance")  # the same for all seeds and methods: no spread

_MOST_BYTES = 64 << 20  # of a file of results
_KINDS = {
    "hyperparameters": dict,
    "seeds": list,
    "fits": int,
    "curves": dict,
    "fit_seconds": float,
    "fitted": dict,
    "sizes": dict,
    "about": dict,
}
_NEEDED = {"map": {"map_std", "map_chance", "gallery"}, "mrr": {"median_rank", "gallery"}}

PerQuery = dict[str, dict[str, FloatArray]]
"""Direction → "ap" and "rank" → (seeds, rows of the data), NaN where a row was not asked."""


@dataclass(kw_only=True)
class Result:
    """One method's record.

    Attributes:
        method: Its spec.
        base: Digest of the data and the protocol.
        hyperparameters: All of them, defaults too, without the seed.
        seeds: Those it was fitted with; [0] alone where the seed changes nothing.
        fits: How many fits the figures are means of; of one there is no spread.
        directions: Direction → name → mean over folds and seeds, "…_std" its spread.
        curves: Direction → precision at recall 0, .1, …, 1.
        fit_seconds: Mean of one fit.
        fitted: What the first fit said of itself.
        sizes: Number of components → direction → MAP, or {"error": why}.
        error: Why there is no figure.
        about: Data, protocol, versions, commit and date.
        queries: Figures of each query; not in the JSON.
    """

    method: str
    base: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    fits: int = 0
    directions: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    fit_seconds: float | None = None
    fitted: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    queries: PerQuery = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean of the main figure over the directions; −∞ where it failed."""
        if self.error is not None:
            return -np.inf
        return float(np.mean([main_figure(figures) for figures in self.directions.values()]))

    def as_json(self) -> dict[str, Any]:
        """Return the record as it stands in the file: the directions at its top."""
        kept = asdict(self)
        del kept["method"], kept["queries"], kept["directions"]
        return {**self.directions, **kept}

    def check(self) -> None:
        """Check that a record that was read holds what tables and tests look at.

        Raises:
            TypeError, ValueError: It does not.
        """
        for name, kind in _KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"`{name}` of {self.method} is of another kind")
        inner: list[Any] = [*self.directions.values(), *self.sizes.values()]
        inner += [self.about.get("data"), self.about.get("versions")]
        if not all(isinstance(each, dict) for each in inner) or "commit" not in self.about:
            raise TypeError(f"{self.method} lacks a part")
        numbers: list[Any] = [*self.seeds]
        for curve in self.curves.values():
            numbers += curve
        for figures in self.directions.values():
            numbers += [value for name, value in figures.items() if name != "against"]
            main = _NEEDED.keys() & figures.keys()
            if not main or any(not _NEEDED[name] <= figures.keys() for name in main):
                raise ValueError(f"{self.method} lacks figures")
        if not self.directions or not all(isinstance(each, int | float) for each in numbers):
            raise ValueError(f"{self.method} lacks figures, or has some that are no numbers")

    @classmethod
    def of_json(cls, method: str, record: dict[str, Any]) -> "Result":
        """Read a record.

        Raises:
            TypeError, ValueError: It is none.
        """
        own = dict(record)
        directions = {name: own.pop(name) for name in list(own) if "->" in name}
        result = cls(method=method, directions=directions, **own)
        result.check()
        return result


def summarise(runs: Iterable[Run], n_rows: dict[str, int], n_seeds: int) -> dict[str, Any]:
    """Put the runs of one method together: the fields of `Result` that come from runs."""
    held: list[dict[str, dict[str, float]]] = []
    curves: dict[str, list[FloatArray]] = {}
    seconds, seeds = [], set()
    fitted: dict[str, Any] = {}
    queries: PerQuery = {}
    for run in runs:
        held.append(run.figures)
        seconds.append(run.fit_seconds)
        seeds.add(run.seed)
        fitted = fitted or run.fitted
        for direction, curve in run.curves.items():
            curves.setdefault(direction, []).append(curve)
        for direction, own in run.queries.items():
            kept = queries.setdefault(direction, {})
            for name, values in (("ap", own.ap), ("rank", own.rank)):
                if values is None:
                    continue
                shape = (n_seeds, n_rows[direction.split("->")[0]])
                kept.setdefault(name, np.full(shape, np.nan))[run.seed, own.rows] = values
    return {
        "directions": {direction: _means(held, direction) for direction in held[0]},
        "curves": {d: np.mean(parts, axis=0).round(6).tolist() for d, parts in curves.items()},
        "fit_seconds": float(np.mean(seconds)),
        "seeds": sorted(seeds),
        "fits": len(seconds),
        "fitted": fitted,
        "queries": {
            direction: {name: values[sorted(seeds)] for name, values in kept.items()}
            for direction, kept in queries.items()
        },
    }


def _means(held: list[dict[str, dict[str, float]]], direction: str) -> dict[str, float]:
    """Return mean and spread (standard deviation over the runs, 0 for one) of each figure."""
    figures: dict[str, float] = {}
    names = set.intersection(*(set(run[direction]) for run in held))
    for name in (name for name in held[0][direction] if name in names):
        values = [run[direction][name] for run in held]
        figures[name] = float(np.mean(values))
        if name not in _CERTAIN and "chance" not in name:
            figures[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return figures


def about(name: str, source: str, checksum: str, protocol: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says of where it came from."""
    return {
        "data": {"name": name, "source": source, "sha256": checksum},
        "protocol": protocol,
        "versions": dict(versions()),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def base_digest(checksum: str, protocol: dict[str, Any]) -> str:
    """Return what tells comparisons apart that must not be mixed."""
    return digest_of([checksum, protocol])


class ResultFile:
    """`OUT.json` and the folder beside it."""

    def __init__(self, path: Path, base: str, *, again: bool = False) -> None:
        """Open the file of a comparison, or begin it.

        Raises:
            InputError: It is no such file, or holds other data or another protocol (unless
                `again`, which begins it anew).
        """
        self.path, self.folder = path, path.with_suffix(".queries")
        self._records: dict[str, Any] = {}
        if not path.parent.is_dir():
            raise InputError(f"There is no folder {path.parent} to write {path.name} into.")
        if not path.exists():
            return
        try:
            found = parse_json(read_whole(path, _MOST_BYTES), finite=False)
            bases = {record["base"] for record in found.values()}
        except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} is not the result of a comparison, so it is not written over "
                f"({reason_of(error)})."
            ) from error
        if bases <= {base}:
            self._records = found
        elif not again:
            raise InputError(
                f"{path} holds results of other data or another protocol. Give another file, or "
                "--again to begin it anew."
            )
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def find(
        self, method: str, hyperparameters: dict[str, Any], n_rows: Mapping[str, int]
    ) -> Result | None:
        """Return what is known of a method with these very hyper-parameters; no failure.

        Args:
            method: Its spec.
            hyperparameters: All of them.
            n_rows: Modality → rows of the data, as many as figures of queries.
        """
        record = self._records.get(method)
        if record is None or record.get("error") is not None:
            return None
        try:
            result = Result.of_json(method, record)
            for name, values in read_arrays(self._queries(method)).items():
                direction, _, figure = name.rpartition("|")
                rows = n_rows.get(direction.partition("->")[0])
                if values.dtype.kind != "f" or values.shape != (len(result.seeds), rows):
                    return None
                result.queries.setdefault(direction, {})[figure] = values
        except (FeatureFileError, TypeError, ValueError):
            return None  # written by an older Earsight, or damaged: it is made anew
        if digest_of(result.hyperparameters) != digest_of(hyperparameters):
            return None
        return result

    def keep(self, result: Result) -> None:
        """Write a record, after the figures of its queries.

        Raises:
            InputError: It cannot be written.
        """
        self._records[result.method] = result.as_json()
        try:
            if result.queries:
                self.folder.mkdir(exist_ok=True)
                arrays = {
                    f"{direction}|{name}": values
                    for direction, own in result.queries.items()
                    for name, values in own.items()
                }
                np.savez_compressed(self._queries(result.method), **arrays)  # type: ignore[arg-type]
            temporary = self.path.with_suffix(".part")
            temporary.write_text(json.dumps(self._records, indent=1, default=str) + "\n")
            temporary.replace(self.path)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error}") from error

    def _queries(self, method: str) -> Path:
        return self.folder / f"{slug(method)}.npz"


def slug(method: str) -> str:
    """Return a spec as a file's name.

    >>> slug("cca:n_components=5,ridge=0.1")
    'cca_n_components-5_ridge-0.1'
    """
    return "".join(c if c.isalnum() or c in "._" else "-_"[c in ":,"] for c in method)

"""Reading an open feature file: what is where, whether it fits together, and then its numbers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, Labels, as_matrix
from earsight.errors import InputError
from earsight.features._shapes import PARTS, check_bytes, check_counts, times_do_not_fit
from earsight.features._values import KINDS, Scale, check_texts, shown
from earsight.features.containers import FORMAT, Container, JoinedRows
from earsight.features.paired import COLUMNS, Column, PairedFeatures
from earsight.features.sequences import StepTable

_SCALES = {
    # The inverse of YouTube-8M's 8-bit quantiser on [−2, 2], half a step (4/512) towards the
    # middle of each bin: Abu-El-Haija et al. 2016, the released code's Dequantize.
    "yt8m": Scale(4 / 255, 4 / 512 - 2),
    # (x − 128)/256, as for the published VEGAS features. It commutes with the mean.
    "vegas": Scale(1 / 256, -128 / 256),
}
STEP_FIELDS = ("_steps", "_offsets", "_times")
_LONGEST = 1_000_000  # seconds


def scale_of(dequantise: str | None) -> Scale | None:
    """Return how 8-bit numbers become features.

    Raises:
        InputError: An unknown name.
    """
    if dequantise is not None and dequantise not in _SCALES:
        raise InputError(f"`dequantise` must be one of {', '.join(_SCALES)}; got {dequantise!r}.")
    return _SCALES.get(dequantise or "")


class Reader:
    """Reads one open file into `PairedFeatures`."""

    def __init__(self, container: Container, scale: Scale | None) -> None:
        self.container, self.scale = container, scale
        self.names = list(container.names)
        self.provenance = dict(container.attributes)
        check_texts(self.provenance)
        version = self.provenance.pop("format", FORMAT)
        if version != FORMAT:
            raise InputError(f"the format must be {FORMAT}; got {shown(version)}. Update Earsight.")
        self.listed = self.provenance.pop("modalities", None)
        self.is_authors = self.listed is None and any(n.endswith("_train") for n in self.names)
        self.modalities = self._authors() if self.is_authors else self._modalities()
        self._check_nothing_else()

    def check(self, *, columns_only: bool = False) -> None:
        """Check that shapes fit each other and memory, before anything is read.

        Raises:
            InputError: They do not.
        """
        check_counts(self.container, self.modalities, self.is_authors)
        check_bytes(self.container, self.modalities, self.is_authors, columns_only=columns_only)

    def is_8_bit(self) -> bool:
        """Return whether any features, not counting columns, are 8-bit numbers."""
        parts = [f"{m}_{part}" for m in self.modalities for part in PARTS]
        features = parts if self.is_authors else self.modalities
        names = {f"{name}{end}" for name in features for end in ("", "_steps")}
        return any(self.container.dtype(name) == np.uint8 for name in names & {*self.names})

    def read(self) -> PairedFeatures:
        """Read all of it, after `check`."""
        self.check()
        if self.is_authors:
            return self._read_authors()
        views, steps = {}, {}
        for modality in self.modalities:
            views[modality], table = self._view(modality)
            if table is not None:
                steps[modality] = table
        labels, ids, group, split = (self.column(name, views) for name in COLUMNS)
        return PairedFeatures(views, labels, ids, group, split, steps, self.provenance)

    def _read_authors(self) -> PairedFeatures:
        """Read the author's form: train rows, then test rows, with `split` telling them apart."""
        parts = [self._values(f"lab_{part}") for part in PARTS]
        views, steps = {}, {}
        for modality in self.modalities:
            (train, a), (test, b) = (self._view(f"{modality}_{part}") for part in PARTS)
            views[modality] = np.concatenate([train, test])
            if a is not None and b is not None:
                steps[modality] = _join(a, b)
        split = np.repeat(PARTS, [len(part) for part in parts])
        labels = np.concatenate(parts)
        return PairedFeatures(views, labels, split=split, steps=steps, provenance=self.provenance)

    def _authors(self) -> list[str]:
        """Return the modalities of the author's form."""
        stems = [name.removesuffix("_train") for name in self.names if name.endswith("_train")]
        for stem in (*stems, "lab"):
            self._require(*(f"{stem}_{part}" for part in PARTS))
        return [stem for stem in stems if stem != "lab"]

    def _modalities(self) -> list[str]:
        """Return the modalities listed, or every two- or three-dimensional array that fits."""
        if self.listed is not None:
            is_list = isinstance(self.listed, list) and all(isinstance(m, str) for m in self.listed)
            if not is_list or len(set(self.listed)) < len(self.listed):
                raise InputError(
                    f"`modalities` must be a list of names, each once; got {shown(self.listed)}."
                )
            for modality in self.listed:
                if f"{modality}_steps" not in self.names:
                    self._require(modality)
            return [*self.listed]
        stems = [name.removesuffix("_steps") for name in self.names]
        found = [stem for stem in dict.fromkeys(stems) if self._may_be_modality(stem)]
        if not found:
            raise InputError(
                "no modality was found. One is a two- or three-dimensional array of numbers whose "
                f"name is not one of the format's own; this file has: {', '.join(self.names)}."
            )
        return found

    def _check_nothing_else(self) -> None:
        """Refuse arrays that have no place in the format: a typo, or what nobody would miss."""
        if self.is_authors:
            known = {f"lab_{part}" for part in PARTS}
            modalities = [f"{m}_{part}" for m in self.modalities for part in PARTS]
        else:
            modalities, known = self.modalities, set()
            for name in COLUMNS:
                apart = {f"{name}_{modality}" for modality in modalities}
                known |= apart if apart & {*self.names} else {name}
        for modality in modalities:
            known |= self._fields(modality)
        for name in self.names:
            if name not in known:
                raise InputError(
                    f"`{name}` ({self.container.dtype(name)}, shape {self.container.shape(name)}) "
                    "is neither a modality (real numbers, two- or three-dimensional) nor a field "
                    f"that has a place here: {', '.join(sorted(known))}. Rename or remove it."
                )

    def _fields(self, modality: str) -> set[str]:
        """Return the arrays that one modality may consist of, by what there is of it."""
        if modality in self.names and len(self.container.shape(modality)) == 3:
            return {modality, f"{modality}_times"}
        if f"{modality}_steps" in self.names:
            return {modality, *(f"{modality}{field}" for field in STEP_FIELDS)}
        return {modality}

    def _may_be_modality(self, stem: str) -> bool:
        if stem in COLUMNS or stem.startswith(tuple(f"{name}_" for name in COLUMNS)):
            return False
        if stem.endswith(STEP_FIELDS):
            return False
        name = stem if stem in self.names else f"{stem}_steps"
        shape, kind = self.container.shape(name), self.container.dtype(name).kind
        return len(shape) in (2, 3) and kind in "fiu"

    def _view(self, modality: str) -> tuple[FloatArray, StepTable | None]:
        """Return the means of one modality and, where there are some, its sequences."""
        table = None
        if f"{modality}_steps" in self.names:
            self._require(f"{modality}_offsets")
            offsets = self.container.array(f"{modality}_offsets")
            table = self._steps(f"{modality}_steps", modality, _bounds(offsets, modality))
        if modality not in self.names:
            return self._pool(table, modality), table
        shape = self.container.shape(modality)
        if len(shape) == 3:
            n, length, _ = shape
            bounds = np.arange(n)[:, None] * length + np.array([0, length])
            table = self._steps(modality, modality, bounds)
            return self._pool(table, modality), table
        self.check_dtype(self.container.dtype(modality), modality)
        array = self.container.array(modality)
        if array.dtype == np.uint8 and self.scale is not None:
            array = self.scale.apply(array)
        return as_matrix(array, modality), table

    def _steps(self, name: str, modality: str, bounds: npt.NDArray[np.intp]) -> StepTable:
        self.check_dtype(self.container.dtype(name), name)
        rows = self.container.rows(name, self.scale)
        shape = self.container.shape(name)
        total = math.prod(shape[:-1])
        if bounds[-1, 1] != total:
            raise InputError(
                f"`{modality}_offsets` must end at {total}, the rows of `{name}`; "
                f"got {bounds[-1, 1]}."
            )
        if f"{modality}_times" in self.names:
            kept = self.container.array(f"{modality}_times")
            times = kept.astype(np.float64) if kept.dtype.kind in "fiu" else np.full(total, np.nan)
        else:
            times = self._regular_times(modality, bounds)
        if not np.isfinite(times).all():
            raise InputError(times_do_not_fit(modality, name, total, times.shape))
        return StepTable(bounds, times, shape[-1], rows)

    def _regular_times(
        self, modality: str, bounds: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """Where no times are kept, steps are `hop` seconds apart: 1 s unless provenance says."""
        own = self.provenance.get(modality)
        hop = own.get("hop") if isinstance(own, Mapping) else None
        hop = self.provenance.get("hop", 1.0) if hop is None else hop
        if not isinstance(hop, int | float) or not 0 < hop <= _LONGEST:
            raise InputError(
                f"`hop` must be a number of seconds above 0 and up to {_LONGEST:,}; "
                f"got {shown(hop)}."
            )
        steps = np.arange(bounds[-1, 1]) - np.repeat(bounds[:, 0], bounds[:, 1] - bounds[:, 0])
        return np.asarray((steps + 0.5) * hop)

    def _pool(self, table: StepTable | None, modality: str) -> FloatArray:
        if table is None:
            raise InputError(f"`{modality}` is missing.")
        empty = np.flatnonzero(table.bounds[:, 0] == table.bounds[:, 1])
        if len(empty):
            raise InputError(f"row {empty[0]} of `{modality}` has no step, so it has no mean.")
        return table.means()

    def check_dtype(self, dtype: np.dtype[Any], name: str) -> None:
        if dtype.kind not in "fiu":
            raise InputError(f"`{name}` must be real numbers; got dtype {dtype}.")
        if dtype == np.uint8 and self.scale is None:
            raise InputError(
                f"`{name}` holds 8-bit numbers, which say nothing of their scale. "
                f"Give dequantise: {' or '.join(_SCALES)}."
            )

    def column(self, name: str, views: Iterable[str]) -> Column:
        """Read one column; None where there is none."""
        apart = [f"{name}_{modality}" for modality in views]
        if not any(field in self.names for field in apart):
            return self._values(name) if name in self.names else None
        self._require(*apart)
        return {m: self._values(f"{name}_{m}") for m in views}

    def _values(self, name: str) -> Labels:
        return _labels(self.container.array(name), name)

    def _require(self, *names: str) -> None:
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(
                f"missing: {', '.join(missing)}. This file has: {', '.join(self.names)}."
            )


def _bounds(offsets: npt.NDArray[Any], modality: str) -> npt.NDArray[np.intp]:
    whole = offsets.dtype.kind in "iu"
    if not whole or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
        raise InputError(
            f"`{modality}_offsets` must be whole numbers that start at 0 and never fall, one more "
            f"than there are rows; got {offsets.dtype} of shape {offsets.shape}."
        )
    return np.stack([offsets[:-1], offsets[1:]], axis=1).astype(np.intp)


def _labels(array: npt.NDArray[Any], name: str) -> Labels:
    """Return one value a row from a vector, a column or a one-hot matrix.

    >>> _labels(np.array([[0, 1, 0], [0, 0, 1]]), "labels")
    array([1, 2])
    """
    if array.dtype.kind not in KINDS:
        raise InputError(f"`{name}` must be numbers or text; got {array.dtype}.")
    if array.ndim == 2 and 1 in array.shape:
        return array.ravel()
    if array.ndim == 2:
        if array.dtype.kind == "U" or not (
            np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()
        ):
            raise InputError(f"`{name}` must hold one class a row; some rows hold none or several.")
        return np.asarray(array.argmax(axis=1))
    return array


def _join(first: StepTable, second: StepTable) -> StepTable:
    border = len(first.times)
    return StepTable(
        np.concatenate([first.bounds, second.bounds + border]),
        np.concatenate([first.times, second.times]),
        first.dim,
        JoinedRows(first.rows, second.rows, border),
    )

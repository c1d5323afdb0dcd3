"""Feature files: HDF5 (.h5, .hdf5) or .npz, `format = 1`.

For each modality m there is `m` (n, d), and where sequences are kept `m_steps` (total, d),
`m_offsets` (n + 1) and `m_times` (total, seconds). `labels`, `ids`, `group` and `split` hold one
value a row; where rows are unpaired, `labels_m`, `ids_m`, … one for each modality. `modalities`
lists the modalities in order; provenance stands in attributes: of array `m` what is true of that
modality, of the file the rest. `earsight extract` keeps there, for each modality, `extractor`,
`parameters`, `fingerprint`, `weights` (checksums), `dim`, `hop`, `space`, and under `clips` a
record of every clip it met, those without a row included.

Two other layouts are read: the author's (`audio_train, audio_test, visual_train, visual_test,
lab_train, lab_test`), and `m` as (n, L, d), L steps for each clip.

Every array of a file has a place in one of these, or the file is refused: nothing is left out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, Labels, as_matrix
from earsight.errors import FeatureFileError, InputError
from earsight.features._containers import (
    FORMAT,
    Container,
    JoinedRows,
    Scale,
    open_container,
    write_container,
)
from earsight.features.paired import COLUMNS, Column, PairedFeatures
from earsight.features.sequences import StepTable

_SCALES = {
    # The inverse of YouTube-8M's 8-bit quantiser on [−2, 2], half a step (4/512) towards the
    # middle of each bin: Abu-El-Haija et al. 2016, the released code's Dequantize.
    "yt8m": Scale(4 / 255, 4 / 512 - 2),
    # (x − 128)/256, as for the published VEGAS features. It commutes with the mean.
    "vegas": Scale(1 / 256, -128 / 256),
}
_STEP_FIELDS = ("_steps", "_offsets", "_times")
_PARTS = ("train", "test")


def read_features(path: str | Path, dequantise: str | None = None) -> PairedFeatures:
    """Read a feature file; sequences in HDF5 are read when they are asked for.

    Args:
        path: An .h5, .hdf5 or .npz file.
        dequantise: How 8-bit features become numbers: "yt8m", x·4/255 + 4/512 − 2, or "vegas",
            (x − 128)/256. Without it 8-bit features are refused: no file says which it is.

    Raises:
        FeatureFileError: A field is missing or of the wrong length, a value is NaN (the row is
            named), offsets fall, the format number is unknown, the file is damaged, or it holds
            what has no place in the format (listed modalities or not): an array that is neither a
            modality nor a field, a group, a link, data kept in another file, or pickled objects,
            which are never loaded. Or `dequantise` is given and there are no 8-bit features.
        InputError: An unknown `dequantise`.
    """
    scale = scale_of(dequantise)
    path = Path(path)
    with open_container(path) as container:
        try:
            reader = _Reader(container, scale)
            if dequantise is not None and not reader.is_8_bit():
                raise InputError(
                    f"`dequantise` is for 8-bit features, and there are none; got {dequantise!r}. "
                    "Leave it out."
                )
            return reader.read()
        except InputError as error:
            raise FeatureFileError(f"{path}: {error}") from error


def scale_of(dequantise: str | None) -> Scale | None:
    """Return how 8-bit numbers become features.

    Raises:
        InputError: An unknown name.
    """
    if dequantise is not None and dequantise not in _SCALES:
        raise InputError(f"`dequantise` must be one of {', '.join(_SCALES)}; got {dequantise!r}.")
    return _SCALES.get(dequantise or "")


def has_8_bit_features(path: str | Path) -> bool:
    """Return whether `read_features` needs `dequantise` for a file.

    Raises:
        FeatureFileError: The file cannot be read, or is not of the format.
    """
    path = Path(path)
    with open_container(path) as container:
        try:
            return _Reader(container, None).is_8_bit()
        except InputError as error:
            raise FeatureFileError(f"{path}: {error}") from error


def write_features(path: str | Path, features: PairedFeatures) -> None:
    """Write a feature file under a temporary name and put it in place when it is whole.

    Raises:
        FeatureFileError: The file cannot be written, or its ending is unknown.
        InputError: A modality or a provenance key has a name that the format needs for itself, or
            the provenance is not JSON.

    >>> from tempfile import TemporaryDirectory
    >>> features = PairedFeatures({"audio": np.ones((2, 3))}, labels=["dog", "drum"])
    >>> with TemporaryDirectory() as folder:
    ...     write_features(f"{folder}/two.npz", features)
    ...     read_features(f"{folder}/two.npz").labels
    array(['dog', 'drum'], dtype='<U4')
    """
    columns: dict[str, npt.NDArray[Any] | StepTable] = {}
    for name in COLUMNS:
        column: Column = getattr(features, name)
        if isinstance(column, Mapping):
            columns |= {f"{name}_{modality}": column[modality] for modality in features.views}
        elif column is not None:
            columns[name] = column
    views: dict[str, npt.NDArray[Any] | StepTable] = dict(features.views)
    for modality, table in features.steps.items():
        lengths = table.bounds[:, 1] - table.bounds[:, 0]
        views[f"{modality}_steps"] = table
        views[f"{modality}_offsets"] = np.concatenate([[0], np.cumsum(lengths)])
        views[f"{modality}_times"] = np.concatenate([table.times[a:b] for a, b in table.bounds])
    fields = [f"{modality}{field}" for modality in features.steps for field in _STEP_FIELDS]
    _check_names(features, [*features.views, *fields, *columns])
    write_container(Path(path), views | columns, list(features.views), features.provenance)


def _check_names(features: PairedFeatures, members: list[str]) -> None:
    for modality in features.views:
        taken = modality in {*COLUMNS, "format", "modalities", "attributes"}
        if taken or "/" in modality or modality.startswith(".") or members.count(modality) > 1:
            raise InputError(
                f"A modality in a feature file needs a name of its own, without '/' and not one "
                f"of the format's fields; got {modality!r}."
            )
    for key in features.provenance:
        if key in ("", "format", "modalities"):
            raise InputError(f"Provenance needs a name that is not the format's own; got {key!r}.")


class _Reader:
    """Reads one open file into `PairedFeatures`."""

    def __init__(self, container: Container, scale: Scale | None) -> None:
        self.container, self.scale = container, scale
        self.names = list(container.names)
        self.provenance = dict(container.attributes)
        version = self.provenance.pop("format", FORMAT)
        if version != FORMAT:
            raise InputError(f"the format must be {FORMAT}; got {version!r}. Update Earsight.")
        self.listed = self.provenance.pop("modalities", None)
        self.is_authors = self.listed is None and any(n.endswith("_train") for n in self.names)
        self.modalities = self._authors() if self.is_authors else self._modalities()
        self._check_nothing_else()

    def is_8_bit(self) -> bool:
        """Return whether any features, not counting columns, are 8-bit numbers."""
        parts = [f"{m}_{part}" for m in self.modalities for part in _PARTS]
        features = parts if self.is_authors else self.modalities
        names = {f"{name}{end}" for name in features for end in ("", "_steps")}
        return any(self.container.dtype(name) == np.uint8 for name in names & {*self.names})

    def read(self) -> PairedFeatures:
        if self.is_authors:
            return self._read_authors()
        views, steps = {}, {}
        for modality in self.modalities:
            views[modality], table = self._view(modality)
            if table is not None:
                steps[modality] = table
        labels, ids, group, split = (self._column(name, views) for name in COLUMNS)
        return PairedFeatures(views, labels, ids, group, split, steps, self.provenance)

    def _read_authors(self) -> PairedFeatures:
        """Read the author's form: train rows, then test rows, with `split` telling them apart."""
        parts = [_labels(self.container.array(f"lab_{part}"), f"lab_{part}") for part in _PARTS]
        views, steps = {}, {}
        for modality in self.modalities:
            (train, a), (test, b) = (self._view(f"{modality}_{part}") for part in _PARTS)
            if train.shape[1] != test.shape[1]:
                raise InputError(
                    f"`{modality}_train` and `{modality}_test` must have as many features as each "
                    f"other; got {train.shape[1]} and {test.shape[1]}."
                )
            # Here, not where they are joined: totals can agree where the parts do not.
            for part, rows, values in zip(_PARTS, (train, test), parts, strict=True):
                if len(rows) != len(values):
                    raise InputError(
                        f"`{modality}_{part}` must have a row for each of the {len(values)} values "
                        f"of `lab_{part}`; got {len(rows)} rows."
                    )
            views[modality] = np.concatenate([train, test])
            if a is not None and b is not None:
                steps[modality] = _join(a, b)
        split = np.repeat(_PARTS, [len(part) for part in parts])
        labels = np.concatenate(parts)
        return PairedFeatures(views, labels, split=split, steps=steps, provenance=self.provenance)

    def _authors(self) -> list[str]:
        """Return the modalities of the author's form."""
        stems = [name.removesuffix("_train") for name in self.names if name.endswith("_train")]
        for stem in (*stems, "lab"):
            self._require(*(f"{stem}_{part}" for part in _PARTS))
        return [stem for stem in stems if stem != "lab"]

    def _modalities(self) -> list[str]:
        """Return the modalities listed, or every two- or three-dimensional array that fits."""
        if self.listed is not None:
            if not isinstance(self.listed, list) or not all(
                isinstance(m, str) for m in self.listed
            ):
                raise InputError(f"`modalities` must be a list of names; got {self.listed!r}.")
            for modality in self.listed:
                if f"{modality}_steps" not in self.names:
                    self._require(modality)
            return self.listed
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
            known = {f"lab_{part}" for part in _PARTS}
            modalities = [f"{m}_{part}" for m in self.modalities for part in _PARTS]
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
            return {modality, *(f"{modality}{field}" for field in _STEP_FIELDS)}
        return {modality}

    def _may_be_modality(self, stem: str) -> bool:
        if stem in COLUMNS or stem.startswith(tuple(f"{name}_" for name in COLUMNS)):
            return False
        if stem.endswith(_STEP_FIELDS):
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
        array = self.container.array(modality)
        self._check_dtype(array.dtype, modality)
        if array.dtype == np.uint8 and self.scale is not None:
            array = self.scale.apply(array)
        return as_matrix(array, modality), table

    def _steps(self, name: str, modality: str, bounds: npt.NDArray[np.intp]) -> StepTable:
        self._check_dtype(self.container.dtype(name), name)
        rows = self.container.rows(name, self.scale)
        shape = self.container.shape(name)
        total = int(np.prod(shape[:-1]))
        if bounds[-1, 1] != total:
            raise InputError(
                f"`{modality}_offsets` must end at {total}, the rows of `{name}`; "
                f"got {bounds[-1, 1]}."
            )
        if f"{modality}_times" in self.names:
            times = self.container.array(f"{modality}_times").astype(np.float64)
        else:
            times = self._regular_times(modality, bounds)
        if times.shape != (total,) or not np.isfinite(times).all():
            raise InputError(
                f"`{modality}_times` must be {total} finite seconds, one for each row of "
                f"`{name}`; got shape {times.shape}."
            )
        return StepTable(bounds, times, shape[-1], rows)

    def _regular_times(
        self, modality: str, bounds: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """Where no times are kept, steps are `hop` seconds apart: 1 s unless provenance says."""
        own = self.provenance.get(modality)
        hop = own.get("hop") if isinstance(own, Mapping) else None
        hop = self.provenance.get("hop", 1.0) if hop is None else hop
        if not isinstance(hop, int | float) or not hop > 0:
            raise InputError(f"`hop` must be a number of seconds above 0; got {hop!r}.")
        steps = [np.arange(stop - start) for start, stop in bounds]
        return np.asarray((np.concatenate(steps) + 0.5) * hop)

    def _pool(self, table: StepTable | None, modality: str) -> FloatArray:
        if table is None:
            raise InputError(f"`{modality}` is missing.")
        empty = np.flatnonzero(table.bounds[:, 0] == table.bounds[:, 1])
        if len(empty):
            raise InputError(f"row {empty[0]} of `{modality}` has no step, so it has no mean.")
        return table.means()

    def _check_dtype(self, dtype: np.dtype[Any], name: str) -> None:
        if dtype.kind not in "fiu":
            raise InputError(f"`{name}` must be real numbers; got dtype {dtype}.")
        if dtype == np.uint8 and self.scale is None:
            raise InputError(
                f"`{name}` holds 8-bit numbers, which say nothing of their scale. "
                f"Give dequantise: {' or '.join(_SCALES)}."
            )

    def _column(self, name: str, views: Iterable[str]) -> Column:
        apart = [f"{name}_{modality}" for modality in views]
        if not any(field in self.names for field in apart):
            array = self.container.array(name) if name in self.names else None
            return None if array is None else _labels(array, name)
        self._require(*apart)
        return {m: _labels(self.container.array(f"{name}_{m}"), f"{name}_{m}") for m in views}

    def _require(self, *names: str) -> None:
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(
                f"missing: {', '.join(missing)}. This file has: {', '.join(self.names)}."
            )


def _bounds(offsets: npt.NDArray[Any], modality: str) -> npt.NDArray[np.intp]:
    whole = offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype.kind in "iu"
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
    if array.ndim == 2 and 1 in array.shape:
        return array.ravel()
    if array.ndim == 2:
        if not (np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()):
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

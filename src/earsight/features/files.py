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

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import InputError
from earsight.features._reader import STEP_FIELDS, Reader, scale_of
from earsight.features.containers import open_container, write_container
from earsight.features.paired import COLUMNS, Column, PairedFeatures
from earsight.features.sequences import StepTable


def read_features(path: str | Path, dequantise: str | None = None) -> PairedFeatures:
    """Read a feature file; sequences in HDF5 are read when they are asked for.

    Args:
        path: An .h5, .hdf5 or .npz file.
        dequantise: How 8-bit features become numbers: "yt8m", x·4/255 + 4/512 − 2, or "vegas",
            (x − 128)/256. Without it 8-bit features are refused: no file says which it is.

    Raises:
        FeatureFileError: A field is missing or of the wrong length, a value is NaN (the row is
            named), offsets fall, the format number is unknown, the file is damaged, or it asks for
            more memory than EARSIGHT_MAX_BYTES. Or it holds what has no place in the format (listed
            modalities or not): an array that is neither a modality nor a field, a group, a link,
            data kept in another file, or pickled objects, which are never loaded. Or `dequantise`
            is given and there are no 8-bit features.
        InputError: An unknown `dequantise`.
    """
    scale = scale_of(dequantise)
    path = Path(path)
    with open_container(path) as container:
        reader = Reader(container, scale)
        if dequantise is not None and not reader.is_8_bit():
            raise InputError(
                f"`dequantise` is for 8-bit features, and there are none; got {dequantise!r}. "
                "Leave it out."
            )
        return reader.read()


def has_8_bit_features(path: str | Path) -> bool:
    """Return whether `read_features` needs `dequantise` for a file.

    Raises:
        FeatureFileError: The file cannot be read, or is not of the format.
    """
    path = Path(path)
    with open_container(path) as container:
        return Reader(container, None).is_8_bit()


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
    fields = [f"{modality}{field}" for modality in features.steps for field in STEP_FIELDS]
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

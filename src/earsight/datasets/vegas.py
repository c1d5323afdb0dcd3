"""Features of VEGAS, in the form that the paper's author gives out or one file an extractor."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from earsight.arrays import IntArray, Labels
from earsight.errors import FeatureFileError, InputError
from earsight.features import PairedFeatures, has_8_bit_features, read_features

AUTHORS_FILE = "vegas_feature.h5"
_ENDINGS = (".h5", ".hdf5", ".npz")
_WHERE = (
    f"The author's file, {AUTHORS_FILE}, is linked from github.com/ZenzenDatabase/CMR; it holds "
    "audio_train, audio_test, visual_train, visual_test, lab_train, lab_test (VGGish, Inception)."
)


def vegas(folder: str | Path, audio: str = "vggish", visual: str = "inception") -> PairedFeatures:
    """Read VEGAS features: 28,103 clips of ten classes, where they are whole.

    Looked for, in this order, with .h5, .hdf5 or .npz as the ending:

    * `vggish.h5` and `inception.h5`: one modality in each, with `labels` (or `lab_train` and
      `lab_test`); rows are joined by `ids` where both have them, else they must correspond;
    * `vggish_inception.h5`: both modalities in one file of any form that `read_features` knows;
    * `vegas_feature.h5`, the author's file, where VGGish and Inception are asked for.

    8-bit features are read as (x − 128)/256, as the author does.

    Args:
        folder: Holds the files.
        audio, visual: Names of the extractors, which are those of the files.

    Returns:
        Views "audio" and "visual", labels, and the files' own split where they have one.

    Raises:
        FeatureFileError: No such file (the names are listed, and where they are published), or
            two files whose rows do not correspond.
    """
    folder = Path(folder)
    both = _find(folder, f"{audio}_{visual}")
    if both is None and (audio, visual) == ("vggish", "inception"):
        both = _find(folder, Path(AUTHORS_FILE).stem)
    apart = {"audio": _find(folder, audio), "visual": _find(folder, visual)}
    found = {modality: path for modality, path in apart.items() if path is not None}
    if len(found) == 2:
        return _joined({m: _single(path, m) for m, path in found.items()}, found)
    if both is None:
        raise FeatureFileError(missing(folder, audio, visual))
    data = _read(both)
    if list(data.views) != ["audio", "visual"]:
        raise FeatureFileError(
            f"{both} must hold the modalities audio and visual; it holds {', '.join(data.views)}."
        )
    return data


def missing(folder: Path, audio: str, visual: str) -> str:
    """Say which files are looked for, and where they are published."""
    names = [f"{audio}.h5 and {visual}.h5", f"{audio}_{visual}.h5"]
    where = "Earsight's extractors make such files from the clips."
    if (audio, visual) == ("vggish", "inception"):
        names.append(AUTHORS_FILE)
        where = _WHERE
    return f"{folder} holds no VEGAS features of {audio} and {visual}. Expected: " + (
        f"{', or '.join(names)} (.hdf5 and .npz do as well). {where}"
    )


def _find(folder: Path, stem: str) -> Path | None:
    files = (folder / f"{stem}{ending}" for ending in _ENDINGS)
    return next((file for file in files if file.is_file()), None)


def _read(path: Path) -> PairedFeatures:
    """Read the author's 8-bit features, or others' floats, as they are."""
    return read_features(path, dequantise="vegas" if has_8_bit_features(path) else None)


def _single(path: Path, modality: str) -> PairedFeatures:
    """Read a file of one modality, under the name it has here."""
    data = _read(path)
    if len(data.views) != 1 or not data.paired or data.labels is None:
        raise FeatureFileError(
            f"{path} must hold one modality with labels; it holds {', '.join(data.views)}"
            f"{'' if data.labels is not None else ' and no labels'}."
        )
    ((_, view),) = data.views.items()
    steps = dict(zip([modality], data.steps.values(), strict=False))
    return replace(data, views={modality: view}, steps=steps)


def _joined(parts: Mapping[str, PairedFeatures], paths: Mapping[str, Path]) -> PairedFeatures:
    """Put two modalities side by side, clip by clip.

    Raises:
        FeatureFileError: Their labels or splits differ, or they have no clip in common.
    """
    first, second = parts.values()
    rows = _matches(first, second)
    names = " and ".join(str(path) for path in paths.values())
    if rows is None:
        raise FeatureFileError(
            f"{names} must have the same rows, or `ids` that name the clip of each row; got "
            f"{len(_column(first, 'labels'))} and {len(_column(second, 'labels'))} rows."
        )
    first, second = first.take(rows[0]), second.take(rows[1])
    for column in ("labels", "split"):
        one, two = getattr(first, column), getattr(second, column)
        if one is not None and two is not None and not np.array_equal(one, two):
            clip = int(np.flatnonzero(one != two)[0])
            raise FeatureFileError(
                f"The `{column}` of {names} must agree; row {clip} has {one[clip]!r} and "
                f"{two[clip]!r}."
            )
    split = first.split if first.split is not None else second.split
    try:
        return replace(
            first,
            views={**first.views, **second.views},
            split=split,
            group=first.group if first.group is not None else second.group,
            steps={**first.steps, **second.steps},
            provenance={m: dict(part.provenance) for m, part in parts.items()},
        )
    except InputError as error:
        raise FeatureFileError(f"{names}: {error}") from error


def _matches(first: PairedFeatures, second: PairedFeatures) -> tuple[IntArray, IntArray] | None:
    """Return the rows of either that are the same clip, in the first one's order."""
    if first.ids is None or second.ids is None:
        n, other = len(_column(first, "labels")), len(_column(second, "labels"))
        return (np.arange(n), np.arange(n)) if n == other else None
    ids = _column(first, "ids")
    where = {name: row for row, name in enumerate(_column(second, "ids").tolist())}
    common = [row for row, name in enumerate(ids.tolist()) if name in where]
    if not common:
        return None
    return np.asarray(common), np.asarray([where[name] for name in ids[common].tolist()])


def _column(data: PairedFeatures, name: str) -> Labels:
    return np.asarray(getattr(data, name))

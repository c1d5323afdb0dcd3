"""Features of VEGAS, in the form that the paper's author gives out or one file an extractor."""

from dataclasses import replace
from pathlib import Path

from earsight.datasets.joining import join
from earsight.errors import FeatureFileError
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
        parts = {m: _single(path, m) for m, path in found.items()}
        return join(parts, " and ".join(str(path) for path in found.values()))
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

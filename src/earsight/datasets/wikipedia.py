"""The Wikipedia set, in the files that its authors give out."""

import io
import math
from pathlib import Path

import numpy as np

from earsight.errors import FeatureFileError
from earsight.features import PairedFeatures
from earsight.untrusted import check_memory, read_whole

_A_NUMBER = 16  # bytes of memory until it is joined
_MOST_BYTES = 1 << 20  # of a file of labels


def wikipedia(folder: str | Path) -> PairedFeatures:
    """Read the Wikipedia set in its raw form: 2,866 pairs of a picture and a text, ten classes.

    Args:
        folder: Holds `raw_features.mat` (I_tr, I_te: 128-d SIFT histograms; T_tr, T_te: 10-d topic
            proportions), `train_labels.txt` and `test_labels.txt` with one class number a line.

    Returns:
        Views "image" and "text", train rows before test rows, with the official split.

    Raises:
        FeatureFileError: A file is missing or damaged, or the counts do not agree.

    Reference: Rasiwasia et al., A new approach to cross-modal multimedia retrieval, 2010.
    """
    from scipy.io import loadmat, whosmat

    folder = Path(folder)
    try:
        mat = folder / "raw_features.mat"
        names = ["I_tr", "I_te", "T_tr", "T_te"]
        shapes = [shape for name, shape, _ in whosmat(mat) if name in names]
        check_memory(str(mat), sum(_A_NUMBER * math.prod(shape) for shape in shapes))
        arrays = loadmat(mat, variable_names=names)
        views = {
            "image": np.concatenate([arrays["I_tr"], arrays["I_te"]]),
            "text": np.concatenate([arrays["T_tr"], arrays["T_te"]]),
        }
        parts = [
            np.loadtxt(io.BytesIO(read_whole(folder / f"{part}_labels.txt", _MOST_BYTES)), np.int64)
            for part in ("train", "test")
        ]
        split = np.repeat(["train", "test"], [len(part) for part in parts])
        return PairedFeatures(views, np.concatenate(parts), split=split)
    except Exception as error:  # no closed list tells what damaged files make scipy raise
        raise FeatureFileError(
            f"{folder} does not hold the Wikipedia set (raw_features.mat, train_labels.txt, "
            f"test_labels.txt): {error}"
        ) from error

"""The Wikipedia set, in the files that its authors give out."""

import zlib
from pathlib import Path

import numpy as np

from earsight.errors import FeatureFileError
from earsight.features import PairedFeatures


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
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    folder = Path(folder)
    try:
        arrays = loadmat(
            folder / "raw_features.mat", variable_names=["I_tr", "I_te", "T_tr", "T_te"]
        )
        views = {
            "image": np.concatenate([arrays["I_tr"], arrays["I_te"]]),
            "text": np.concatenate([arrays["T_tr"], arrays["T_te"]]),
        }
        parts = [
            np.loadtxt(folder / f"{part}_labels.txt", dtype=np.int64) for part in ("train", "test")
        ]
        split = np.repeat(["train", "test"], [len(part) for part in parts])
        return PairedFeatures(views, np.concatenate(parts), split=split)
    except (
        *(OSError, KeyError, IndexError, ValueError, TypeError),
        *(MatReadError, zlib.error),
    ) as error:
        raise FeatureFileError(
            f"{folder} does not hold the Wikipedia set (raw_features.mat, train_labels.txt, "
            f"test_labels.txt): {error}"
        ) from error

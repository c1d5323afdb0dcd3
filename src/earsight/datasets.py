"""Data sets as `PairedFeatures`, the labels of a folder of clips, and folds of whole groups."""

import csv
import io
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from earsight.arrays import ArrayLike, IntArray, as_labels
from earsight.errors import FeatureFileError, InputError, LabelError
from earsight.features import PairedFeatures

_MIN_TEST_CLIPS = 10
_MAX_FOLDS = 5
_BLOCK = 4096  # rows of the synthetic data made at a time


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


def synthetic(
    n: int = 28_103, dims: tuple[int, int] = (128, 1024), classes: int = 10, seed: int = 0
) -> PairedFeatures:
    """Draw paired features of VEGAS's shape, for timing and for trying things out.

    x = (s + b)·Sₘ + 3 z·Zₘ + e: the shared code s is half the clip's class (8 dimensions, 1.5
    times the rest), half the clip itself (8). What each modality adds of its own is a blur b of
    that code, a strong nuisance z of 32 dimensions and noise e. All are standard normal, as are
    the maps S and Z. So plain CCA finds pairs and class alike, and no method can be perfect.

    Args:
        n: Clips; classes are drawn with equal chance.
        dims: Features of "audio" and of "visual".
        classes: Number of classes.
        seed: The same seed gives the same numbers, and n more clips leave earlier blocks alone.

    Returns:
        Views "audio" (n, dims[0]) and "visual" (n, dims[1]), float32, with labels (n,).

    >>> synthetic(n=100, dims=(4, 6)).views["visual"].shape
    (100, 6)
    """
    if n < 1 or classes < 1 or min(dims) < 1:
        raise InputError(
            f"`n`, `dims` and `classes` must be at least 1; got {n}, {dims}, {classes}."
        )
    fixed = np.random.default_rng([seed, 0])
    centres = 1.5 * fixed.standard_normal((classes, 8), dtype=np.float32)
    names = ("audio", "visual")
    # One map for each modality: 16 rows for the shared code, 32 for the nuisance.
    maps = [fixed.standard_normal((48, dim), dtype=np.float32) for dim in dims]
    views = {m: np.empty((n, dim), np.float32) for m, dim in zip(names, dims, strict=True)}
    labels = np.empty(n, np.int64)
    for number, first in enumerate(range(0, n, _BLOCK)):
        rng = np.random.default_rng([seed, 1, number])
        rows = slice(first, first + _BLOCK)
        drawn = rng.integers(0, classes, _BLOCK)
        shared = np.hstack([centres[drawn], rng.standard_normal((_BLOCK, 8), dtype=np.float32)])
        labels[rows] = drawn[: n - first]
        for view, mix in zip(views.values(), maps, strict=True):
            blurred = shared + rng.standard_normal((_BLOCK, 16), dtype=np.float32)
            nuisance = 3 * rng.standard_normal((_BLOCK, 32), dtype=np.float32)
            noise = rng.standard_normal((_BLOCK, view.shape[1]), dtype=np.float32)
            view[rows] = (np.hstack([blurred, nuisance]) @ mix + noise)[: n - first]
    return PairedFeatures(views, labels)


def folder_labels(paths: Iterable[str]) -> dict[str, str] | None:
    """Label clips by the first folder of their path, where folders make classes.

    They do when at least two of them hold two clips or more. A clip that lies in no folder has no
    label.

    Args:
        paths: Relative to the clips folder, with "/" between the parts.

    Returns:
        Path → label, or None where folders make no classes.

    >>> folder_labels(["dog/a.mp4", "dog/b.mp4", "cat/x/c.mp4", "cat/d.mp4", "e.mp4"])
    {'dog/a.mp4': 'dog', 'dog/b.mp4': 'dog', 'cat/x/c.mp4': 'cat', 'cat/d.mp4': 'cat'}
    >>> folder_labels(["dog/a.mp4", "dog/b.mp4", "cat/c.mp4"]) is None
    True
    """
    parts = {path: PurePosixPath(path).parts for path in paths}
    labels = {path: part[0] for path, part in parts.items() if len(part) > 1}
    classes = [label for label, count in Counter(labels.values()).items() if count >= 2]
    return labels if len(classes) >= 2 else None


def read_label_csv(path: str | Path) -> dict[str, str]:
    """Read the columns `path` and `label` of a CSV file; other columns are not looked at.

    Paths are relative to the clips folder, written as `search` prints them: bytes outside UTF-8
    as %XX. Where the file holds such bytes themselves they are turned into that form.

    Returns:
        Path → label, in the file's order.

    Raises:
        LabelError: The file or a column is missing, a row lacks a value, or a path comes twice;
            the line is named.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise LabelError(f"The label file {path} cannot be read: {error.strerror}.") from error
    rows = csv.DictReader(io.StringIO(_escaped(text), newline=""), strict=True)
    labels: dict[str, str] = {}
    try:
        if not {"path", "label"} <= set(rows.fieldnames or ()):
            raise LabelError(
                f"{path} must start with a line that names the columns path and label, "
                f"with a comma between; got {rows.fieldnames}."
            )
        for row in rows:
            clip, label = row["path"], (row["label"] or "").strip()
            if not clip or not label:
                raise LabelError(
                    f"{path}, line {rows.line_num}: a row needs a path and a label; got "
                    f"{clip!r}, {label!r}. Leave out the rows of clips without a label."
                )
            clip = str(PurePosixPath(clip))
            if clip in labels:
                raise LabelError(f"{path}, line {rows.line_num}: {clip!r} comes a second time.")
            labels[clip] = label
    except csv.Error as error:
        raise LabelError(f"{path}, line {rows.line_num}: not a CSV file ({error}).") from error
    return labels


def _escaped(text: str) -> str:
    """Write bytes that were not UTF-8, kept by `surrogateescape`, as %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


def n_folds_for(n_units: int) -> int | None:
    """Return how many folds leave at least 10 clips in each test fold, at most 5.

    Args:
        n_units: Clips (independent units, never windows or seconds).

    Returns:
        2 to 5; None below 20 clips, where nothing should be fitted.

    >>> [n_folds_for(n) for n in (19, 20, 35, 1000)]
    [None, 2, 3, 5]
    """
    n_folds = min(n_units // _MIN_TEST_CLIPS, _MAX_FOLDS)
    return n_folds if n_folds >= 2 else None


def folds(
    labels: ArrayLike | None, groups: ArrayLike | None, n_folds: int, seed: int = 0
) -> list[tuple[IntArray, IntArray]]:
    """Split rows into folds, stratified by class, each group whole in one fold.

    Groups, shuffled, are ordered by class and dealt out in turn like cards: the numbers of groups
    in two folds differ by one at most, in each class and in all. scikit-learn's
    StratifiedGroupKFold balances rows instead, and then a fold can hold fewer clips than asked.

    Args:
        labels: (n,) class of each row, or None: not stratified. A group of several classes counts
            as its most frequent one.
        groups: (n,) group of each row, or None: each row is its own.
        n_folds: At least 2.
        seed: Shuffles.

    Returns:
        (train rows, test rows) for each fold, sorted; every row is tested once.

    Raises:
        InputError: Neither labels nor groups, or fewer groups than folds.

    >>> folds(["a", "a", "b", "b"], None, 2)[0][1].tolist() in ([0, 2], [0, 3], [1, 2], [1, 3])
    True
    """
    given = groups if groups is not None else labels
    if given is None:
        raise InputError("`folds` needs labels or groups to know the rows; got neither.")
    n = len(np.asarray(given))
    rows_of = np.arange(n) if groups is None else as_labels(groups, "groups", n=n)
    names, group = np.unique(rows_of, return_inverse=True)  # group: (n,) numbers
    if not 2 <= n_folds <= len(names):
        raise InputError(
            f"`n_folds` must be from 2 to {len(names)}, the number of groups; got {n_folds}."
        )
    strata = np.zeros(len(names), int)
    if labels is not None:
        _, code = np.unique(as_labels(labels, "labels", n=n), return_inverse=True)
        votes = np.zeros((len(names), code.max() + 1), int)
        np.add.at(votes, (group, code), 1)
        strata = votes.argmax(axis=1)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    dealt = shuffled[np.argsort(strata[shuffled], kind="stable")]
    fold_of = np.empty(len(names), int)
    fold_of[dealt] = np.arange(len(names)) % n_folds
    fold = fold_of[group]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]

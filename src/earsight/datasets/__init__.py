"""Data sets as `PairedFeatures`, the labels of a folder of clips, and folds of whole groups."""

from earsight.datasets.ave import ave
from earsight.datasets.digits import digits, mfeat
from earsight.datasets.folding import folds, n_folds_for
from earsight.datasets.joining import join
from earsight.datasets.labels import folder_labels, read_label_csv, why_no_folder_labels
from earsight.datasets.synthetic import synthetic
from earsight.datasets.vegas import vegas
from earsight.datasets.wikipedia import wikipedia

__all__ = [
    "ave",
    "digits",
    "folder_labels",
    "folds",
    "join",
    "mfeat",
    "n_folds_for",
    "read_label_csv",
    "synthetic",
    "vegas",
    "why_no_folder_labels",
    "wikipedia",
]

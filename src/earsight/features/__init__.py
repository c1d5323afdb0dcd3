"""Sequences of feature vectors, paired rows, pooling, and the files that hold them."""

from earsight.features._npz import read_arrays
from earsight.features.batches import FeatureBatches
from earsight.features.containers import check_ending
from earsight.features.files import has_8_bit_features, read_features, write_features
from earsight.features.paired import PairedFeatures
from earsight.features.sequences import FeatureSequence, StepTable

__all__ = [
    "FeatureBatches",
    "FeatureSequence",
    "PairedFeatures",
    "StepTable",
    "check_ending",
    "has_8_bit_features",
    "read_arrays",
    "read_features",
    "write_features",
]

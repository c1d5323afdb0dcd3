"""Sequences of feature vectors, paired rows, pooling, and the files that hold them."""

from earsight.features.files import read_features, write_features
from earsight.features.paired import PairedFeatures
from earsight.features.sequences import FeatureSequence, StepTable

__all__ = ["FeatureSequence", "PairedFeatures", "StepTable", "read_features", "write_features"]

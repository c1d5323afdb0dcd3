"""Feature files of strangers: whatever is in them, they are read or refused in our own words."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from _hostile_files import HDF5, NPZ
from earsight.errors import EarsightError
from earsight.features import FeatureBatches, read_features, write_features
from earsight.untrusted import LIMIT


def read_all(path):
    """Read a file in every way, and what it gave once more after writing it."""
    try:
        features = read_features(path)
        repr(features)
        for table in features.steps.values():
            for sequence in table:
                assert sequence.values.shape == (len(sequence), table.dim)
        for view in features.views.values():
            assert np.isfinite(view).all()
        copy = path.with_name(f"copy{path.suffix}")
        write_features(copy, features)
        assert list(read_features(copy).views) == list(features.views)
    except EarsightError as error:
        str(error).encode()
    try:
        list(FeatureBatches(path)())
    except EarsightError as error:
        str(error).encode()


IN_CI = settings(
    max_examples=35, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck]
)
AT_LENGTH = settings(IN_CI, max_examples=350)


def put(content, ending):
    """Read a file of some content, in little memory."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIMIT, "64 MiB")
        path = Path(folder) / f"a.{ending}"
        path.write_bytes(content)
        read_all(path)


@IN_CI
@given(content=NPZ)
def test_any_npz(content):
    put(content, "npz")


@IN_CI
@given(content=HDF5)
def test_any_hdf5(content):
    put(content, "h5")


@pytest.mark.long
@AT_LENGTH
@given(content=NPZ)
def test_any_npz_at_length(content):
    put(content, "npz")


@pytest.mark.long
@AT_LENGTH
@given(content=HDF5)
def test_any_hdf5_at_length(content):
    put(content, "h5")

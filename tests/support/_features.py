"""Features drawn at random, files of bare arrays, and features compared bit for bit; for tests."""

import h5py
import numpy as np
import pytest

from earsight.features import FeatureSequence, StepTable
from earsight.features.paired import COLUMNS

ENDINGS = ["h5", "npz"]
RNG = np.random.default_rng(0)
AUDIO = RNG.normal(size=(6, 3)).astype("f4")
VISUAL = RNG.normal(size=(6, 5))


def save(path, **arrays):
    """Write bare arrays, as other people's scripts do."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


@pytest.fixture(name="path", params=ENDINGS)
def feature_path(request, tmp_path):
    return tmp_path / f"features.{request.param}"


def make_steps(lengths, dim, dtype="f4"):
    return StepTable.of(
        FeatureSequence(RNG.normal(size=(n, dim)).astype(dtype), np.arange(n) * 0.5 + 0.25)
        for n in lengths
    )


def same(a, b):
    """Compare two sets of features bit for bit."""
    assert list(a.views) == list(b.views)
    for name, x in a.views.items():
        assert x.dtype == b.views[name].dtype
        np.testing.assert_array_equal(x, b.views[name])
    for name in COLUMNS:
        one, other = getattr(a, name), getattr(b, name)
        assert type(one) is type(other)
        pairs = [(one[m], other[m]) for m in one] if isinstance(one, dict) else [(one, other)]
        for left, right in pairs:
            assert (left is None) == (right is None)
            if left is not None:
                assert left.dtype.kind == right.dtype.kind
                np.testing.assert_array_equal(left, right)
    assert set(a.steps) == set(b.steps)
    for name, table in a.steps.items():
        assert len(table) == len(b.steps[name])
        for left, right in zip(table, b.steps[name], strict=True):
            assert left.values.dtype == right.values.dtype
            np.testing.assert_array_equal(left.values, right.values)
            np.testing.assert_array_equal(left.times, right.times)
    assert a.provenance == b.provenance

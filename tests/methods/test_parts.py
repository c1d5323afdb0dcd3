"""Closed forms from parts: the bits of one pass, wherever the parts are read, however grouped."""

import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earsight
from earsight.errors import FeatureFileError, InputError
from earsight.features import FeatureBatches, PairedFeatures, write_features

CLOSED_FORMS = ["cca", "cluster_cca", "mean_cca"]
N = 11_000  # three blocks of 4,096 rows


def made(n: int = N, dtype: type = np.float64) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, n)
    common = rng.normal(size=(6, 3))[labels] + rng.normal(size=(n, 3))
    views = {
        name: (5 + common @ rng.normal(size=(3, d)) + rng.normal(size=(n, d))).astype(dtype)
        for name, d in (("audio", 6), ("visual", 9))
    }
    return views, labels


@dataclass(frozen=True)
class Slice:
    """Some of the rows of `made`, in batches; it travels as three numbers."""

    start: int
    stop: int
    dtype: type = np.float64

    def __call__(self) -> Iterator[tuple[Any, Any, Any]]:
        views, labels = made(dtype=self.dtype)
        for at in range(self.start, self.stop, 3000):
            part = slice(at, min(at + 3000, self.stop))
            groups = np.arange(N)[part] // 2
            yield {name: x[part] for name, x in views.items()}, labels[part], groups


def posted(work: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """Run as another process would: all that goes there and comes back is pickled."""
    for part in parts:
        there, task = pickle.loads(pickle.dumps((work, part)))  # noqa: S301 - its own
        yield pickle.loads(pickle.dumps(there(task)))  # noqa: S301 - its own


def in_a_tree(work: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """Merge neighbours before they are handed over, the last ones first; some are read twice."""
    sums = [work(part) for part in parts]
    sums[0] = work(parts[0])
    half = len(sums) // 2
    for own in (sums[:half], sums[half:]):
        while len(own) > 1:
            last = own.pop()
            own[-1].merge(last)
        yield from own


def assert_same_bits(a: Any, b: Any) -> None:
    assert a.ridge_ == b.ridge_ and list(a.dims_) == list(b.dims_)
    assert np.array_equal(a.correlations_, b.correlations_)
    for name in a.dims_:
        assert np.array_equal(a.weights_[name], b.weights_[name])
        assert np.array_equal(a.mean_[name], b.mean_[name])


def whole(name: str, dtype: type = np.float64) -> Any:
    views, labels = made(dtype=dtype)
    return earsight.method(name).fit(views, labels=labels, groups=np.arange(N) // 2)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("run", [map, posted, in_a_tree])
def test_parts_of_whole_blocks_give_the_bits_of_one_fit(name: str, dtype: type, run: Any) -> None:
    borders = [0, 4096, 8192, N]
    parts = [Slice(a, b, dtype) for a, b in pairwise(borders)]
    assert_same_bits(earsight.method(name).fit_parts(parts, run), whole(name, dtype))


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 1e-6), (np.float64, 1e-10)])
def test_other_cuts_agree_to_rounding(name: str, dtype: type, atol: float) -> None:
    borders = [0, 1, 700, 700, 9001, N]  # one part is empty
    parts = [Slice(a, b, dtype) for a, b in pairwise(borders)]
    found, expected = earsight.method(name).fit_parts(parts), whole(name, dtype)
    np.testing.assert_allclose(found.correlations_, expected.correlations_, atol=atol)
    for modality, x in made()[0].items():
        ours, theirs = (model.transform(modality, x[:50]) for model in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_parts_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match="at least one batch"):
        earsight.method("cca").fit_parts([])
    narrow = [({"audio": np.ones((5, 2)), "visual": np.ones((5, 2))}, None)]
    with pytest.raises(InputError, match="Batches must be alike"):
        earsight.method("cca").fit_parts([Slice(0, 500), lambda: iter(narrow)])
    with pytest.raises(InputError, match="tnn cannot be fitted from parts"):
        earsight.method("tnn").fit_parts([Slice(0, 500)])


def written(path: Path, **fields: Any) -> Path:
    views, labels = made(dtype=np.float32)
    group = np.arange(N) // 2
    write_features(path, PairedFeatures(views, **({"labels": labels, "group": group} | fields)))
    return path


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_feature_file_is_fitted_in_batches_to_the_same_bits(name: str, tmp_path: Path) -> None:
    rows = FeatureBatches(written(tmp_path / "rows.h5"))
    expected = whole(name, np.float32)
    assert_same_bits(earsight.method(name).fit_batches(rows), expected)
    parts = rows.parts(2)
    assert [(part.start, part.stop) for part in parts] == [(0, 8192), (8192, N)]
    assert_same_bits(earsight.method(name).fit_parts(parts, posted), expected)
    assert len(rows.parts(100)) == 3


def test_memory_does_not_grow_with_the_rows_of_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def peak(blocks: int) -> int:
        path = tmp_path / f"{blocks}.h5"
        views = {n: rng.random((4096 * blocks, d), np.float32) for n, d in (("a", 4), ("v", 60))}
        write_features(path, PairedFeatures(views))
        del views
        tracemalloc.start()
        try:
            earsight.method("cca").fit_batches(FeatureBatches(path))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(5), peak(20)  # a block has 1 MiB
    assert many - few < 2.5 * 2**20, "three batches are held, whatever the number of rows"


def test_unpaired_rows_of_a_file_come_with_their_own_labels(tmp_path: Path) -> None:
    views, labels = made(dtype=np.float32)
    own = {"audio": labels, "visual": labels[:5000]}
    views["visual"] = views["visual"][:5000]
    path = tmp_path / "unpaired.h5"
    write_features(path, PairedFeatures(views, labels=own))
    expected = earsight.method("cluster_cca").fit(views, labels=own)
    for parts in ([FeatureBatches(path)], FeatureBatches(path).parts(3)):
        assert_same_bits(earsight.method("cluster_cca").fit_parts(parts), expected)


def test_some_rows_of_a_file(tmp_path: Path) -> None:
    rows = FeatureBatches(written(tmp_path / "rows.h5"), start=100, stop=4400)
    batches = [*rows()]
    views, labels = made(dtype=np.float32)
    read = reduce(lambda a, b: np.concatenate([a, b]), [batch["audio"] for batch, *_ in batches])
    assert np.array_equal(read, views["audio"][100:4400])
    assert np.array_equal(np.concatenate([own for _, own, _ in batches]), labels[100:4400])


def test_files_that_cannot_be_read_in_batches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError, match=r"an \.npz file is read whole"):
        next(FeatureBatches(tmp_path / "rows.npz")())
    path = tmp_path / "deep.h5"
    import h5py

    with h5py.File(path, "w") as file:
        file["audio"] = np.ones((4, 2, 3))
    with pytest.raises(FeatureFileError, match=r"must be an array \(n, d\).*read_features"):
        next(FeatureBatches(path)())
    with pytest.raises(InputError, match="`dequantise` must be one of"):
        FeatureBatches(path, dequantise="vgg")

"""Closed forms from batches and from parts: the model of one fit, however rows are cut."""

import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earsight
from _related import CLOSED_FORMS, assert_same_model, related
from earsight.errors import FeatureFileError, InputError
from earsight.features import FeatureBatches, PairedFeatures, write_features

N = 11_000
ATOL = {np.float32: 1e-5, np.float64: 1e-10}


@cache
def made(dtype: type = np.float64) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Views of one width, so that a swap would be seen in nothing but the numbers."""
    views, labels = related(n=N, p=6, q=6)
    return {name: (x + 5).astype(dtype) for name, x in views.items()}, labels


@dataclass(frozen=True)
class Part:
    """Some of the rows of `made`, in batches; it travels as a few numbers."""

    start: int
    stop: int
    size: int = 3000
    dtype: type = np.float64
    turned: bool = False

    def __call__(self) -> Iterator[tuple[Any, Any, Any]]:
        views, labels = made(self.dtype)
        names = ["visual", "audio"] if self.turned else ["audio", "visual"]
        for at in range(self.start, self.stop, self.size):
            part = slice(at, min(at + self.size, self.stop))
            yield (
                {name: views[name][part] for name in names},
                labels[part],
                (np.arange(N) // 2)[part],
            )


def posted(work: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """Run as another process would: all that goes there and comes back is pickled."""
    for part in parts:
        there, task = pickle.loads(pickle.dumps((work, part)))  # noqa: S301 - its own
        yield pickle.loads(pickle.dumps(there(task)))  # noqa: S301 - its own


def in_a_tree(work: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """Merge neighbours before they are handed over; the first part is read twice."""
    sums = [work(part) for part in parts]
    sums[0] = work(parts[0])
    while len(sums) > 2:
        sums[-2].merge(sums.pop())
    yield from sums


@cache
def whole(name: str, dtype: type = np.float64) -> Any:
    views, labels = made(dtype)
    model = earsight.method(name, n_components=3)  # the signal; what is beyond is noise
    return model.fit(views, labels=labels, groups=np.arange(N) // 2)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", ATOL)
@pytest.mark.parametrize("size", [4096, 37])
def test_batches_of_any_size_give_the_model_of_one_fit(name: str, dtype: type, size: int) -> None:
    model = earsight.method(name, n_components=3).fit_batches(Part(0, N, size, dtype))
    assert_same_model(model, whole(name, dtype), ATOL[dtype])
    assert model.ridge_ == pytest.approx(whole(name, dtype).ridge_, rel=1e-5)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", ATOL)
@pytest.mark.parametrize("run", [map, posted, in_a_tree])
def test_parts_give_the_model_of_one_fit(name: str, dtype: type, run: Any) -> None:
    borders = [0, 1, 700, 700, 9001, N]  # one part is empty, one lists its views the other way
    parts = [Part(a, b, 3000, dtype, turned=a == 1) for a, b in pairwise(borders)]
    model = earsight.method(name, n_components=3).fit_parts(parts, run)
    assert list(model.dims_) == ["audio", "visual"]
    assert_same_model(model, whole(name, dtype), ATOL[dtype])


@pytest.mark.parametrize("name", ["cluster_cca", "mean_cca"])
@pytest.mark.parametrize("classes", [np.arange(4), np.array(["dog", "cat", "rain", "drum"])])
def test_one_modality_of_unpaired_batches_may_end_earlier(name: str, classes) -> None:
    views, codes = related(n=3000)
    own = {"audio": classes[codes], "visual": classes[codes[:700]]}
    views["visual"] = views["visual"][:700]

    def make_batches() -> Iterator[tuple]:
        for part in (slice(0, 500), slice(500, 1000), slice(1000, 3000)):
            labels = {each: own[each][part].tolist() for each in ("visual", "audio")}
            yield {each: x[part] for each, x in views.items()}, labels

    model = earsight.method(name).fit_batches(make_batches)
    assert_same_model(model, earsight.method(name).fit(views, labels=own))
    nothing = {"audio": views["audio"], "visual": np.empty((0, 5))}
    unlabelled = own | {"visual": []}
    with pytest.raises(InputError, match="rows of each modality; 'visual' has none"):
        model.fit_batches(lambda: iter([(nothing, unlabelled)]))
    with pytest.raises(InputError, match="must have rows and features"):
        model.fit(nothing, labels=unlabelled)
    with pytest.raises(InputError, match="must have rows and features"):  # paired
        model.fit_batches(lambda: iter([(nothing, codes)]))


def test_batches_and_parts_that_cannot_be_used_are_refused() -> None:
    views, labels = related(n=30)
    model = earsight.method("cluster_cca").fit(views, labels=labels)
    before = model.transform("audio", views["audio"])
    once = iter([(views, labels)])
    narrow = views | {"audio": views["audio"][:, 1:]}
    for make_batches, message in (
        (lambda: None, r"must return an iterator .*; it returned None"),
        (lambda: iter([]), "`make_batches` must yield at least one batch"),
        (once, "`make_batches` must be a function"),
        (lambda: once, "must return a fresh iterator each time it is called"),  # spent at the 2nd
        (lambda: iter([(views, labels), (narrow, labels)]), "Batches must be alike"),
        (lambda: iter([views]), r"a tuple \(views, labels\)"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit_batches(make_batches)  # type: ignore[arg-type]
    passes = iter([labels, labels[::-1]])
    with pytest.raises(InputError, match="the passes differed"):
        model.fit_batches(lambda: iter([({k: v[:9] for k, v in views.items()}, next(passes)[:9])]))
    with pytest.raises(InputError, match="at least one batch"):
        model.fit_parts([])
    with pytest.raises(InputError, match="Batches must be alike"):
        model.fit_parts([lambda: iter([(views, labels)]), lambda: iter([(narrow, labels)])])
    assert np.array_equal(model.transform("audio", views["audio"]), before)
    with pytest.raises(InputError, match="auto needs all rows at once: call `fit`"):
        earsight.method("auto").fit_batches(lambda: iter([]))
    with pytest.raises(InputError, match="tnn cannot be fitted from parts"):
        earsight.method("tnn").fit_parts([])


def test_zero_shot_from_batches_is_zero_shot() -> None:
    rng = np.random.default_rng(0)
    views = {"audio": rng.normal(size=(50, 6)), "visual": rng.normal(size=(70, 6))}
    prior = {"audio": rng.normal(size=6)}
    expected = earsight.method("zero_shot", prior=prior).fit(views)

    def batches() -> Iterator[tuple]:
        for modality, x in views.items():
            for start in range(0, len(x), 17):
                yield ({modality: x[start : start + 17]},)

    found = earsight.method("zero_shot", prior=prior).fit_batches(batches)
    for modality in views:
        np.testing.assert_allclose(found.centre_[modality], expected.centre_[modality], atol=1e-14)
    with pytest.raises(InputError, match="at least one batch"):
        earsight.method("zero_shot").fit_batches(lambda: iter([]))
    with pytest.raises(InputError, match="must have 6 features"):
        batch = [({"audio": np.ones((2, 6))},), ({"audio": np.ones((2, 5))},)]
        earsight.method("zero_shot").fit_batches(lambda: iter(batch))


# Rows of a feature file


def written(path: Path, **fields: Any) -> Path:
    views, labels = made(np.float32)
    group = np.arange(N) // 2
    write_features(path, PairedFeatures(views, **({"labels": labels, "group": group} | fields)))
    return path


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_feature_file_is_fitted_in_batches_and_parts(name: str, tmp_path: Path) -> None:
    rows = FeatureBatches(written(tmp_path / "rows.h5"))
    expected = whole(name, np.float32)
    assert_same_model(earsight.method(name, n_components=3).fit_batches(rows), expected, 1e-5)
    parts = rows.parts(2)
    assert [(part.start, part.stop) for part in parts] == [(0, 8192), (8192, N)]
    assert_same_model(
        earsight.method(name, n_components=3).fit_parts(parts, posted), expected, 1e-5
    )
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
    views, labels = made(np.float32)
    own = {"audio": labels, "visual": labels[:5000]}
    views = views | {"visual": views["visual"][:5000]}
    path = tmp_path / "unpaired.h5"
    write_features(path, PairedFeatures(views, labels=own))
    expected = earsight.method("cluster_cca").fit(views, labels=own)
    for parts in ([FeatureBatches(path)], FeatureBatches(path).parts(3)):
        found = earsight.method("cluster_cca").fit_parts(parts)
        assert_same_model(found, expected, 1e-5)


def test_some_rows_of_a_file(tmp_path: Path) -> None:
    batches = [*FeatureBatches(written(tmp_path / "rows.h5"), start=100, stop=4400)()]
    views, labels = made(np.float32)
    read = np.concatenate([batch["audio"] for batch, *_ in batches])
    assert np.array_equal(read, views["audio"][100:4400])
    assert np.array_equal(np.concatenate([own for _, own, _ in batches]), labels[100:4400])


def test_files_that_cannot_be_read_in_batches_are_refused(tmp_path: Path) -> None:
    import h5py

    with pytest.raises(FeatureFileError, match=r"an \.npz file is read whole"):
        next(FeatureBatches(tmp_path / "rows.npz")())
    path = tmp_path / "deep.h5"
    with h5py.File(path, "w") as file:
        file["audio"] = np.ones((4, 2, 3))
    with pytest.raises(FeatureFileError, match=r"must be an array \(n, d\).*read_features"):
        next(FeatureBatches(path)())
    with pytest.raises(InputError, match="`dequantise` must be one of"):
        FeatureBatches(path, dequantise="vgg")

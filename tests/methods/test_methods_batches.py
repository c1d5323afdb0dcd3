"""Fits from batches: the bits of the whole, in any order and size, and what is refused."""

from collections.abc import Iterator

import numpy as np
import pytest

import earsight
from _related import CLOSED_FORMS, related
from earsight.errors import InputError


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_of_any_size_equal_the_whole_bit_for_bit(name: str, dtype) -> None:
    views, labels = related(n=9000)
    views = {modality: x.astype(dtype) for modality, x in views.items()}
    groups = np.arange(9000) // 3
    whole = earsight.method(name).fit(views, labels=labels, groups=groups)
    for size in (9000, 4096, 1000, 37):

        def make_batches(size: int = size) -> Iterator[tuple]:
            for start in range(0, 9000, size):
                part = slice(start, start + size)
                batch = {modality: x[part] for modality, x in views.items()}
                yield batch, labels[part], groups[part]

        model = earsight.method(name).fit_batches(make_batches)
        assert model.ridge_ == whole.ridge_
        assert np.array_equal(model.correlations_, whole.correlations_)
        for modality in views:
            assert np.array_equal(model.weights_[modality], whole.weights_[modality])
            assert np.array_equal(model.mean_[modality], whole.mean_[modality])


def test_unpaired_batches_equal_the_whole_bit_for_bit() -> None:
    views, labels = related(n=5000)
    own = {"audio": labels, "visual": labels[:4500]}
    views["visual"] = views["visual"][:4500]

    def make_batches() -> Iterator[tuple]:
        for audio, visual in ((slice(0, 4999), slice(0, 1)), (slice(4999, None), slice(1, None))):
            yield (
                {"audio": views["audio"][audio], "visual": views["visual"][visual]},
                {"audio": own["audio"][audio], "visual": own["visual"][visual]},
            )

    model = earsight.method("cluster_cca").fit_batches(make_batches)
    whole = earsight.method("cluster_cca").fit(views, labels=own)
    assert np.array_equal(model.weights_["visual"], whole.weights_["visual"])
    assert np.array_equal(model.weights_["audio"], whole.weights_["audio"])


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_batches_may_list_their_views_in_any_order(name: str) -> None:
    views, labels = related(n=5000, p=5, q=5)  # of one width, so that a swap would go unseen
    groups = np.arange(5000) // 3

    def make_batches() -> Iterator[tuple]:
        for i, part in enumerate((slice(0, 2000), slice(2000, 3000), slice(3000, 5000))):
            names = ("audio", "visual") if i % 2 == 0 else ("visual", "audio")
            yield {each: views[each][part] for each in names}, labels[part], groups[part]

    whole = earsight.method(name).fit(views, labels=labels, groups=groups)
    model = earsight.method(name).fit_batches(make_batches)
    assert list(model.dims_) == ["audio", "visual"]
    assert np.array_equal(model.correlations_, whole.correlations_)
    for modality in views:
        assert np.array_equal(model.weights_[modality], whole.weights_[modality])


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
    whole = earsight.method(name).fit(views, labels=own)
    for modality in views:
        assert np.array_equal(model.weights_[modality], whole.weights_[modality])
    nothing = {"audio": views["audio"], "visual": np.empty((0, 5))}
    unlabelled = own | {"visual": []}
    with pytest.raises(InputError, match="rows of each modality; 'visual' has none"):
        model.fit_batches(lambda: iter([(nothing, unlabelled)]))
    with pytest.raises(InputError, match="must have rows and features"):
        model.fit(nothing, labels=unlabelled)
    with pytest.raises(InputError, match="must have rows and features"):  # paired
        model.fit_batches(lambda: iter([(nothing, codes)]))


def test_batches_that_cannot_be_used_are_refused() -> None:
    views, labels = related(n=30)
    model = earsight.method("cluster_cca").fit(views, labels=labels)
    before = model.transform("audio", views["audio"])
    once = iter([(views, labels)])
    with pytest.raises(InputError, match=r"must return an iterator .*; it returned None"):
        model.fit_batches(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match="`make_batches` must yield at least one batch"):
        model.fit_batches(lambda: iter([]))
    with pytest.raises(InputError, match="`make_batches` must be a function"):
        model.fit_batches(once)
    with pytest.raises(InputError, match="must return a fresh iterator each time it is called"):
        model.fit_batches(lambda: once)  # a generator that is spent in the second pass
    with pytest.raises(InputError, match="Batches must be alike"):
        narrow = views | {"audio": views["audio"][:, 1:]}
        model.fit_batches(lambda: iter([(views, labels), (narrow, labels)]))
    with pytest.raises(InputError, match=r"a tuple \(views, labels\)"):
        model.fit_batches(lambda: iter([views]))
    passes = iter([labels, labels[::-1]])
    with pytest.raises(InputError, match="the passes differed"):
        model.fit_batches(lambda: iter([({k: v[:9] for k, v in views.items()}, next(passes)[:9])]))
    assert np.array_equal(model.transform("audio", views["audio"]), before)


def test_a_method_that_is_no_closed_form_says_so() -> None:
    with pytest.raises(InputError, match="auto needs all rows at once: call `fit`"):
        earsight.method("auto").fit_batches(lambda: iter([]))


def test_zero_shot_from_batches_is_zero_shot() -> None:
    rng = np.random.default_rng(0)
    views = {"audio": rng.normal(size=(50, 6)), "visual": rng.normal(size=(70, 6))}
    prior = {"audio": rng.normal(size=6)}
    whole = earsight.method("zero_shot", prior=prior).fit(views)

    def batches():
        for modality, x in views.items():
            for start in range(0, len(x), 17):
                yield ({modality: x[start : start + 17]},)

    parts = earsight.method("zero_shot", prior=prior).fit_batches(batches)
    for modality in views:
        np.testing.assert_allclose(parts.centre_[modality], whole.centre_[modality], atol=1e-14)
    with pytest.raises(InputError, match="at least one batch"):
        earsight.method("zero_shot").fit_batches(lambda: iter([]))
    with pytest.raises(InputError, match="must have 6 features"):
        batch = [({"audio": np.ones((2, 6))},), ({"audio": np.ones((2, 5))},)]
        earsight.method("zero_shot").fit_batches(lambda: iter(batch))

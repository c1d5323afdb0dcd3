"""`zero_shot`, which learns a centre alone, and `auto`, which chooses a learner."""

import numpy as np
import pytest

import earsight
from _related import related
from earsight.errors import InputError


def test_zero_shot_centres_between_the_mean_and_the_prior() -> None:
    rng = np.random.default_rng(0)
    x, prior = rng.normal(size=(30, 4)) + 2, np.array([1.0, 0.0, 0.0, 0.0])
    model = earsight.method("zero_shot", prior={"audio": prior, "text": -prior}, m=10)
    model.fit({"audio": x, "visual": x[:20] - 1})
    centre = (30 * x.mean(axis=0) + 10 * prior) / 40
    expected = (x - centre) / np.linalg.norm(x - centre, axis=1, keepdims=True)
    np.testing.assert_allclose(model.transform("audio", x), expected, atol=1e-6)
    np.testing.assert_allclose(model.centre_["visual"], x[:20].mean(axis=0) - 1, atol=1e-12)
    np.testing.assert_array_equal(model.centre_["text"], -prior)
    assert model.n_components_ == 4


def test_zero_shot_can_be_fitted_by_its_prior_alone_and_saved_with_it(tmp_path) -> None:
    prior = {"audio": np.array([3.0, 4.0]), "visual": [0.0, 1.0]}
    model = earsight.method("zero_shot", prior=prior).fit_prior()
    np.testing.assert_allclose(model.transform("audio", [[6.0, 8.0]]), [[0.6, 0.8]], atol=1e-7)
    np.testing.assert_array_equal(model.transform("visual", [[0.0, 1.0]]), [[0.0, 0.0]])
    model.save(tmp_path)
    loaded = earsight.load_model(tmp_path)
    np.testing.assert_array_equal(loaded.prior["audio"], prior["audio"])
    np.testing.assert_allclose(loaded.transform("audio", [[6.0, 8.0]]), [[0.6, 0.8]], atol=1e-7)


def test_zero_shot_refuses_what_does_not_share_a_space() -> None:
    x = np.ones((3, 4))
    with pytest.raises(InputError, match="share one space, so one width"):
        earsight.method("zero_shot").fit({"audio": x, "visual": x[:, :3]})
    with pytest.raises(InputError, match=r"`prior\['audio'\]` must be as wide as the rows, 4"):
        earsight.method("zero_shot", prior={"audio": np.ones(3)}).fit({"audio": x})
    with pytest.raises(InputError, match="`fit_prior` needs `prior`"):
        earsight.method("zero_shot").fit_prior()
    with pytest.raises(InputError, match="one finite vector"):
        earsight.method("zero_shot", prior={"audio": np.ones((2, 3))})


def test_auto_is_supervised_if_it_gets_labels() -> None:
    views, labels = related()
    supervised = earsight.method("auto").fit(views, labels=labels)
    unsupervised = earsight.method("auto").fit(views)
    assert (supervised.chosen_, unsupervised.chosen_) == ("concord", "cca")
    direct = earsight.method("cca").fit(views)
    for modality, x in views.items():
        expected = direct.transform(modality, x)
        np.testing.assert_array_equal(unsupervised.transform(modality, x), expected)
    with pytest.raises(InputError, match="as many rows as each other"):
        earsight.method("auto").fit({"audio": views["audio"], "visual": views["visual"][:9]})


def test_auto_passes_a_number_of_components_on_or_says_why_not(tmp_path) -> None:
    views, labels = related()
    model = earsight.method("auto", n_components=3).fit(views)
    direct = earsight.method("cca", n_components=3).fit(views)
    x = views["audio"]
    assert model.n_components_ == 3
    np.testing.assert_array_equal(model.transform("audio", x), direct.transform("audio", x))
    model.save(tmp_path)
    loaded = earsight.load_model(tmp_path)
    assert loaded.n_components == 3
    np.testing.assert_array_equal(loaded.transform("audio", x), model.transform("audio", x))
    with pytest.raises(InputError, match="auto chose concord, whose width follows from the class"):
        model.fit(views, labels=labels)
    np.testing.assert_array_equal(loaded.transform("audio", x), model.transform("audio", x))

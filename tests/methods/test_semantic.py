"""Posteriors: heads, calibrated classifiers against scikit-learn, inner folds, and mixtures."""

import numpy as np
import pytest

import earsight
from earsight.errors import InputError, LabelError
from earsight.methods._posterior.classifiers import Logistic, fit_classifier, platt
from earsight.methods._posterior.kernel_ridge import Scaling
from earsight.methods._posterior.posteriors import (
    content_keys,
    inner_folds,
    mixture_weights,
    padding,
    softmax,
    with_head,
)


def rows(n: int = 120, classes: int = 4, d: int = 6, seed: int = 0) -> tuple:
    """Two views with a class signal, and their classes."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    x, y = (2 * rng.normal(size=(classes, d))[codes] + rng.normal(size=(n, d)) for _ in "xy")
    return {"audio": x, "visual": y}, codes


def posteriors(n: int, classes: int, seed: int) -> np.ndarray:
    return softmax(3 * np.random.default_rng(seed).normal(size=(n, classes)))


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def test_the_cosine_of_padded_posteriors_is_their_inner_product() -> None:
    p, q = posteriors(50, 7, 0), posteriors(40, 7, 1)
    q[0] = np.eye(7)[2]  # certain: nothing is left for the padding
    mean = np.zeros(7)
    padded = [with_head(x, "probability", mean, place) for place, x in enumerate((p, q))]
    np.testing.assert_allclose(cosine(*padded), p @ q.T, atol=1e-15)
    remainder = np.sqrt(1 - (p**2).sum(axis=1))
    within = p @ p.T + np.outer(remainder, remainder)
    np.testing.assert_allclose(cosine(padded[0], padded[0]), within, atol=1e-15)
    np.testing.assert_allclose(padded[0][:, :-2] @ padded[0][:, :-2].T, p @ p.T, atol=1e-15)


def test_no_two_modalities_share_a_column_of_the_padding() -> None:
    first, second = (padding(posteriors(5, 3, 0), place) for place in (0, 1))
    assert not (first * second).any() and first.any() and second.any()


@pytest.mark.parametrize("name", ["semantic", "scm", "concord"])
def test_every_head_is_of_the_same_posteriors(name: str) -> None:
    views, codes = rows()
    z = {}
    for head in ("cosine", "centred", "probability"):
        model = earsight.method(name, head=head).fit(views, labels=codes)
        z[head] = model.transform("visual", views["visual"]).astype(np.float64)
        assert model.n_components_ == z[head].shape[1]
    p = z["cosine"]
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    shift = p - z["centred"]
    np.testing.assert_allclose(shift, np.tile(shift[:1], (len(p), 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(z["probability"], axis=1), 1, atol=1e-6)
    scale = np.sqrt(1 + getattr(model, "gain_", 0.0))
    np.testing.assert_allclose(z["probability"][:, :4] * scale, p, atol=1e-6)
    with pytest.raises(InputError, match=r"`head` (of|must be one of)"):
        earsight.method(name, head="softmax")


@pytest.mark.parametrize("classes", [2, 4])
def test_the_svm_posterior_is_scikit_learns(classes: int) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    views, codes = rows(classes=classes)
    x = views["audio"]
    folds = inner_folds(codes, None, content_keys({"x": x}, 0))
    ours = fit_classifier("svm", x, codes, folds=folds, order=np.arange(len(x)))
    scaled = ours.scaling.apply(x)
    splits = [(np.setdiff1d(np.arange(len(x)), test), test) for test in folds]
    machine = SVC(gamma=1 / (scaled.shape[1] * scaled.var()))
    theirs = CalibratedClassifierCV(machine, cv=splits, ensemble=False).fit(scaled, codes)
    new = rows(30, classes, seed=1)[0]["audio"]
    expected = theirs.predict_proba(ours.scaling.apply(new))
    # scikit-learn's search for Platt's two numbers ends a little before the optimum; ours does not.
    np.testing.assert_allclose(ours.posterior(new), expected, atol=4e-3)
    decisions = machine.fit(scaled, codes).decision_function(ours.scaling.apply(new))
    found = ours.model.decisions(ours.scaling.apply(new))
    np.testing.assert_allclose(found[:, 1] if classes == 2 else found, decisions, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_logistic_posterior_is_scikit_learns(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    views, codes = rows(classes=classes)
    theirs = LogisticRegression(max_iter=300).fit(views["audio"], codes)
    ours = Logistic.fit(views["audio"], codes)
    new = rows(30, classes, seed=1)[0]["audio"]
    np.testing.assert_allclose(ours.posterior(new), theirs.predict_proba(new), atol=1e-12)


def test_platt_stands_still_where_its_loss_is_least() -> None:
    rng = np.random.default_rng(0)
    decision = rng.normal(size=300)
    positive = rng.random(300) < 1 / (1 + np.exp(-2 * decision))
    targets = np.where(positive, 1 - 1 / (positive.sum() + 2), 1 / ((~positive).sum() + 2))

    def loss(slope: float, offset: float) -> float:
        z = slope * decision + offset
        return float((np.logaddexp(0, z) - targets * z).sum())

    slope, offset = platt(decision, positive)
    around = [(slope + a, offset + b) for a in (-1e-3, 0, 1e-3) for b in (-1e-3, 0, 1e-3)]
    assert min(loss(*point) for point in around) == loss(slope, offset)


def test_the_square_root_is_taken_where_it_predicts_better() -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(400) % 4
    rates = rng.gamma(0.3, 1, size=(4, 30))[codes]
    counts = rng.poisson(rates * rng.gamma(1, 3, size=(400, 30))).astype(float)
    plain = rng.normal(size=(4, 5))[codes] + rng.normal(size=(400, 5))
    model = earsight.method("semantic", classifier="logistic")
    assert model.fit({"bag": counts, "plain": plain}, labels=codes).roots_["bag"]
    values = np.array([[-4.0, 9.0], [0.0, 1.0]])
    root = Scaling(True, np.zeros(2), np.ones(2))
    np.testing.assert_array_equal(root.apply(values), [[-2.0, 3.0], [0.0, 1.0]])


def test_auto_is_an_svm_for_few_rows_and_logistic_for_many() -> None:
    views, codes = rows()
    assert earsight.method("semantic").fit(views, labels=codes).classifier_ == "svm"
    many, codes = rows(4100, d=2)
    assert earsight.method("semantic").fit(many, labels=codes).classifier_ == "logistic"


def test_a_class_that_a_modality_lacks_is_refused() -> None:
    views, codes = rows()
    lacking = {"audio": codes, "visual": np.minimum(codes, 2)}
    for name in ("semantic", "concord"):
        with pytest.raises(LabelError, match="needs every class in every modality"):
            earsight.method(name).fit(views, labels=lacking)
        with pytest.raises(LabelError, match="needs at least two classes"):
            earsight.method(name).fit(views, labels=np.zeros(120))


def test_em_never_falls_and_ends_where_nothing_can_be_gained() -> None:
    rng = np.random.default_rng(0)
    likelihoods = rng.random((200, 5)) ** 2

    def objective(w: np.ndarray, pseudo: float) -> float:
        return float(np.log(likelihoods @ w).sum() + pseudo * np.log(w).sum())

    for pseudo in (0.0, 5.0):
        values = [objective(mixture_weights(likelihoods, pseudo, r), pseudo) for r in range(60)]
        assert (np.diff(values) > -1e-9).all() and values[-1] > values[0]
        if pseudo:  # where all weights are inside, the gradient is the same for each
            w = mixture_weights(likelihoods, pseudo, 4000)
            gradient = likelihoods.T @ (1 / (likelihoods @ w)) + pseudo / w
            np.testing.assert_allclose(gradient, gradient[0], rtol=1e-6)


def test_groups_are_whole_and_folds_do_not_depend_on_the_order() -> None:
    views, codes = rows(90, 3)
    groups = np.repeat(np.arange(30), 3)
    codes = np.repeat(np.arange(30) % 3, 3)
    shuffled = np.random.default_rng(5).permutation(90)
    keys = content_keys(views, 0)
    again = content_keys({name: x[shuffled] for name, x in views.items()}, 0)
    assert np.array_equal(again, keys[shuffled])
    for own in (None, groups):
        folds = inner_folds(codes, own, keys)
        assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(90))
        moved = inner_folds(codes[shuffled], None if own is None else own[shuffled], again)
        assert {frozenset(f) for f in folds} == {frozenset(shuffled[f]) for f in moved}
    assert all(len(set(groups[f])) * 3 == len(f) for f in folds)

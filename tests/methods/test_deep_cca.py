"""Deep CCA: its loss against explicit pairs, autograd and cca-zoo; its fits against CCA."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import earsight
from earsight import linalg
from earsight.datasets import folds, wikipedia
from earsight.errors import InputError, LabelError
from earsight.methods._deep.deep_cca import held_out_correlation
from earsight.methods._deep.losses import Covariances, pair_covariances, total_correlation

RNG = np.random.default_rng(0)
DATA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"
KINDS = ["dcca", "c_dcca", "s_dcca"]


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x)


def explicit(
    x: np.ndarray, y: np.ndarray, cx: np.ndarray, cy: np.ndarray, beta: float
) -> tuple[np.ndarray, ...]:
    """The moments, from a list of all pairs with their chances."""
    same = [(i, j) for i in range(len(x)) for j in range(len(y)) if cx[i] == cy[j]]
    pairs = [(i, j, (1 - beta) / len(same)) for i, j in same]
    if beta:
        pairs += [(i, i, beta / len(x)) for i in range(len(x))]
    mx, my = sum(w * x[i] for i, _, w in pairs), sum(w * y[j] for _, j, w in pairs)
    xx = sum(w * np.outer(x[i] - mx, x[i] - mx) for i, _, w in pairs)
    yy = sum(w * np.outer(y[j] - my, y[j] - my) for _, j, w in pairs)
    xy = sum(w * np.outer(x[i] - mx, y[j] - my) for i, j, w in pairs)
    return mx, my, xx, yy, xy


@pytest.mark.parametrize(("beta", "m"), [(0.0, 7), (0.0, 12), (0.2, 12), (0.7, 12), (1.0, 12)])
def test_the_moments_are_those_of_explicit_pairs(beta: float, m: int) -> None:
    x, y = 50 + RNG.normal(size=(12, 3)), RNG.normal(size=(m, 4)) - 20
    cx, cy = RNG.permutation([0] * 5 + [2] * 3 + [3] * 4), np.array([0, 2, 3] * 4)[:m]
    found = pair_covariances(tensor(x), tensor(y), (tensor(cx), tensor(cy)), beta)
    ours = (*found.means, found.xx, found.yy, found.xy)
    for own, slow in zip(ours, explicit(x, y, cx, cy, beta), strict=True):
        np.testing.assert_allclose(own.numpy(), slow, rtol=1e-10, atol=1e-11)


def moments(n: int = 60, p: int = 4, q: int = 3) -> Covariances:
    x = RNG.normal(size=(n, p))
    y = x[:, :q] @ RNG.normal(size=(q, q)) + RNG.normal(size=(n, q))
    return pair_covariances(tensor(x), tensor(y))


def test_the_loss_is_the_sum_of_the_canonical_correlations() -> None:
    found = moments()
    arrays = [each.numpy() for each in (found.xx, found.yy, found.xy)]
    expected = linalg.cca(*arrays).correlations.sum()
    assert float(total_correlation(found, 1e-12)) == pytest.approx(expected, rel=1e-9)


def test_the_loss_of_cca_zoo_is_the_sum_of_squares_instead() -> None:
    """cca-zoo's "CCA loss" is ‖T‖²_F, ours (Andrew 2013's) is ‖T‖*: Σρ² against Σρ.

    Both are largest where every ρ is 1. Squares reward what correlates already and hardly pull
    at small correlations. Its file is read alone: the package around it asks for lightning.
    """
    folder = importlib.util.find_spec("cca_zoo").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("zoo", Path(folder, "deep", "objectives.py"))
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    x = RNG.normal(size=(80, 3))
    y = x + RNG.normal(size=(80, 3))
    theirs = -float(zoo.CCALoss(reg_covar=1e-12)([tensor(x), tensor(y)]))
    found = pair_covariances(tensor(x), tensor(y))
    rho = linalg.cca(*(each.numpy() for each in (found.xx, found.yy, found.xy))).correlations
    assert theirs == pytest.approx((rho**2).sum(), rel=1e-9)
    assert float(total_correlation(found, 1e-12)) == pytest.approx(rho.sum(), rel=1e-9)


def by_autograd(x: torch.Tensor, y: torch.Tensor, ridge: float) -> torch.Tensor:
    x, y = x - x.mean(0), y - y.mean(0)
    xx, yy, xy = (a.T @ b / len(x) for a, b in ((x, x), (y, y), (x, y)))
    eye = torch.eye(len(xx), dtype=xx.dtype)
    lx = torch.linalg.cholesky(xx + ridge * xx.trace() / len(xx) * eye)
    ly = torch.linalg.cholesky(yy + ridge * yy.trace() / len(yy) * eye)
    return torch.linalg.svdvals(torch.linalg.inv(lx) @ xy @ torch.linalg.inv(ly).T).sum()


def test_the_gradient_is_that_of_autograd_where_that_exists() -> None:
    x = tensor(RNG.normal(size=(40, 3))).requires_grad_()
    y = tensor(RNG.normal(size=(40, 3))).requires_grad_()
    slow = torch.autograd.grad(by_autograd(x, y, 0.01), (x, y))
    ours = torch.autograd.grad(total_correlation(pair_covariances(x, y), 0.01), (x, y))
    for a, b in zip(ours, slow, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_the_gradient_of_the_class_term_is_that_of_differences(beta: float) -> None:
    codes = tensor(np.arange(9) % 3)
    x, y = (tensor(RNG.normal(size=(9, 2))).requires_grad_() for _ in range(2))

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return total_correlation(pair_covariances(x, y, (codes, codes), beta), 0.01)

    assert torch.autograd.gradcheck(loss, (x, y), eps=1e-6, atol=1e-6)


def test_equal_and_vanishing_correlations_have_a_finite_gradient() -> None:
    x = tensor(np.vstack([np.eye(4), -np.eye(4)])).requires_grad_()
    found = pair_covariances(x, x.detach())  # every ρ equal
    total_correlation(found, 1e-6).backward()
    assert torch.isfinite(x.grad).all()
    y = x.detach().clone()
    y[:, 2:] = 0  # and two that are 0, of columns that do not vary
    (grad,) = torch.autograd.grad(total_correlation(pair_covariances(x, y), 1e-3), x)
    assert torch.isfinite(grad).all()


def pairs(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Two correlated dimensions among noise."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 2)) * [1.0, 0.7]
    fixed = np.random.default_rng(9)
    return {
        name: np.hstack([shared, rng.normal(size=(n, 3))]) @ fixed.normal(size=(5, d))
        + 0.3 * rng.normal(size=(n, d))
        for name, d in (("audio", 5), ("visual", 6))
    }


def test_a_linear_dcca_reaches_the_correlations_of_cca() -> None:
    views = pairs(600)
    linear = earsight.method("cca", n_components=2, ridge=0).fit(views)
    deep = earsight.method(
        "dcca", n_components=2, hidden=(), ridge=1e-6, patience=None,
        batch_size=600, epochs=300, learning_rate=0.01,
    ).fit(views)  # fmt: skip
    np.testing.assert_allclose(deep.correlations_, linear.correlations_, atol=1e-3)
    z = [deep.transform(name, x) for name, x in views.items()]
    for i, rho in enumerate(linear.correlations_):
        assert np.corrcoef(z[0][:, i], z[1][:, i])[0, 1] == pytest.approx(rho, abs=1e-3)


@pytest.mark.parametrize("fields", [{"epochs": 0}, {"epochs": 50, "patience": 3}])
def test_where_layers_do_not_help_dcca_is_cca(fields: dict[str, int]) -> None:
    views = pairs(500)
    linear = earsight.method("cca", n_components=2).fit(views)
    deep = earsight.method("dcca", n_components=2, **fields).fit(views)
    assert deep.best_epoch_ == 0 and len(deep.history_) == fields.get("patience", 0) + 1
    np.testing.assert_allclose(deep.correlations_, linear.correlations_, rtol=1e-5)
    for name, x in views.items():
        ours, theirs = deep.transform(name, x), linear.transform(name, x)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_dcca_finds_what_cca_cannot_see() -> None:
    def draw(n: int, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        s = rng.uniform(-2, 2, size=(n, 2))
        return {"audio": s, "visual": s**2 + 0.1 * rng.normal(size=(n, 2))}

    train, test = draw(800, 0), draw(300, 1)
    fields = {"n_components": 2, "hidden": (32, 16), "dropout": 0.0}
    figures = {}
    for name, model in {
        "cca": earsight.method("cca", n_components=2),
        "from cca": earsight.method("dcca", epochs=40, learning_rate=5e-3, **fields),
        "random": earsight.method("dcca", start="random", epochs=40, learning_rate=5e-3, **fields),
    }.items():
        model.fit(train)
        z = {view: model.transform(view, x) for view, x in test.items()}
        figures[name] = earsight.evaluate(z)["audio", "visual"].mrr
    assert min(figures["from cca"], figures["random"]) > 3 * figures["cca"]


def classes(n: int = 90, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(5).normal(size=(2, 3, 4))
    return {
        name: centres[i][labels] + rng.normal(size=(n, 4)) for i, name in enumerate(("a", "b"))
    }, labels


QUICK = {"hidden": (16,), "epochs": 5}


def test_the_ends_of_beta_are_the_other_kinds() -> None:
    views, labels = classes()
    mixed = earsight.method("c_dcca", beta=0.0, **QUICK).fit(views, labels)
    pure = earsight.method("s_dcca", **QUICK).fit(views, labels)
    assert mixed.n_components_ == pure.n_components_ == 2
    assert np.array_equal(mixed.transform("a", views["a"]), pure.transform("a", views["a"]))
    alone = earsight.method("c_dcca", beta=1.0, n_components=2, **QUICK).fit(views, labels)
    deep = earsight.method(
        "dcca", start="random", n_components=2, **QUICK | {"dropout": 0.7}, learning_rate=2e-3
    ).fit(views)
    np.testing.assert_array_equal(alone.correlations_, deep.correlations_)


def test_s_dcca_takes_unpaired_rows_of_any_count() -> None:
    views, labels = classes()
    model = earsight.method("s_dcca", hidden=(16,), epochs=60).fit(
        {"a": views["a"], "b": views["b"][:50]}, {"a": labels, "b": labels[:50]}
    )
    new, truth = classes(60, seed=8)
    z = {name: model.transform(name, x) for name, x in new.items()}
    scores = earsight.evaluate(z, truth)
    assert all(each.map > each.map_chance + 0.1 for each in scores.values())


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_are_constant_or_doubled_do_no_harm(kind: str) -> None:
    views, labels = classes()
    views["a"] = np.hstack([views["a"], views["a"][:, :2], np.full((90, 2), 7.0)])
    model = earsight.method(kind, n_components=2, **QUICK).fit(views, labels)
    assert np.isfinite(model.transform("a", views["a"])).all()
    changed = views["a"].copy()
    changed[:, -1] = -100.0  # a column that never varied says nothing
    assert np.array_equal(model.transform("a", changed), model.transform("a", views["a"]))


@pytest.mark.parametrize("kind", KINDS)
def test_three_rows_of_two_classes(kind: str) -> None:
    views, labels = classes(3)
    labels = labels // 2
    model = earsight.method(kind, **QUICK).fit(views, labels)
    assert model.n_components_ == (1 if kind == "s_dcca" else 2)
    assert np.isfinite(model.transform("b", views["b"])).all()
    with pytest.raises(InputError, match=r"`n_components` must be at most \d, the rank of"):
        earsight.method(kind, n_components=3, **QUICK).fit(views, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_fitted_is_refused(kind: str) -> None:
    views, labels = classes()
    with pytest.raises(InputError, match=f"{kind} needs views that vary; in 'b' nothing does"):
        earsight.method(kind, **QUICK).fit({**views, "b": np.ones((90, 2))}, labels)
    with pytest.raises(InputError, match="`batch_size` must be at least 4 times the 2 components"):
        earsight.method(kind, n_components=2, batch_size=7, **QUICK).fit(views, labels)
    with pytest.raises(InputError, match="`ridge` must be a number above 0"):
        earsight.method(kind, ridge=0)
    with pytest.raises(InputError, match="`hidden` must be a whole number of at least 1"):
        earsight.method(kind, hidden=(4, 0))
    if kind != "dcca":
        with pytest.raises(LabelError, match=f"{kind} needs at least two classes"):
            earsight.method(kind, **QUICK).fit(views, labels * 0)


def test_a_class_that_a_modality_lacks_is_named() -> None:
    views, labels = classes()
    with pytest.raises(LabelError, match="s_dcca needs every class in every modality; 'b'"):
        earsight.method("s_dcca").fit(views, {"a": labels, "b": np.minimum(labels, 1)})


def test_held_out_correlation_is_the_sum_over_columns() -> None:
    x = RNG.normal(size=(50, 3))
    y = np.c_[x[:, 0] * 2 + 1, -x[:, 1], np.zeros(50)]
    assert held_out_correlation({"a": x, "b": y}, None) == pytest.approx(0.0)  # 1 − 1 + 0


@pytest.mark.long
@pytest.mark.skipif(not DATA.is_dir(), reason="the Wikipedia set is not here")
def test_on_training_folds_of_wikipedia() -> None:
    data = wikipedia(DATA).part("train")
    means: dict[str, list[float]] = {"cca": [], "dcca": [], "cluster_cca": [], "s_dcca": []}
    for train, test in folds(data.labels, None, 5)[:2]:
        fit, new = data.take(train), data.take(test)
        for name, found in means.items():
            model = earsight.method(name).fit(fit.views, fit.labels)
            z = {view: model.transform(view, x) for view, x in new.views.items()}
            scores = earsight.evaluate(z, new.labels)
            found.append(np.mean([each.map for each in scores.values()]))
    figures = {name: np.mean(found) for name, found in means.items()}
    assert figures["s_dcca"] > figures["cluster_cca"] + 0.005
    assert figures["dcca"] > figures["cca"] - 1e-4

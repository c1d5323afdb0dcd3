"""Concord: exact held-out scores, the paired item, and calm on awkward data."""

import numpy as np
import pytest

import earsight
from earsight.methods._posterior.ensemble import KINDS, fit_ensemble
from earsight.methods._posterior.kernel_ridge import (
    KernelRidge,
    Scaling,
    dual_ridge,
    kernel_of,
    landmark_features,
    primal_ridge,
    squared_distances,
    stackers,
)
from earsight.methods._posterior.pair_term import joined
from earsight.methods._posterior.posteriors import content_keys, inner_folds, softmax


def rows(n: int = 90, classes: int = 3, d: tuple[int, int] = (6, 5), seed: int = 0) -> tuple:
    """Two views that share a class and a signal of the pair."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    fixed = np.random.default_rng(classes)
    shared = np.hstack([1.5 * fixed.normal(size=(classes, 3))[codes], rng.normal(size=(n, 3))])
    views = [shared @ fixed.normal(size=(6, w)) + 0.5 * rng.normal(size=(n, w)) for w in d]
    return dict(zip(("audio", "visual"), views, strict=True)), codes


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_scores_are_those_of_fitting_without_the_fold(kind: str) -> None:
    views, codes = rows()
    x, y = views["audio"], np.eye(3)[codes] - 1 / 3
    folds = inner_folds(codes, None, content_keys(views, 0))
    if kind == "linear":
        (weights, held_out), *_ = primal_ridge(x, y, folds, [0.7])
        kernel = x @ x.T
        np.testing.assert_allclose(weights, x.T @ np.linalg.solve(kernel + 0.7 * np.eye(90), y))
    else:
        kernel = kernel_of(squared_distances(x, x), kind, x.shape[1])
        (alpha, held_out), *_ = dual_ridge(kernel, y, folds, [0.7])
        np.testing.assert_allclose(alpha, np.linalg.solve(kernel + 0.7 * np.eye(90), y))
    for test in folds:
        train = np.setdiff1d(np.arange(90), test)
        inside = kernel[np.ix_(train, train)] + 0.7 * np.eye(len(train))
        naive = kernel[np.ix_(test, train)] @ np.linalg.solve(inside, y[train])
        np.testing.assert_allclose(held_out[test], naive, atol=1e-11)


def test_kernels_are_what_they_are_called() -> None:
    x = rows()[0]["audio"][:9]
    squares = squared_distances(x, x[:4])
    naive = np.array([[((a - b) ** 2).sum() for b in x[:4]] for a in x])
    np.testing.assert_allclose(squares, naive, atol=1e-12)
    np.testing.assert_allclose(kernel_of(naive, "rbf", 6), np.exp(-naive / 12))
    np.testing.assert_allclose(kernel_of(naive, "narrow", 6), np.exp(-naive / 3))
    np.testing.assert_allclose(kernel_of(naive, "laplacian", 6), np.exp(-np.sqrt(naive / 6)))


@pytest.mark.parametrize("kind", ["rbf", "laplacian"])
def test_with_all_rows_as_landmarks_nothing_is_lost(kind) -> None:
    x = rows()[0]["audio"]
    kernel = kernel_of(squared_distances(x, x), kind, 6)
    features, back = landmark_features(kernel, kernel)
    np.testing.assert_allclose(features @ features.T, kernel, atol=1e-5)
    np.testing.assert_allclose(kernel @ back, features, atol=1e-9)


def test_a_problem_with_landmarks_is_near_the_exact_one() -> None:
    views, codes = rows(600)
    scaling = Scaling.of(views["audio"], root=False)
    x = scaling.apply(views["audio"])
    folds = inner_folds(codes, None, content_keys(views, 0))
    found = {}
    for m in (600, 300):
        chosen = np.arange(m)
        problem = KernelRidge(
            rows=x, squares=squared_distances(x, x[chosen]), chosen=chosen, kind="rbf", d=6
        )
        found[m] = problem.solve(np.eye(3)[codes], codes, folds, [0.4])
    apart = np.abs(found[300].held_out - found[600].held_out)
    assert 0 < apart.mean() < 0.01 * found[600].held_out.std()
    assert found[300].coefficients.shape == (300, 3)


def test_the_stackers_are_scikit_learns_logistic_regressions() -> None:
    from sklearn.linear_model import LogisticRegression

    views, codes = rows(300)
    x, penalties = views["audio"], np.array([30.0, 3.0, 1.0])
    weights, bias = stackers(x, np.eye(3)[codes], penalties, rounds=500)
    for penalty, w, b in zip(penalties, weights, bias, strict=True):
        theirs = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(x, codes)
        np.testing.assert_allclose(softmax(x @ w + b), theirs.predict_proba(x), atol=1e-3)


def test_the_pool_predicts_what_its_parts_say() -> None:
    views, codes = rows()
    x, keys = views["audio"], content_keys(views, 0)
    folds = inner_folds(codes, None, keys)
    pool, held_out = fit_ensemble(x, np.eye(3)[codes], codes=codes, folds=folds, keys=keys)
    new = rows(20, seed=4)[0]["audio"]
    for p in (held_out, pool.posterior(new)):
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert (p > 0).all()
    assert pool.weights.sum() == pytest.approx(1) and len(pool.weights) == 14
    # Held-out posteriors are worse than those of rows that were learned from, or there is a leak.
    own = np.arange(len(x)), codes
    assert np.log(held_out[own]).mean() < np.log(pool.posterior(x)[own]).mean()


def test_the_vector_carries_thepair_term_as_a_factor() -> None:
    rng = np.random.default_rng(0)
    p, q = (softmax(2 * rng.normal(size=(n, 4))) for n in (30, 20))
    c, d = (rng.normal(size=(n, 3)) for n in (30, 20))
    c, d = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (c, d))
    for g in (0.0, 0.25, 2.0):
        first, second = joined(p, c, g, 0), joined(q, d, g, 1)
        expected = (p @ q.T) * (1 + g * (c @ d.T)) / (1 + g)
        np.testing.assert_allclose(first @ second.T, expected, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(second, axis=1), 1, atol=1e-14)


@pytest.mark.parametrize("paired", [True, False])
def test_the_order_of_rows_changes_nothing(paired: bool) -> None:
    views, codes = rows(80)
    groups = np.arange(80) // 2
    new = rows(10, seed=3)[0]["visual"]
    found = []
    for order in (np.arange(80), np.random.default_rng(0).permutation(80)):
        own = codes[order] if paired else dict.fromkeys(views, codes[order])
        grouped = groups[order] if paired else dict.fromkeys(views, groups[order])
        model = earsight.method("concord")
        model.fit({name: x[order] for name, x in views.items()}, own, grouped)
        found.append(model.transform("visual", new))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_a_repeated_clip_does_not_leak_where_groups_say_so() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(40) % 2, 5)
    x = np.repeat(rng.normal(size=(40, 8)), 5, axis=0) + 1e-3 * rng.normal(size=(200, 8))
    groups = np.repeat(np.arange(40), 5)
    keys = content_keys({"x": x}, 0)
    losses = {}
    for name, own in (("rows", None), ("groups", groups)):
        folds = inner_folds(codes, own, keys)
        _, held_out = fit_ensemble(x, np.eye(2)[codes], codes=codes, folds=folds, keys=keys)
        losses[name] = -np.log(held_out[np.arange(200), codes]).mean()
    assert losses["rows"] < 0.45 and losses["groups"] > 0.6  # noise can only be known by its copies


def awkward() -> dict[str, tuple]:
    rng = np.random.default_rng(0)
    views, codes = rows(60)
    constant = {name: np.hstack([x, np.full((60, 2), 7.0)]) for name, x in views.items()}
    ten = {name: x[:10] for name, x in views.items()}
    three = {name: x[:3] for name, x in views.items()}
    return {
        "ten clips": (ten, codes[:10], None),
        "three rows, two classes": (three, np.array([0, 1, 1]), None),
        "one class of one clip": (views, np.r_[3, codes[1:]], None),
        "a class for each pair of rows": (views, np.arange(60) // 2, None),
        "unbalanced": (views, (np.arange(60) > 54).astype(int), None),
        "columns that do not vary": (constant, codes, None),
        "views that do not vary": ({name: np.ones((60, 3)) for name in views}, codes, None),
        "more columns than rows": ({n: rng.normal(size=(60, 200)) for n in views}, codes, None),
        "one group": (views, codes, np.zeros(60)),
        "huge numbers": ({name: 1e6 * x + 1e8 for name, x in views.items()}, codes, None),
    }


@pytest.mark.parametrize("name", ["concord", "semantic"])
@pytest.mark.parametrize("case", list(awkward()))
def test_it_is_calm(name: str, case: str) -> None:
    views, labels, groups = awkward()[case]
    model = earsight.method(name).fit(views, labels=labels, groups=groups)
    for modality, x in views.items():
        z = model.transform(modality, x)
        assert np.isfinite(z).all() and z.shape == (len(x), model.n_components_)


@pytest.mark.long
def test_above_4000_rows_landmarks_do_nearly_as_well(monkeypatch) -> None:
    from earsight.methods._posterior import ensemble

    views, codes = rows(3000, seed=1)
    test, truth = rows(1000, seed=2)
    maps = []
    for limit in (4000, 1000):
        monkeypatch.setattr(ensemble, "MAX_EXACT", limit)
        model = earsight.method("concord").fit(views, labels=dict.fromkeys(views, codes))
        z = {name: model.transform(name, x) for name, x in test.items()}
        maps.append([one.map for one in earsight.evaluate(z, labels=truth).values()])
    np.testing.assert_allclose(maps[1], maps[0], atol=0.01)


def test_without_stackers_it_still_works(monkeypatch, tmp_path) -> None:
    from earsight.methods._posterior import ensemble

    monkeypatch.setattr(ensemble, "MAX_STACKED", 0)  # as with very many rows and classes
    views, codes = rows()
    model = earsight.method("concord").fit(views, labels=codes)
    assert model.learned()["pools"]["audio"]["weights"].shape == (8,)
    model.save(tmp_path / "model")
    z = earsight.load_model(tmp_path / "model").transform("audio", views["audio"])
    np.testing.assert_array_equal(z, model.transform("audio", views["audio"]))

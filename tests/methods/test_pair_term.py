"""The paired item: what its vectors are, what they are worth, and what may be paid for them."""

import numpy as np
import pytest

import earsight
from earsight.methods import Rows
from earsight.methods._posterior.pair_term import GAINS, PairTerm, _best, _Pairs, canonical


def rows(n: int = 300, own: float = 1.0, seed: int = 0) -> tuple:
    """Two views that share a class of three and, `own` strong, a signal of the pair."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    fixed = np.random.default_rng(3)
    shared = np.hstack([fixed.normal(size=(3, 3))[codes], own * rng.normal(size=(n, 3))])
    views = [shared @ fixed.normal(size=(6, d)) + rng.normal(size=(n, d)) for d in (8, 7)]
    return dict(zip(("audio", "visual"), views, strict=True)), codes


def found(model, views: dict, codes: np.ndarray) -> tuple[float, float]:
    """MAP and recall@10, mean over both directions."""
    z = {name: model.transform(name, x) for name, x in views.items()}
    both = earsight.evaluate(z, labels=codes, ks=[10]).values()
    return np.mean([one.map for one in both]), np.mean([one.recall[10] for one in both])


def pairs(codes: np.ndarray, views: dict) -> _Pairs:
    return _Pairs(views, codes, None, 3, 10)


def test_canonical_vectors_of_all_pairs_are_those_of_cca() -> None:
    views, codes = rows()
    maps = pairs(codes, views).maps(within=False)
    model = earsight.method("cca").fit(views)
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=len(codes))  # has no say
    for name, x in views.items():
        z = model.transform(name, x).astype(float)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        c = canonical(x, p, maps[name])
        np.testing.assert_allclose(c @ c.T, z @ z.T, atol=1e-5)


def test_within_classes_they_are_cca_of_what_the_class_means_leave() -> None:
    views, codes = rows()
    maps = pairs(codes, views).maps(within=True)
    centred = {
        name: x - np.array([x[codes == c].mean(axis=0) for c in codes]) for name, x in views.items()
    }
    scale = {name: x.std(axis=0) for name, x in views.items()}
    model = earsight.method("cca", standardize=False)
    model.fit({name: x / scale[name] for name, x in centred.items()})
    for name, x in centred.items():
        z = model.transform(name, x / scale[name]).astype(float)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        c = canonical(views[name], np.eye(3)[codes], maps[name])
        np.testing.assert_allclose(c @ c.T, z @ z.T, atol=1e-5)


def test_more_columns_than_rows_lose_nothing() -> None:
    views, codes = rows(60)
    wide = {name: np.hstack([x] * 20) for name, x in views.items()}
    for within in (False, True):
        narrow, many = (pairs(codes, each).maps(within) for each in (views, wide))
        p = np.eye(3)[codes]
        c, d = (
            {name: canonical(x, p, maps[name]) for name, x in each.items()}
            for each, maps in ((views, narrow), (wide, many))
        )
        # The ridge is in units of the columns' variance, so that the two differ a little.
        agree = [abs((c[name] @ c[name].T) - (d[name] @ d[name].T)).mean() for name in c]
        assert max(agree) < 0.05


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_thepair_term_is_found_and_costs_little(own: float) -> None:
    (views, codes), (test, truth) = rows(own=own), rows(own=own, seed=1)
    model = earsight.method("concord").fit(views, labels=codes)
    plain = earsight.method("concord").fit(views, labels=dict.fromkeys(views, codes))
    assert plain.gain_ == 0 and plain.n_components_ == 5 and not plain.own_
    map_, recall = found(model, test, truth)
    plain_map, plain_recall = found(plain, test, truth)
    assert map_ > 0.98 * plain_map
    if own:
        cca_recall = found(earsight.method("cca").fit(views), test, truth)[1]
        assert model.gain_ in GAINS and recall > 1.5 * plain_recall and recall > cca_recall
    else:
        assert recall > 0.8 * plain_recall


def test_what_lies_within_the_classes_is_taken_where_it_says_more() -> None:
    views, codes = rows()
    assert earsight.method("concord").fit(views, labels=codes).within_
    few = {name: x[:22] for name, x in views.items()}  # less than 20 rows beyond the class means
    assert not earsight.method("concord").fit(few, labels=codes[:22]).within_


def test_the_choice_keeps_the_map_unless_thepair_term_would_suffer() -> None:
    score = np.array([[1.0, 0.996, 0.98, 0.90], [1.0, 0.997, 0.96, 0.94]])
    often = np.array([[0.1, 0.2, 0.3, 0.9], [0.1, 0.25, 0.4, 0.5]])
    for alone, expected in (
        (0.2, (1, 1)),  # free, and as often as alone: the most often of those that are free
        (0.28, (0, 2)),  # has to be paid: the cheapest that is enough
        (0.35, (1, 2)),
        (0.8, (1, 2)),  # too dear: the most often of those that are allowed
    ):
        assert np.unravel_index(_best(score, often, alone), score.shape) == expected


def test_no_pairs_too_few_or_nothing_in_common_leaves_it_out() -> None:
    views, codes = rows(60)
    p = np.full((60, 3), 1 / 3)
    folds = [np.arange(i, 60, 5) for i in range(5)]
    labels = dict.fromkeys(views, codes)

    def choose(x: dict, y: np.ndarray, *, paired: bool = True) -> PairTerm:
        of = [f[f < len(y)] for f in folds]
        given = Rows(views=x, labels=dict.fromkeys(x, y), paired=paired)
        return PairTerm.choose(given, y, {name: p[: len(y)] for name in x}, of)

    assert labels and choose(views, codes).gain > 0
    assert choose(views, codes, paired=False) == PairTerm()
    assert choose({name: x[:19] for name, x in views.items()}, codes[:19]) == PairTerm()
    assert choose({name: np.ones((60, 2)) for name in views}, codes) == PairTerm()

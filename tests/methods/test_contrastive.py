"""The contrastive learner: its loss against a loop, groups, and the way from CCA."""

import numpy as np
import pytest
import torch

import earsight
from earsight.errors import InputError
from earsight.methods.contrastive import info_nce


def curved(n: int, seed: int) -> dict[str, np.ndarray]:
    """Two views of one code; one of them shows it bent, so that no linear map brings them together.

    The first coordinate alone is shown as it is: that much CCA finds.
    """
    rng = np.random.default_rng(seed)
    code = rng.normal(size=(n, 4))
    bent = np.hstack([code[:, :1], np.abs(code[:, 1:])])
    return {"audio": code + 0.05 * rng.normal(size=(n, 4)), "visual": bent}


def own_half(model, views: dict[str, np.ndarray]) -> float:
    """MRR of each clip's paired item, mean of both directions."""
    embedded = {name: model.transform(name, x) for name, x in views.items()}
    return float(np.mean([each.mrr for each in earsight.evaluate(embedded).values()]))


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 3]])
def test_the_loss_is_that_of_a_loop(groups: list[int] | None) -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 7, 3, generator=draw, dtype=torch.float64)
    group = np.asarray(groups or range(7))
    total = 0.0
    for queries, gallery in ((a, b), (b, a)):
        for i, query in enumerate(queries):
            shares = {
                j: float(torch.exp(torch.cosine_similarity(query, item, dim=0) / 0.3))
                for j, item in enumerate(gallery)
                if j == i or group[j] != group[i]
            }
            total -= np.log(shares[i] / sum(shares.values())) / 14
    ours = info_nce(a, b, 0.3, None if groups is None else torch.from_numpy(group))
    assert float(ours) == pytest.approx(total, rel=1e-9)


def test_rows_of_one_group_neither_pull_nor_push_each_other() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, generator=draw, dtype=torch.float64)
    group = torch.tensor([0, 0, 1, 2, 3])
    moved = b.clone()
    moved[1] = -b[1]  # row 1 changes what it costs itself and rows 2 to 4, but not row 0

    def cost_of_row_0(rows: torch.Tensor) -> torch.Tensor:
        first = a.clone().requires_grad_()
        return torch.autograd.grad(info_nce(first, rows, 0.1, group), first)[0][0]

    torch.testing.assert_close(cost_of_row_0(moved), cost_of_row_0(b))
    assert info_nce(a, b, 0.1, torch.zeros(5, dtype=torch.int64)) == 0


def test_without_a_step_it_is_cca() -> None:
    views = curved(60, 0)
    model = earsight.method("contrastive", epochs=0).fit(views)
    cca = earsight.method("cca").fit(views)
    assert model.n_components_ == cca.n_components_
    for name, x in views.items():
        np.testing.assert_allclose(model.transform(name, x), cca.transform(name, x), atol=1e-5)


def test_where_linear_maps_are_not_enough_it_finds_more_halves_than_cca() -> None:
    views, new = curved(600, 0), curved(200, 1)
    model = earsight.method("contrastive").fit(views)
    assert own_half(model, new) > 3 * own_half(earsight.method("cca").fit(views), new)


def test_where_nothing_is_shared_it_stays_with_cca() -> None:
    rng = np.random.default_rng(0)
    views = {name: rng.normal(size=(450, 12)) for name in ("audio", "visual")}
    model = earsight.method("contrastive", epochs=8, patience=4).fit(views)
    held_out = model.history_[:, 1]
    assert model.best_epoch_ == int(np.argmax(held_out))
    assert held_out[model.best_epoch_] >= held_out[0]


def test_labels_change_nothing_and_groups_do() -> None:
    views = curved(90, 0)

    def points(**given) -> np.ndarray:
        model = earsight.method("contrastive", epochs=3).fit(views, **given)
        return model.transform("audio", views["audio"])

    plain = points()
    assert np.array_equal(points(labels=np.arange(90) % 3), plain)
    assert not np.allclose(points(groups=np.arange(90) // 3), plain, atol=1e-4)


def test_temperature_must_be_above_zero() -> None:
    with pytest.raises(InputError, match="`temperature` must be a number above 0; got 0"):
        earsight.method("contrastive", temperature=0)


@pytest.mark.long
def test_halves_of_real_pictures_find_each_other_better_than_by_cca() -> None:
    from sklearn.datasets import load_digits

    pictures = load_digits().images  # (1797, 8, 8)
    views = {"top": pictures[:, :4].reshape(-1, 32), "bottom": pictures[:, 4:].reshape(-1, 32)}
    known, new = (
        {name: x[part] for name, x in views.items()} for part in (slice(1400), slice(1400, None))
    )
    model = earsight.method("contrastive").fit(known)
    assert own_half(model, new) > 1.3 * own_half(earsight.method("cca").fit(known), new)

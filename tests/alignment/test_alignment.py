"""Shifts, canonical correlations by lag, warping and soft warping: each against the slow way."""

import numpy as np
import pytest
import torch

from earsight import linalg
from earsight.alignment.lags import canonical, correlations
from earsight.alignment.soft import soft_dtw
from earsight.alignment.warping import path, warp
from earsight.errors import InputError


def meeting(n: int, m: int, lag: int, first: int) -> list[tuple[int, int]]:
    """Pairs (sound step, sight step) that meet at a lag, written down one by one."""
    return [(t + lag - first, t) for t in range(m) if 0 <= t + lag - first < n]


@pytest.mark.parametrize(("n", "m", "first"), [(60, 60, 0), (50, 70, 3), (70, 45, -8)])
def test_correlations_are_pearsons_over_what_overlaps(n: int, m: int, first: int) -> None:
    rng = np.random.default_rng(0)
    sound, sight = rng.normal(3, 2, (n, 2)), rng.normal(-1, 5, (m, 3))
    found = correlations(sound, sight, 20, first=first)
    most = max(len(meeting(n, m, lag, first)) for lag in range(-20, 21))
    for k, lag in enumerate(range(-20, 21)):
        pairs = meeting(n, m, lag, first)
        a, v = sound[[i for i, _ in pairs]], sight[[j for _, j in pairs]]
        for i in range(2):
            for j in range(3):
                expected = np.corrcoef(a[:, i], v[:, j])[0, 1] * np.sqrt(len(pairs) / most)
                assert found[k, i, j] == pytest.approx(expected, abs=1e-9)


def test_lags_without_overlap_and_sides_that_do_not_vary_correlate_with_nothing() -> None:
    rng = np.random.default_rng(0)
    assert not correlations(rng.normal(size=(5, 1)), rng.normal(size=(5, 1)), 9)[[0, -1]].any()
    assert not correlations(np.full((30, 1), 7.0), rng.normal(size=(30, 1)), 5).any()
    assert not canonical(np.full((30, 2), 7.0), rng.normal(size=(30, 2)), 5).any()


def test_canonical_correlations_by_lag_are_those_of_the_overlap() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(size=(80, 2))
    sound = common @ rng.normal(size=(2, 4)) + rng.normal(size=(80, 4))
    sight = np.roll(common, -6, axis=0) @ rng.normal(size=(2, 3)) + rng.normal(size=(80, 3))
    found = canonical(sound, sight, 10, shrinkage=0.3)
    assert found[:, 0].argmax() == 10 + 6
    for k, lag in enumerate(range(-10, 11)):
        pairs = meeting(80, 80, lag, 0)
        a, v = sound[[i for i, _ in pairs]], sight[[j for _, j in pairs]]
        full = np.cov(np.hstack([a, v]).T, bias=True)
        aa, vv, av = full[:4, :4], full[4:, 4:], full[:4, 4:]
        pair = linalg.cca(
            0.7 * aa + 0.3 * np.trace(aa) / 4 * np.eye(4),
            0.7 * vv + 0.3 * np.trace(vv) / 3 * np.eye(3),
            av,
        )
        weight = np.sqrt(len(pairs) / 80)
        assert found[k] == pytest.approx(pair.correlations * weight, abs=1e-8)


def slow_warp(cost: np.ndarray, inside: np.ndarray | None = None) -> float:
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for i in range(n):
        for j in range(m):
            if inside is None or inside[i, j]:
                ways = total[i, j], total[i, j + 1], total[i + 1, j]
                total[i + 1, j + 1] = cost[i, j] + min(ways)
    return float(total[n, m])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (6, 1), (5, 9), (9, 5), (7, 7)])
def test_warping_is_the_cheapest_path(n: int, m: int) -> None:
    costs = np.random.default_rng(2).random((4, n, m))
    assert warp(costs) == pytest.approx([slow_warp(cost) for cost in costs])
    for cost in costs:
        steps = path(cost)
        assert steps[0].tolist() == [0, 0] and steps[-1].tolist() == [n - 1, m - 1]
        moves = {tuple(move) for move in np.diff(steps, axis=0).tolist()}
        assert moves <= {(0, 1), (1, 0), (1, 1)}
        assert cost[steps[:, 0], steps[:, 1]].sum() == pytest.approx(slow_warp(cost))


def test_a_band_keeps_the_path_near_the_diagonal() -> None:
    costs = np.random.default_rng(3).random((3, 12, 18))
    i, j = np.arange(12)[:, None] / 11, np.arange(18)[None, :] / 17
    banded = [slow_warp(cost, np.abs(i - j) <= 0.15) for cost in costs]
    assert warp(costs, band=0.15) == pytest.approx(banded)
    assert (warp(costs, band=0.15) >= warp(costs)).all()
    steps = path(costs[0], band=0.15)
    assert (np.abs(steps[:, 0] / 11 - steps[:, 1] / 17) <= 0.15).all()
    with pytest.raises(InputError, match=r"`band` must be above 0.*got 0"):
        warp(costs, band=0)
    with pytest.raises(InputError, match=r"must be \(pairs, n, m\).*\(12, 18\)"):
        warp(costs[0])


def slow_soft(cost: torch.Tensor, gamma: float) -> torch.Tensor:
    n, m = cost.shape
    total: dict[tuple[int, int], torch.Tensor] = {}
    for i in range(n):
        for j in range(m):
            ways = [total[k] for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if k in total]
            soft = -gamma * torch.logsumexp(-torch.stack(ways) / gamma, 0) if ways else 0.0
            total[i, j] = cost[i, j] + soft
    return total[n - 1, m - 1]


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (4, 1), (5, 3), (6, 7)])
@pytest.mark.parametrize("gamma", [0.01, 1.0])
def test_soft_warping_and_its_gradient_are_those_of_the_slow_recursion(
    n: int, m: int, gamma: float
) -> None:
    made = np.random.default_rng(4).random((3, n, m))
    ours, slow = (torch.tensor(made, requires_grad=True) for _ in range(2))
    scale = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    (soft_dtw(ours, gamma) * scale).sum().backward()
    (torch.stack([slow_soft(cost, gamma) for cost in slow]) * scale).sum().backward()
    assert torch.allclose(soft_dtw(ours, gamma), torch.stack([slow_soft(c, gamma) for c in slow]))
    assert ours.grad is not None and slow.grad is not None
    assert torch.allclose(ours.grad, slow.grad, atol=1e-9)


def test_with_little_softness_it_is_warping() -> None:
    made = np.random.default_rng(5).random((2, 20, 15))
    assert soft_dtw(torch.tensor(made), 1e-4).numpy() == pytest.approx(warp(made), abs=1e-2)
    with pytest.raises(ValueError, match="`gamma` must be above 0; got 0"):
        soft_dtw(torch.tensor(made), 0.0)

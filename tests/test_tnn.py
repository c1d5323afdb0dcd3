"""The triplet losses against loops and pytorch-metric-learning, and the triplet network."""

import pytest
import torch

from earsight.methods._triplets import cross_triplet_loss, triplet_loss

MININGS = ["all", "hard", "semi-hard"]


def batch(
    n: int = 14, m: int = 11, classes: int = 3, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of two views in float64, and the class of each."""
    draw = torch.Generator().manual_seed(seed)
    a = torch.rand(n, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    b = torch.rand(m, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = (torch.randint(classes, (rows,), generator=draw) for rows in (n, m))
    return a, b, *labels


def loop(a, b, same, margin: float, mining: str) -> torch.Tensor:
    """One triplet after the other, as the definitions say."""
    costs = []
    for anchor, own in zip(a, same, strict=True):
        distance = (anchor - b).square().sum(1)
        positives, negatives = distance[own], distance[~own]
        if not len(positives) or not len(negatives):
            continue
        if mining == "hard":
            positives, negatives = positives.max()[None], negatives.min()[None]
        for p in positives:
            for n in negatives:
                if mining != "semi-hard" or p < n < p + margin:
                    costs.append(torch.relu(p - n + margin))
    return torch.stack(costs).mean() if costs else (a.sum() + b.sum()) * 0


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_are_those_of_a_loop(mining: str, margin: float, seed: int) -> None:
    a, b, own, other = batch(seed=seed)
    same = own[:, None] == other
    ours = triplet_loss(a, b, same, margin=margin, mining=mining)
    theirs = loop(a, b, same, margin, mining)
    torch.testing.assert_close(ours, theirs)
    for x, y in zip(*(torch.autograd.grad(loss, (a, b)) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(x, y, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_gradient_are_those_of_pytorch_metric_learning(mining: str, dtype) -> None:
    from pytorch_metric_learning import distances, losses, miners, reducers

    a, b, own, other = (x.detach() for x in batch(n=45, m=45, classes=10))
    a, b = (x.to(dtype).requires_grad_() for x in (a, b))
    squared = distances.LpDistance(power=2, normalize_embeddings=False)
    loss = losses.TripletMarginLoss(margin=0.5, distance=squared, reducer=reducers.MeanReducer())
    miner = {
        "all": None,
        "hard": miners.BatchHardMiner(distance=squared),
        "semi-hard": miners.TripletMarginMiner(0.5, "semihard", distance=squared),
    }[mining]
    mined = miner and miner(a, own, b, other)
    theirs = loss(a, own, mined, ref_emb=b, ref_labels=other)
    ours = triplet_loss(a, b, own[:, None] == other, margin=0.5, mining=mining)
    torch.testing.assert_close(ours, theirs)
    for x, y in zip(*(torch.autograd.grad(loss, (a, b)) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(x, y, atol=1e-7, rtol=1e-4)


def test_anchors_of_the_second_view_are_the_views_exchanged() -> None:
    a, b, own, other = batch()
    same = own[:, None] == other
    first, second, both = (
        cross_triplet_loss(a, b, same, margin=0.5, anchors=side)
        for side in ("first", "second", "both")
    )
    torch.testing.assert_close(first, loop(a, b, same, 0.5, "all"))
    torch.testing.assert_close(second, loop(b, a, same.T, 0.5, "all"))
    torch.testing.assert_close(both, (first + second) / 2)
    assert first != second


@pytest.mark.parametrize("mining", MININGS)
def test_where_there_is_no_triplet_the_loss_is_zero(mining: str) -> None:
    a, b, _, _ = batch()
    for same in (torch.ones(14, 11, dtype=torch.bool), torch.zeros(14, 11, dtype=torch.bool)):
        loss = triplet_loss(a, b, same, margin=0.5, mining=mining)
        assert loss == 0
        assert all(not grad.any() for grad in torch.autograd.grad(loss, (a, b)))


def test_no_step_holds_more_than_a_few_numbers_for_each_distance() -> None:
    from torch.profiler import ProfilerActivity, profile

    a, b, own, other = batch(n=1000, m=1000, classes=10)  # 90 million triplets
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as steps:
        triplet_loss(a, b, own[:, None] == other, margin=0.5).backward()
    largest = max(step.self_cpu_memory_usage for step in steps.events())
    assert 8 * 1000**2 <= largest <= 2 * 8 * 1000**2

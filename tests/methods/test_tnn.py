"""The triplet losses against loops and pytorch-metric-learning, and the triplet network."""

from pathlib import Path

import numpy as np
import pytest
import torch

import earsight
from earsight import datasets
from earsight.errors import InputError, LabelError
from earsight.methods import JointEmbedding
from earsight.methods._deep.triplets import cross_triplet_loss, triplet_loss

WIKIPEDIA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"
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


def test_what_is_neither_positive_nor_negative_takes_no_part() -> None:
    a, b, own, other = batch()
    same = own[:, None] == other
    kept = torch.arange(11) % 4 != 0
    for mining in MININGS:
        whole = triplet_loss(
            a, b, same & kept, margin=0.5, mining=mining, different=~same & kept.expand(14, 11)
        )
        part = triplet_loss(a, b[kept], same[:, kept], margin=0.5, mining=mining)
        torch.testing.assert_close(whole, part)
        grad, expected = (torch.autograd.grad(loss, b)[0] for loss in (whole, part))
        torch.testing.assert_close(grad, expected)


def clusters(
    n: int = 120, classes: int = 4, seed: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two views of classes that lie on crossed lines: no linear map tells them apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    maps = np.random.default_rng(99).normal(size=(2, classes, 6))
    sign = rng.choice([-1.0, 1.0], size=(2, n, 1))
    audio, visual = (
        sign[i] * 2 * maps[i][labels] + 0.3 * rng.normal(size=(n, 6)) for i in range(2)
    )
    return {"audio": audio, "visual": visual}, labels


def found(model: JointEmbedding, views: dict[str, np.ndarray], labels) -> float:
    """MAP, mean of both directions."""
    embedded = {name: model.transform(name, x) for name, x in views.items()}
    scores = earsight.evaluate(embedded, labels=labels)
    return float(np.mean([direction.map for direction in scores.values()]))


def test_published_defaults() -> None:
    model = earsight.method("tnn")
    assert (model.input, model.anchors, model.mining, model.margin) == (
        "cluster_cca", "first", "all", 0.5,
    )  # fmt: skip
    assert (model.hidden, model.activation, model.dropout) == ((100, 100, 100), "tanh", 0.1)
    assert (model.learning_rate, model.batch_size, model.epochs) == (1e-3, 45, 10)
    assert model.patience is None


def test_the_input_is_cluster_cca_at_its_own_rank_and_the_network_follows() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 15  # more classes than the ten that None means
    views = {
        name: rng.normal(size=(15, 20))[labels] + rng.normal(size=(150, 20))
        for name in ("audio", "visual")
    }
    model = earsight.method("tnn", epochs=1).fit(views, labels=labels)
    linear = earsight.method("cluster_cca", n_components=14, weighting="none")
    linear.fit(views, labels=labels)
    h = linear.transform("audio", views["audio"]).astype(np.float64)
    network = model.networks_["audio"]
    assert network["weights"][0].shape == (100, 14)
    h = (h - h.mean(axis=0)) / h.std(axis=0)
    *hidden, (weight, bias) = zip(network["weights"], network["biases"], strict=True)
    for each, own in hidden:
        h = np.tanh(h @ each.T + own)
    z = 1 / (1 + np.exp(-np.tanh(h @ weight.T + bias))) - 0.5
    np.testing.assert_allclose(model.transform("audio", views["audio"]), z, atol=1e-5)


@pytest.mark.parametrize("anchors", ["first", "second", "both"])
def test_raw_input_learns_what_no_linear_map_can(anchors: str) -> None:
    views, labels = clusters()
    new, own = clusters(seed=1)
    linear = earsight.method("cluster_cca").fit(views, labels=labels)
    model = earsight.method("tnn", input="raw", anchors=anchors, epochs=60)
    assert found(model.fit(views, labels=labels), new, own) > found(linear, new, own) + 0.15


@pytest.mark.parametrize("mining", ["hard", "semi-hard"])
def test_mined_triplets_learn_classes_that_are_apart(mining: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    views = {name: 5 * np.eye(3)[labels] + rng.normal(size=(90, 3)) for name in ("a", "b")}
    model = earsight.method("tnn", input="raw", mining=mining, epochs=20).fit(views, labels=labels)
    assert found(model, views, labels) > 0.9


def test_unpaired_rows_of_classes_as_unequal_as_they_come() -> None:
    views, labels = clusters(200)
    own = {"audio": labels, "visual": np.sort(labels)[:150]}  # the last class has no visual
    views["visual"] = views["visual"][np.argsort(labels, kind="stable")][:150]
    model = earsight.method("tnn", input="raw", epochs=60, learning_rate=1e-2)
    model.fit(views, labels=own)
    new, classes = clusters(seed=1)
    known = classes < 3
    assert found(model, {name: x[known] for name, x in new.items()}, classes[known]) > 0.6


def test_one_class_is_refused() -> None:
    views, labels = clusters()
    for name in ("tnn", "adversarial"):
        with pytest.raises(LabelError, match=f"{name} needs at least two classes; got \\[0\\]"):
            earsight.method(name).fit(views, labels=0 * labels)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("margin", 0), ("anchors", "third"), ("mining", "soft"), ("input", "cca"), ("dropout", 1)],
)
def test_wrong_hyperparameters_are_refused(parameter: str, value: object) -> None:
    with pytest.raises(InputError, match=parameter):
        earsight.method("tnn", **{parameter: value})


@pytest.mark.long
@pytest.mark.skipif(not WIKIPEDIA.exists(), reason="the Wikipedia set is not here")
def test_on_wikipedia_tnn_is_above_cluster_cca() -> None:
    """Cross-validated on the training rows, never on the test split."""
    data = datasets.wikipedia(WIKIPEDIA).part("train")
    scores: dict[str, list[float]] = {"tnn": [], "cluster_cca": []}
    for train, test in datasets.folds(data.labels, None, 5):
        known, new = data.take(train), data.take(test)
        for name, own in scores.items():
            model = earsight.method(name).fit(known.views, labels=known.labels)
            own.append(found(model, dict(new.views), new.labels))
    assert np.mean(scores["tnn"]) > np.mean(scores["cluster_cca"])

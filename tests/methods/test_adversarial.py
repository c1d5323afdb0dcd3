"""The adversarial learner: who learns from what, and in which direction."""

import math

import numpy as np
import pytest
import torch

import earsight
from earsight.methods import JointEmbedding, Rows
from earsight.methods._deep.types import Batch
from earsight.methods.adversarial import Game, reverse

LABELS = np.arange(40) % 4


@pytest.fixture
def game() -> Game:
    """Networks as they are before training, without dropout."""
    rows = Rows(views={"audio": np.ones((1, 5)), "visual": np.ones((1, 4))})
    game = Game(earsight.method("adversarial", n_components=3), rows)
    game.module.eval()
    return game


def batch(n: int = 40, m: int = 40, progress: float = 0.5) -> Batch:
    draw = torch.Generator().manual_seed(0)
    labels = {"audio": torch.from_numpy(LABELS)[:n], "visual": torch.from_numpy(LABELS)[:m]}
    centres = torch.randn(4, 5, generator=draw)
    views = {
        "audio": centres[labels["audio"]] + torch.randn(n, 5, generator=draw),
        "visual": centres[labels["visual"], :4] + torch.randn(m, 4, generator=draw),
    }
    return Batch(views=views, labels=labels, paired=n == m, progress=progress, generator=draw)


def gradients(loss: torch.Tensor, networks: dict[str, torch.nn.Module]) -> list[torch.Tensor]:
    parameters = [p for network in networks.values() for p in network.parameters()]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(p) if grad is None else grad
        for p, grad in zip(parameters, found, strict=True)
    ]


def told(game: Game, given: Batch, weight: float | None) -> torch.Tensor:
    """The discriminators' loss, reversed for the others where a weight is given."""
    made = game.generate(game.embed(given.views))
    made = made if weight is None else reverse(made, weight)
    return game.telling_apart(given.views, made, given.labels)


def test_reversal_keeps_values_and_turns_gradients() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    y = reverse({"audio": x}, 0.3)["audio"]
    torch.testing.assert_close(y, x)
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    torch.testing.assert_close(grad, -0.3 * 2 * x)


def test_the_adversarial_gradient_reaches_generators_and_encoders_turned_around(game) -> None:
    given = batch()
    plain, reversed_ = told(game, given, None), told(game, given, 0.7)
    torch.testing.assert_close(plain, reversed_)
    for networks in (game.generators, game.encoders):
        for name, network in networks.items():
            before, after = (gradients(x, {name: network}) for x in (plain, reversed_))
            assert sum(grad.abs().sum() for grad in after) > 1e-3
            for a, b in zip(before, after, strict=True):
                torch.testing.assert_close(b, -0.7 * a, atol=1e-6, rtol=1e-4)
    for a, b in zip(
        gradients(plain, game.discriminators),
        gradients(reversed_, game.discriminators),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("part", "sign"), [("discriminators", -1), ("generators", 1), ("encoders", 1)]
)
def test_a_step_helps_the_discriminators_and_the_others_against_them(game, part, sign) -> None:
    given = batch()
    networks = getattr(game, part)
    loss = told(game, given, 1.0)
    steps = gradients(loss, networks)
    with torch.no_grad():
        parameters = [p for network in networks.values() for p in network.parameters()]
        for p, step in zip(parameters, steps, strict=True):
            p -= 0.05 * step
    assert sign * (told(game, given, None) - loss) > 1e-5


def test_the_adversary_comes_in_by_its_schedule(game) -> None:
    given = batch()
    points = game.embed(given.views)
    embedding = game.embedding(points, game.embed(game.generate(points)), given.labels)
    plain = told(game, given, None)
    for progress in (0.0, 0.1, 0.9):
        weight = 2 / (1 + math.exp(-10 * progress)) - 1
        whole = game.loss(batch(progress=progress))
        for networks in (game.encoders, game.generators):
            of_all, of_embedding, of_plain = (
                gradients(loss, networks) for loss in (whole, embedding, plain)
            )
            for a, b, c in zip(of_all, of_embedding, of_plain, strict=True):
                torch.testing.assert_close(a, b - weight * c, atol=1e-5, rtol=1e-3)


def test_the_embedding_learns_from_what_was_generated(game) -> None:
    given = batch()
    points = game.embed(given.views)
    loss = game.embedding(points, game.embed(game.generate(points)), given.labels)
    assert all(grad.abs().sum() > 0 for grad in gradients(loss, game.generators))
    assert not any(grad.any() for grad in gradients(loss, game.discriminators))


def test_the_discriminators_loss_is_that_of_a_loop(game) -> None:
    given = batch(n=12, m=9)
    made = game.generate(game.embed(given.views))
    total = 0.0
    for name, source in (("audio", "visual"), ("visual", "audio")):
        own, theirs = given.labels[name], given.labels[source]
        real, false = (
            torch.nn.functional.normalize(game.discriminators[name](x))
            for x in (given.views[name], made[name])
        )
        costs = []
        for a, anchor in enumerate(real):
            negatives = torch.cat([real[own != own[a]], false[theirs == own[a]]])
            for p in np.flatnonzero(own == own[a]):
                if p == a:
                    continue
                to_positive = (anchor - real[p]).square().sum()
                for negative in negatives:
                    gap = to_positive - (anchor - negative).square().sum()
                    costs.append(torch.relu(gap + game.model.margin))
        total = total + torch.stack(costs).mean() / 2
    torch.testing.assert_close(told(game, given, None), total)


def views(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(2, 4, 6))
    return {
        name: 1.5 * each[LABELS] + rng.normal(size=(40, 6))
        for name, each in zip(("audio", "visual"), centres, strict=True)
    }


def found(model: JointEmbedding, rows: dict[str, np.ndarray]) -> float:
    embedded = {name: model.transform(name, x) for name, x in rows.items()}
    return float(np.mean([d.map for d in earsight.evaluate(embedded, labels=LABELS).values()]))


def test_strength_changes_what_is_learned_and_small_data_do_not_break_it() -> None:
    with_, without = (
        earsight.method("adversarial", strength=strength).fit(views(0), labels=LABELS)
        for strength in (1.0, 0.0)
    )
    x = views(1)["audio"]
    assert not np.allclose(with_.transform("audio", x), without.transform("audio", x))
    assert found(with_, views(1)) > 0.6
    assert np.isfinite(with_.history_[1:, 0]).all()


def test_unpaired_rows_are_drawn_class_by_class() -> None:
    rows = views(0)
    rows["visual"] = rows["visual"][:26]
    model = earsight.method("adversarial")
    model.fit(rows, labels={"audio": LABELS, "visual": LABELS[:26]})
    assert found(model, views(1)) > 0.6

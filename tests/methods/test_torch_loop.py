"""The one training loop: repeatable, resumable, stopped by held-out rows, honest about trouble."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from earsight.errors import InputError, ModelFileError, TrainingError
from earsight.methods import Rows
from earsight.methods._deep import checkpoint, sampling, trainer
from earsight.methods._deep.base import DeepEmbedding, run_network, standardisation
from earsight.methods._deep.network import Dropout, Network, outputs
from earsight.methods._deep.types import Batch, Epoch, Score

RNG = np.random.default_rng(0)
N = 480
LABELS = np.arange(N) % 4
VIEWS = {
    "audio": RNG.normal(size=(N, 5)) + LABELS[:, None],
    "visual": RNG.normal(size=(N, 6)) - LABELS[:, None],
}


@dataclasses.dataclass(kw_only=True)
class Toy(DeepEmbedding):
    """Two small networks with dropout, drawn together pair by pair."""

    name: ClassVar[str] = "toy"
    needs_pairs: ClassVar[bool] = False

    epochs: int = 4
    batch_size: int = 60
    score: ClassVar[Score] = staticmethod(trainer.held_out_map)

    def _fit(self, rows: Rows) -> None:
        standard = {name: standardisation(x) for name, x in rows.views.items()}
        views = {
            name: (x - standard[name][0]) * standard[name][1] for name, x in rows.views.items()
        }
        self.problem = Pull(self, dataclasses.replace(rows, views=views))
        trainer.train(self, self.problem.rows, self.problem, score=type(self).score)
        self.networks_ = {
            name: network.arrays(*standard[name]) for name, network in self.problem.networks.items()
        }
        self.n_components_ = 3

    def _project(self, modality: str, x: np.ndarray) -> np.ndarray:
        return run_network(self.networks_[modality], x)


class Pull:
    def __init__(self, model: Toy, rows: Rows) -> None:
        self.rows = rows
        rng = np.random.default_rng(model.seed)
        self.networks = {
            name: Network((x.shape[1], 8, 3), dropout=0.3, rng=rng)
            for name, x in rows.views.items()
        }
        self.module = torch.nn.ModuleList(self.networks.values())
        self.seen: list[Batch] = []
        self.held: Rows | None = None

    def loss(self, batch: Batch) -> torch.Tensor:
        self.seen.append(batch)
        x, y = (self.networks[name](rows) for name, rows in batch.views.items())
        return ((x - y) ** 2).mean() - 0.1 * x.var()

    def points(self, kept: Rows, held: Rows) -> dict[str, np.ndarray]:
        self.held = held
        return {name: outputs(self.networks[name], x) for name, x in held.views.items()}


def points(model: DeepEmbedding) -> np.ndarray:
    return np.vstack([model.transform(name, x) for name, x in VIEWS.items()])


def test_torch_is_left_as_it_was_and_does_not_matter() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = points(Toy(seed=2).fit(VIEWS, LABELS))
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == threads
    torch.manual_seed(77)
    assert np.array_equal(first, points(Toy(seed=2).fit(VIEWS, LABELS)))
    assert not np.array_equal(first, points(Toy(seed=3).fit(VIEWS, LABELS)))


def test_each_epoch_is_told() -> None:
    told: list[Epoch] = []
    model = Toy()
    model.on_epoch = told.append
    model.fit(VIEWS, LABELS)
    assert [each.number for each in told] == [0, 1, 2, 3, 4] and {each.of for each in told} == {4}
    assert np.isnan(told[0].loss) and told[4].loss < told[1].loss
    assert all(0 < each.map == each.score <= 1 for each in told)
    history = [[each.loss, each.map, each.score] for each in told]
    np.testing.assert_array_equal(model.history_, history)
    assert "on_epoch" not in model.get_params()


def test_the_best_epoch_by_held_out_score_is_kept(monkeypatch) -> None:
    scores = iter([0.2, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr(Toy, "score", staticmethod(lambda points, rows: next(scores)))
    model, states = Toy(epochs=50, patience=3), []
    model.on_epoch = lambda _: states.append(weight(model))
    model.fit(VIEWS, LABELS)
    assert model.best_epoch_ == 1 and len(states) == 5
    assert torch.equal(weight(model), states[1]) and not torch.equal(states[1], states[4])
    assert model.history_[:, 2].tolist() == [0.2, 0.5, 0.4, 0.3, 0.2]
    assert model.stopped_ == (
        "after 4 of 50 epochs, 3 without a better held-out score; kept epoch 1"
    )


def weight(model: Toy) -> torch.Tensor:
    return model.problem.networks["audio"].layers[0].weight.detach().clone()


def test_rows_are_held_out_by_whole_groups_and_never_trained_on() -> None:
    groups = np.arange(2 * N) // 2
    twice = {name: np.repeat(x, 2, axis=0) for name, x in VIEWS.items()}
    model = Toy(epochs=1)
    model.fit(twice, np.repeat(LABELS, 2), groups)
    held, problem = model.problem.held, model.problem
    assert held is not None and held.groups is not None and held.labels is not None
    assert set(np.unique(held.groups["audio"], return_counts=True)[1]) == {2}
    assert len(held.groups["audio"]) == 2 * N // 8
    assert set(np.bincount(held.labels["audio"])) == {2 * N // 32}
    trained = np.vstack([batch.views["audio"].numpy() for batch in problem.seen])
    assert len(trained) == 2 * N - len(held.groups["audio"])
    both = np.vstack([trained, held.views["audio"].astype(np.float32)])
    assert len(np.unique(both, axis=0)) == N


def test_few_rows_train_to_the_end_and_say_so() -> None:
    small = {name: x[:30] for name, x in VIEWS.items()}
    model = Toy(epochs=2).fit(small, LABELS[:30])
    assert model.stopped_ == (
        "after all 2 epochs; never early: fewer than 400 independent rows, so none held out"
    )
    assert model.best_epoch_ == 2 and np.isnan(model.history_[:, 1]).all()
    assert Toy(epochs=1, patience=None).fit(VIEWS).stopped_.endswith("`patience` is None")
    groups = np.arange(N) // 4  # 120 clips
    assert "none held out" in Toy(epochs=1).fit(VIEWS, LABELS, groups).stopped_


def test_without_labels_the_map_is_that_of_thepair_term() -> None:
    z = np.eye(3)
    rows = Rows(views={"audio": z, "visual": z})
    assert trainer.held_out_map({"audio": z, "visual": z}, rows) == 1.0
    assert trainer.held_out_map({"audio": z, "visual": z[::-1]}, rows) < 0.7


class KilledError(Exception):
    pass


def killed_at(epoch: int):
    def kill(each: Epoch) -> None:
        if each.number == epoch:
            raise KilledError

    return kill


def test_a_killed_training_goes_on_and_ends_in_the_same_model(tmp_path: Path) -> None:
    whole = Toy(epochs=6).fit(VIEWS, LABELS)
    model = Toy(epochs=6, checkpoint=str(tmp_path / "deep" / "er"))
    for epoch in (3, 4):
        model.on_epoch = killed_at(epoch)
        with pytest.raises(KilledError):
            model.fit(VIEWS, LABELS)
    told: list[int] = []
    model.on_epoch = lambda each: told.append(each.number)
    model.fit(VIEWS, LABELS)
    assert told == [4, 5, 6]
    assert np.array_equal(points(model), points(whole))
    np.testing.assert_array_equal(model.history_, whole.history_)
    told.clear()
    assert np.array_equal(points(model.fit(VIEWS, LABELS)), points(whole)) and told == []


def test_a_kill_while_writing_leaves_the_epoch_before(tmp_path: Path, monkeypatch) -> None:
    model = Toy(epochs=3, checkpoint=str(tmp_path))
    write, count = checkpoint.write_file, iter(range(10))

    def dies(path: Path, data: bytes) -> None:
        if next(count) == 1:
            (tmp_path / ".tmp-half").write_bytes(data[: len(data) // 2])
            raise KilledError
        write(path, data)

    monkeypatch.setattr(checkpoint, "write_file", dies)
    with pytest.raises(KilledError):
        model.fit(VIEWS, LABELS)
    assert np.array_equal(
        points(model.fit(VIEWS, LABELS)), points(Toy(epochs=3).fit(VIEWS, LABELS))
    )


def test_other_data_and_other_fields_are_other_trainings(tmp_path: Path) -> None:
    def files(**fields: object) -> set[Path]:
        Toy(**{"epochs": 1, "checkpoint": str(tmp_path)} | fields).fit(VIEWS, LABELS)  # type: ignore[arg-type]
        return set(tmp_path.iterdir())

    assert len(files()) == 1 and len(files(device="cpu")) == 1  # where it runs is no part of it
    assert len(files(seed=1)) == 2 and len(files(learning_rate=0.1)) == 3
    Toy(epochs=1, checkpoint=str(tmp_path)).fit({**VIEWS, "audio": VIEWS["audio"] + 1}, LABELS)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    model = Toy(epochs=1, checkpoint=str(tmp_path))
    model.fit(VIEWS, LABELS)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelFileError, match=r"is damaged.*Remove it to train from the start"):
        model.fit(VIEWS, LABELS)
    with pytest.raises(InputError, match="`checkpoint` must be a folder that can be written"):
        Toy(checkpoint=str(path)).fit(VIEWS, LABELS)


def test_a_loss_that_is_not_finite_names_the_knobs() -> None:
    model = Toy(learning_rate=1e38)
    with pytest.raises(TrainingError, match=r"toy must train on finite numbers; the loss is") as e:
        model.fit(VIEWS, LABELS)
    assert "`learning_rate` (now 1e+38)" in str(e.value)
    assert "`batch_size` (now 60)" in str(e.value)
    assert not hasattr(model, "history_")


def test_cuda_is_refused_where_there_is_none(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match='`device` is "cuda", but torch finds no CUDA'):
        Toy(device="cuda").fit(VIEWS)
    assert trainer.pick_device("auto") == "cpu"
    with pytest.raises(InputError, match="`device` must be one of 'auto', 'cpu', 'cuda'"):
        Toy(device="tpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("output", ["none", "tanh-sigmoid"])
def test_a_network_as_arrays_is_the_network(activation: str, output: str) -> None:
    rng = np.random.default_rng(1)
    network = Network((5, 7, 4, 3), activation=activation, output=output, skip=True, rng=rng).eval()
    torch.nn.init.ones_(network.skip)
    x = VIEWS["audio"]
    shift, scale = standardisation(x)
    theirs = outputs(network, (x - shift) * scale)
    arrays = network.arrays(shift, scale)
    np.testing.assert_allclose(run_network(arrays, x), theirs, rtol=1e-4, atol=1e-5)
    alone = np.vstack([run_network(arrays, row[None]) for row in x])
    together = run_network(arrays, x)
    assert (alone.astype(np.float32) == together.astype(np.float32)).mean() > 0.999
    np.testing.assert_allclose(alone, together, rtol=1e-12, atol=1e-12)


def test_dropout_keeps_the_mean_and_rests_when_not_training() -> None:
    layer = Dropout(0.4)
    layer.generator = torch.Generator().manual_seed(0)
    x = torch.ones(200, 200)
    dropped = layer(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert layer.eval()(x) is x


def test_columns_that_do_not_vary_are_multiplied_by_nothing() -> None:
    x = np.c_[np.full(9, 0.1), np.arange(9.0)].astype(np.float32)
    mean, scale = standardisation(x)
    assert scale[0] == 0 and ((x - mean) * scale)[:, 1].std() == pytest.approx(1)
    with pytest.raises(InputError, match="small enough to be squared"):
        standardisation(np.array([[1e300], [-1e300]]))


def test_shuffled_batches_hold_every_row_once() -> None:
    drawn = sampling.shuffled({"audio": np.ones((103, 1))}, 25, np.random.default_rng(0))
    parts = [batch["audio"] for batch in drawn]
    assert sorted(np.concatenate(parts)) == list(range(103))
    assert {len(part) for part in parts} == {25, 26}


def test_balanced_batches_draw_each_class_from_each_modality() -> None:
    labels = {"audio": np.repeat([0, 1, 2], [50, 9, 1]), "visual": np.repeat([0, 1, 2], [5, 5, 5])}
    rng = np.random.default_rng(0)
    drawn = sampling.balanced(labels, 12, rng, paired=False)
    assert len(drawn) == 5
    for batch in drawn:
        for name, rows in batch.items():
            assert np.bincount(labels[name][rows]).tolist() == [4, 4, 4]
    seen = np.concatenate([batch["audio"] for batch in drawn])
    assert len(set(seen[seen < 50])) == 20 and set(seen[seen >= 50]) == set(range(50, 60))
    one = {"audio": labels["audio"], "visual": labels["audio"]}
    for batch in sampling.balanced(one, 12, rng, paired=True):
        assert np.array_equal(batch["audio"], batch["visual"])


def test_many_classes_take_turns() -> None:
    labels = {"audio": np.repeat(np.arange(40), 3), "visual": np.repeat(np.arange(40), 3)}
    drawn = sampling.balanced(labels, 10, np.random.default_rng(0), paired=True)
    assert len(drawn) == 12 and all(len(batch["audio"]) == 10 for batch in drawn)
    first_turn = np.concatenate([labels["audio"][batch["audio"]] for batch in drawn[:8]])
    assert np.bincount(first_turn).tolist() == [2] * 40


def test_unpaired_rows_are_held_out_of_each_modality_and_by_common_groups() -> None:
    rng = np.random.default_rng(0)
    counts = {"audio": 500, "visual": 900}
    labels = {name: rng.integers(0, 3, n) for name, n in counts.items()}
    views = {name: rng.normal(size=(n, 2)) for name, n in counts.items()}
    rows = Rows(views=views, labels=labels, paired=False)
    kept, held = sampling.hold_out(rows, 0)
    assert held is not None
    for name, n in counts.items():
        assert sorted([*kept[name], *held[name]]) == list(range(n))
        assert abs(len(held[name]) - n / 8) < 4
    groups = {name: np.arange(n) // 1 for name, n in counts.items()}  # clip i in both modalities
    _, held = sampling.hold_out(dataclasses.replace(rows, groups=groups), 0)
    assert held is not None
    assert set(held["audio"]) == {row for row in held["visual"] if row < 500}


def test_no_class_is_held_out_to_its_last_row() -> None:
    labels = np.arange(N) // 2 * 0
    labels[:50] = np.arange(50) + 1  # fifty classes of one row
    rows = Rows(views=VIEWS, labels=dict.fromkeys(VIEWS, labels))
    kept, held = sampling.hold_out(rows, 0)
    assert held is not None and set(labels[kept["audio"]]) == set(labels)

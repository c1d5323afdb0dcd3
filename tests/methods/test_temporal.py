"""Sequences: what reads them, what must not change what is read, and what order is worth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import earsight
from earsight.errors import InputError, TrainingError
from earsight.experiments.compare import Options, compare
from earsight.experiments.protocol import Protocol
from earsight.features import FeatureSequence, PairedFeatures, StepTable, write_features
from earsight.features.files import read_features
from earsight.methods import Rows
from earsight.methods._deep import base, encoders
from earsight.methods._deep.encoders import Encoder, Padded, Poolers, Steps, encode

KINDS = ("attention", "gru", "transformer")
DEEP = ("tnn", "dcca", "c_dcca", "s_dcca", "adversarial", "contrastive")
LABELS = np.arange(60) % 3


def table(n: int = 60, dim: int = 5, rate: float = 4.0, seed: int = 0) -> StepTable:
    """Clips of 2 to 20 steps, a bump of the clip's class in them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 21, n)
    lengths[:2] = 2, 20
    times = np.concatenate([np.sort(rng.uniform(0, k / rate, k)) for k in lengths])
    values = rng.normal(size=(len(times), dim)) + np.repeat(np.arange(n) % 3, lengths)[:, None]
    return StepTable.joined(values.astype(np.float32), np.cumsum([0, *lengths]), times)


def sequences() -> dict[str, StepTable]:
    return {"audio": table(), "visual": table(dim=4, rate=1.5, seed=1)}


def encoder(kind: str, dim: int = 5) -> Encoder:
    """An encoder as it stands before training."""
    made = Encoder(kind, np.zeros(dim), np.ones(dim), np.random.default_rng(3))
    return made.double().eval()


def rises(n: int, seed: int = 0) -> tuple[dict[str, StepTable], np.ndarray]:
    """a then b, or b then a, some time within ten seconds: the mean tells neither."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    first, gap = rng.uniform(0.5, 5, n), rng.uniform(1.5, 4, n)
    made = {}
    for name, rate in (("audio", 4.0), ("visual", 2.5)):
        clips = []
        for label, a, b in zip(labels, first, first + gap, strict=True):
            times = (np.arange(int(10 * rate)) + rng.uniform()) / rate
            bumps = 3 * np.exp(-(((times[:, None] - [a, b]) / 0.6) ** 2))  # (steps, 2)
            noise = 0.3 * rng.normal(size=(len(times), 3))
            order = bumps[:, ::-1] if label else bumps
            clips.append(FeatureSequence(np.pad(order, ((0, 0), (0, 1))) + noise, times))
        made[name] = StepTable.of(clips)
    return made, labels


@pytest.mark.parametrize("method", [*DEEP, "cca", "cluster_cca", "semantic"])
def test_sequences_count_as_their_means_to_the_last_bit(method: str) -> None:
    steps = sequences()
    means = {name: each.means() for name, each in steps.items()}
    fast = {"epochs": 2} if method in DEEP else {}
    one, other = (earsight.method(method, **fast).fit(x, LABELS) for x in (steps, means))
    for name, each in steps.items():
        expected = other.transform(name, means[name])
        assert np.array_equal(one.transform(name, each), expected)
        assert np.array_equal(one.transform(name, means[name]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_padding_nor_other_clips_change_what_is_read(kind: str) -> None:
    clips, made = table(), encoder(kind)
    steps = Steps(clips, "cpu")
    together = made(steps[np.arange(60)]).detach().numpy()
    for clip in (0, 1, 17):
        alone = made(steps[np.array([clip])]).detach().numpy()
        np.testing.assert_allclose(alone[0], together[clip], atol=1e-12)
    whole = steps[np.arange(60)]
    longer = Padded(
        torch.nn.functional.pad(whole.values, (0, 0, 0, 9), value=1e6),
        torch.nn.functional.pad(whole.times, (0, 9), value=-50.0),
        whole.lengths,
    )
    np.testing.assert_allclose(made(longer).detach().numpy(), together, atol=1e-12)
    np.testing.assert_allclose(encode(made, clips), together, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_in_training_padding_gets_no_gradient(kind: str) -> None:
    made = encoder(kind).float()
    batch = Steps(table(), "cpu")[np.arange(8)]
    values = batch.values.clone().requires_grad_()
    made(replace(batch, values=values)).square().sum().backward()
    assert values.grad is not None
    assert torch.all(values.grad[~batch.mask] == 0)
    assert torch.all(values.grad[batch.mask].abs().sum(-1) > 0)


def test_attention_is_the_sum_that_it_says() -> None:
    made = encoder("attention")
    sequence = table()[1]
    x, t = torch.from_numpy(sequence.values).double(), torch.from_numpy(sequence.times)
    waves = 0.5 * 2.0 ** torch.arange(9, dtype=torch.float64)
    angles = 2 * np.pi * t[:, None] / waves
    told = torch.cat([angles.sin(), angles.cos(), torch.zeros(len(t), 1)], 1)
    reader = made.reader
    h = torch.relu(reader.within(torch.relu(made.content(x) + made.time(told))))
    weights = [torch.softmax(reader.queries(h)[:, head], 0) for head in range(4)]
    values = reader.values(h)
    slow = torch.cat([w @ values[:, 8 * i : 8 * i + 8] for i, w in enumerate(weights)])
    fast = made(Steps(StepTable.of([sequence]), "cpu")[np.array([0])])[0]
    torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("kind", KINDS)
def test_time_is_read_in_seconds_and_order_is_told_apart(kind: str) -> None:
    made = encoder(kind)
    clip = table()[1]
    stretched = FeatureSequence(clip.values, clip.times * 1.5)
    turned = FeatureSequence(clip.values[::-1].copy(), clip.times)
    found = encode(made, StepTable.of([clip, stretched, turned]))
    assert np.abs(found[1] - found[0]).max() > 1e-3
    assert np.abs(found[2] - found[0]).max() > 1e-3
    if kind == "attention":  # a step that is there twice is the step, at whatever rate
        twice = FeatureSequence(np.repeat(clip.values, 2, 0), np.repeat(clip.times, 2))
        np.testing.assert_allclose(encode(made, StepTable.of([twice]))[0], found[0], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_start_with_a_quarter_of_the_variance_of_the_means(kind: str) -> None:
    steps = sequences()
    rows = Rows(views={name: each.means() for name, each in steps.items()}, steps=steps)
    poolers = Poolers(kind, rows, np.random.default_rng(0)).eval()
    for name, found in poolers.rows(rows).items():
        assert np.array_equal(found[:, : steps[name].dim], rows.views[name])
        read = found[:, steps[name].dim :]
        np.testing.assert_allclose(read.mean(0), 0, atol=1e-5)
        size = np.sqrt(steps[name].dim / (4 * read.shape[1]))
        np.testing.assert_allclose(read.std(0), size, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *(("tnn", kind) for kind in KINDS),
        ("dcca", "gru"),
        ("adversarial", "attention"),
        ("contrastive", "transformer"),
    ],
)
def test_a_model_is_the_same_for_a_seed_and_after_saving(
    method: str, kind: str, tmp_path: Path
) -> None:
    steps = sequences()
    state = torch.get_rng_state()
    one, same, other = (
        earsight.method(method, pooling=kind, epochs=2, seed=seed).fit(steps, LABELS)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)  # torch's own state is left alone
    one.save(tmp_path / "model")
    loaded = earsight.load_model(tmp_path / "model")
    for name, each in steps.items():
        points = one.transform(name, each)
        assert np.array_equal(points, same.transform(name, each))
        assert np.array_equal(points, loaded.transform(name, each))
        alone = np.concatenate([one.transform(name, each.take(np.array([i]))) for i in range(60)])
        np.testing.assert_allclose(alone, points, atol=1e-6)
        assert not np.array_equal(points, other.transform(name, each))


@pytest.mark.parametrize("kind", ["mean", *KINDS])
def test_where_order_decides_only_what_reads_it_can_tell(kind: str) -> None:
    steps, labels = rises(240)
    train, test = np.arange(160), np.arange(160, 240)
    model = earsight.method("tnn", pooling=kind, epochs=30)
    model.fit({name: each.take(train) for name, each in steps.items()}, labels[train])
    points = {name: model.transform(name, each.take(test)) for name, each in steps.items()}
    scores = earsight.evaluate(points, labels[test])
    found = np.mean([one.map for one in scores.values()])
    assert found < 0.6 if kind == "mean" else found > 0.75


def test_dcca_and_contrastive_start_as_cca_whatever_reads() -> None:
    """Epoch 0 is linear CCA of the means: what is read has no weight yet."""
    steps = sequences()
    for method in ("dcca", "contrastive"):
        mean, read = (
            earsight.method(method, epochs=0, pooling=kind).fit(steps, LABELS)
            for kind in ("mean", "gru")
        )
        for name, each in steps.items():
            np.testing.assert_allclose(
                read.transform(name, each), mean.transform(name, each), atol=1e-5
            )


def test_rows_and_sequences_may_stand_side_by_side() -> None:
    steps = sequences()
    views = {"audio": steps["audio"], "text": steps["visual"].means()}
    model = earsight.method("tnn", pooling="attention", epochs=2).fit(views, LABELS)
    assert list(model.encoders_) == ["audio"]
    assert model.transform("text", views["text"]).shape == (60, 10)


def test_steps_are_read_in_batches_where_they_are_too_many_to_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = sequences()
    views = {name: each.means() for name, each in steps.items()}
    path = tmp_path / "clips.h5"
    write_features(path, PairedFeatures(views, LABELS, steps=steps))
    kept = read_features(path).steps
    monkeypatch.setattr(encoders, "_TOGETHER", 100)
    model = earsight.method("tnn", pooling="gru", epochs=2, batch_size=8).fit(kept, LABELS)
    most = 0
    rows = type(kept["audio"].rows)
    inner = rows.__call__

    def watched(self: object, start: int, stop: int) -> np.ndarray:
        nonlocal most
        most = max(most, stop - start)
        return np.asarray(inner(self, start, stop))

    monkeypatch.setattr(rows, "__call__", watched)
    monkeypatch.setattr(encoders, "HELD", 0)
    read = earsight.method("tnn", pooling="gru", epochs=2, batch_size=8).fit(kept, LABELS)
    total = len(steps["audio"].times)
    assert 0 < most < total / 2, "all steps were read at once"
    for name, each in kept.items():
        assert np.array_equal(read.transform(name, each), model.transform(name, steps[name]))


def test_a_killed_training_goes_on_and_other_steps_are_another_training(tmp_path: Path) -> None:
    steps = sequences()

    def fitted(views: dict[str, StepTable], epochs_before_death: int = 99) -> np.ndarray:
        model = earsight.method(
            "s_dcca", pooling="attention", epochs=4, checkpoint=str(tmp_path / "state")
        )

        def die(epoch: base.Epoch) -> None:
            if epoch.number > epochs_before_death:
                raise KeyboardInterrupt

        model.on_epoch = die
        try:
            model.fit(views, LABELS)
        except KeyboardInterrupt:
            return np.empty(0)
        return np.asarray(model.transform("audio", views["audio"]))

    fitted(steps, epochs_before_death=2)
    resumed = fitted(steps)
    (tmp_path / "state").rename(tmp_path / "old")
    assert np.array_equal(resumed, fitted(steps))
    late = {name: replace(each, times=each.times + 1.0) for name, each in steps.items()}
    fitted(late)
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_what_cannot_be_read_is_refused() -> None:
    steps = sequences()
    means = {name: each.means() for name, each in steps.items()}
    with pytest.raises(InputError, match="pooling='gru' needs sequences, views given as a StepT"):
        earsight.method("tnn", pooling="gru").fit(means, LABELS)
    with pytest.raises(InputError, match="`pooling` of tnn must be 'mean', 'attention', 'gru'"):
        earsight.method("tnn", pooling="max")
    model = earsight.method("tnn", pooling="gru", epochs=1).fit(steps, LABELS)
    with pytest.raises(InputError, match=r"`x` must be sequences.*'audio' was in `fit`.*Got rows"):
        model.transform("audio", means["audio"])
    with pytest.raises(InputError, match="`x` must have 5 features, as in `fit`; got 4"):
        model.transform("audio", steps["visual"])
    back = replace(steps["audio"], times=-np.arange(len(steps["audio"].times), dtype=float))
    with pytest.raises(InputError, match=r"times of `views\['audio'\]` must be.*those of clip 0"):
        model.fit({**steps, "audio": back}, LABELS)
    empty = replace(
        steps["audio"], bounds=np.where(np.arange(60)[:, None] == 3, 0, steps["audio"].bounds)
    )
    with pytest.raises(InputError, match="must have a step for each clip; clip 3 has none"):
        model.fit({**steps, "audio": empty}, LABELS)
    values = np.where(np.arange(40)[:, None] == 7, np.nan, np.ones((40, 5)))
    broken = StepTable.joined(values, [0, 20, 40], np.tile(np.arange(20.0), 2))
    with pytest.raises(InputError, match="`x` must be finite; 1 of 2 rows"):
        model.transform("audio", broken)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_off_in_silence(kind: str) -> None:
    most = base.MOST_STEPS[kind]
    long = StepTable.joined(
        np.zeros((most + 2, 5), np.float32), [0, 1, most + 2], np.arange(most + 2) / 50
    )
    model = earsight.method("tnn", pooling=kind, epochs=0).fit(sequences(), LABELS)
    with pytest.raises(InputError, match=rf"at most {most:,} steps a clip; clip 1 of `x` has"):
        model.transform("audio", long)


@pytest.mark.parametrize("method", ["tnn", "adversarial", "contrastive", "s_dcca"])
@pytest.mark.parametrize("rate", [10.0, 1e5])
def test_training_that_explodes_in_finite_numbers_is_told(method: str, rate: float) -> None:
    means = {name: each.means() for name, each in sequences().items()}
    model = earsight.method(method, learning_rate=rate, epochs=2)
    with pytest.raises(TrainingError, match=rf"{method} must keep its weights in bounds") as told:
        model.fit(means, LABELS)
    assert f"try a smaller `learning_rate` (now {rate:g})" in str(told.value)


@pytest.mark.parametrize("method", ["tnn", "adversarial", "contrastive", "s_dcca", "dcca"])
def test_no_alarm_where_there_is_nothing_to_learn(method: str) -> None:
    """Noise, and a start from CCA whose maps are large: the columns are all but the same."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(60, 1))
    noise = {name: common + 1e-3 * rng.normal(size=(60, 4)) for name in ("audio", "visual")}
    earsight.method(method, epochs=20, learning_rate=1e-2).fit(noise, LABELS)


def test_a_comparison_reads_the_steps_of_a_file(tmp_path: Path) -> None:
    steps, labels = rises(60)
    views = {name: each.means() for name, each in steps.items()}
    write_features(tmp_path / "a.h5", PairedFeatures(views, labels, steps=steps))
    methods = ["tnn:epochs=1", "tnn:pooling=attention,epochs=1", "cca"]
    told: list[str] = []

    def compared(name: str) -> dict[str, float]:
        data = read_features(tmp_path / f"{name}.h5")
        options = Options(json=tmp_path / "out.json")
        found = compare(data, methods, Protocol(folds=2, seeds=1), options=options)
        told[:] = found.kept
        assert not found.failed
        return {result.method: result.score for result in found.results}

    scores = compared("a")
    assert scores[methods[1]] != scores[methods[0]]
    assert compared("a") == scores and told == methods  # nothing is fitted twice
    late = {name: replace(each, times=each.times + 0.25) for name, each in steps.items()}
    write_features(tmp_path / "b.h5", PairedFeatures(views, labels, steps=late))
    compared("b")
    assert told == [methods[0], "cca"]  # of the same means; only what reads steps is fitted anew
    rows = PairedFeatures(views, labels)
    [failed] = compare(rows, methods[1:2], Protocol(folds=2, seeds=1)).failed
    assert "pooling='attention' needs sequences" in str(failed.error)

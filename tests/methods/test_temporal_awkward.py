"""Sequences as they come: of one step, constant, before zero, of several rates and kinds."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import earsight
from earsight.cli import app
from earsight.errors import InputError
from earsight.experiments.train import train as train_and_keep
from earsight.features import FeatureSequence, PairedFeatures, StepTable, write_features
from earsight.library.embedding.settings import Settings
from earsight.methods._deep.encoders import Encoder, encode

KINDS = ("attention", "gru", "transformer")
LABELS = np.arange(40) % 2
FAST = {"epochs": 2, "seed": 0}


def clips(
    lengths: np.ndarray, rate: float, dim: int = 3, start: float = 0.0, seed: int = 0
) -> StepTable:
    rng = np.random.default_rng(seed)
    made = []
    for length, label in zip(lengths, LABELS, strict=True):
        values = rng.normal(size=(length, dim)) + label
        made.append(FeatureSequence(values.astype(np.float32), start + np.arange(length) / rate))
    return StepTable.of(made)


def encoder(kind: str, dim: int = 3) -> Encoder:
    made = Encoder(kind, np.zeros(dim), np.ones(dim), np.random.default_rng(3))
    return made.double().eval()


def points(views: dict[str, StepTable], kind: str) -> list[np.ndarray]:
    model = earsight.method("tnn", pooling=kind, **FAST).fit(views, LABELS)
    return [model.transform(name, each) for name, each in views.items()]


@pytest.mark.parametrize("kind", KINDS)
def test_clips_of_one_step_are_read(kind: str) -> None:
    """Alone, all of them, and beside long ones."""
    ones = np.ones(40, int)
    for lengths in (ones, np.where(np.arange(40) == 7, 1, 30)):
        views = {"audio": clips(lengths, 2.0), "visual": clips(ones, 1.0, seed=1)}
        for found in points(views, kind):
            assert np.isfinite(found).all() and np.ptp(found, axis=0).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_varies_and_times_before_zero_are_read(kind: str) -> None:
    audio = clips(np.full(40, 6), 3.0, start=-1.5)
    still = StepTable.of(
        [FeatureSequence(np.full((4, 3), 7.0), np.arange(4.0)) for _ in range(len(LABELS))]
    )
    mixed = StepTable.of(
        [FeatureSequence(np.hstack([np.full((6, 1), 1e6), one.values]), one.times) for one in audio]
    )
    model = earsight.method("tnn", input="raw", pooling=kind, **FAST)
    for views in ({"audio": mixed, "visual": audio}, {"audio": audio, "visual": still}):
        model.fit(views, LABELS)
        for name, each in views.items():
            assert np.isfinite(model.transform(name, each)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_clip_is_read_at_its_own_rate(kind: str) -> None:
    """The same curve, seen more often, is read as nearly the same; seen at other times, not."""

    def seen(rate: float, stretch: float = 1.0) -> FeatureSequence:
        times = np.arange(0.0, 8.0, 1 / rate)
        curve = np.stack([np.exp(-((times - at * stretch) ** 2)) for at in (2.0, 3.0, 4.0)], 1)
        return FeatureSequence(3 * curve, times)

    found = encode(encoder(kind), StepTable.of([seen(8), seen(16), seen(8, stretch=1.7)]))
    nearer, farther = (np.linalg.norm(found[0] - found[i]) for i in (1, 2))
    if kind == "gru":  # steps are what it counts: it is nearer, and no more
        assert nearer < farther
    else:
        assert nearer < 0.15 * farther


def test_a_training_is_not_lost_to_features_that_cannot_score_it(tmp_path: Path) -> None:
    steps = {"audio": clips(np.full(40, 5), 2.0), "visual": clips(np.full(40, 4), 1.0)}
    views = {name: each.means() for name, each in steps.items()}
    data, bare = PairedFeatures(views, LABELS, steps=steps), PairedFeatures(views, LABELS)
    told: list[str] = []
    with pytest.raises(InputError, match="must have sequences of audio, visual; there are those"):
        train_and_keep(
            data, "tnn:pooling=gru,epochs=1", tmp_path / "m", score=bare, told=told.append
        )
    assert not told, "it was trained before it was refused"


def test_a_library_refuses_to_learn_from_sequences_before_it_remembers_that() -> None:
    for spec in ("tnn:pooling=gru", "contrastive:pooling=attention,epochs=3"):
        with pytest.raises(InputError, match=f"from single vectors.*{re.escape(spec)}"):
            Settings().changed({"learn": spec})
    assert Settings().changed({"learn": "tnn:pooling=mean"}).learn == "tnn:pooling=mean"


def test_the_command_line_trains_and_compares_what_reads_sequences(tmp_path: Path) -> None:
    steps = {"audio": clips(np.full(40, 5), 2.0), "visual": clips(np.full(40, 4), 1.0)}
    views = {name: each.means() for name, each in steps.items()}
    data = PairedFeatures(views, LABELS, steps=steps)
    file, bare, model = (str(tmp_path / name) for name in ("a.h5", "b.h5", "model"))
    write_features(file, data)
    write_features(bare, replace(data, steps={}))
    spec = "tnn:pooling=transformer,epochs=1"
    run = CliRunner().invoke(app, ["train", file, model, "-m", spec, "--score", file])
    assert run.exit_code == 0, run.output
    assert earsight.load_model(model).get_params()["pooling"] == "transformer"
    asked = ["compare", file, "-m", f"{spec},cca", "--folds", "2", "--seeds", "1"]
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 0 and "tnn:pooling=transformer" in run.output, run.output
    run = CliRunner().invoke(app, ["train", bare, f"{model}2", "-m", spec])
    assert run.exit_code == 1 and "`earsight extract` wrote has them" in str(run.exception)
    assert not Path(f"{model}2").exists()
    for command in ("train", "compare"):
        words = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        assert "pooling=gru" in words

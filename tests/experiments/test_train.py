"""`earsight train`: a model that is fitted, kept, and scored on other features."""

import json
from pathlib import Path

import numpy as np
import pytest

import earsight
from earsight.cli.train import train as command
from earsight.datasets import synthetic
from earsight.errors import InputError
from earsight.experiments.train import train
from earsight.features import PairedFeatures, write_features

DATA = synthetic(n=120, dims=(12, 15), classes=4)


def test_what_is_kept_is_what_a_fit_gives(tmp_path: Path) -> None:
    done = train(DATA, "cca:n_components=3", tmp_path / "model")
    assert (done.method, done.n_components) == ("cca", 3)
    assert done.n_rows == {"audio": 120, "visual": 120} and done.scores == {}
    expected = earsight.method("cca", n_components=3).fit(DATA.views, labels=DATA.labels)
    kept = earsight.load_model(tmp_path / "model")
    for modality, x in DATA.views.items():
        assert np.array_equal(kept.transform(modality, x), expected.transform(modality, x))


def test_rows_kept_for_testing_are_not_learned_from(tmp_path: Path) -> None:
    split = np.repeat(["train", "test"], [80, 40])
    whole = PairedFeatures(DATA.views, DATA.labels, split=split)
    assert train(whole, "cca", tmp_path / "a").n_rows["audio"] == 80
    train(DATA.take(np.arange(80)), "cca", tmp_path / "b")
    models = [earsight.load_model(tmp_path / name) for name in "ab"]
    one, two = (model.transform("audio", DATA.views["audio"]) for model in models)
    assert np.array_equal(one, two)


def test_other_features_are_ranked_with_it(tmp_path: Path) -> None:
    other = synthetic(n=60, dims=(12, 15), classes=4)
    done = train(DATA, "cluster_cca", tmp_path / "model", score=other)
    model = earsight.load_model(tmp_path / "model")
    z = {modality: model.transform(modality, x) for modality, x in other.views.items()}
    expected = earsight.evaluate(z, labels=other.labels)["audio", "visual"]
    assert done.scores["audio->visual"]["map"] == expected.map
    assert done.scores["audio->visual"]["recall@5"] == expected.recall[5]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already; a model is never replaced"):
        train(DATA, "cca", tmp_path)
    split = np.repeat(["train", "test"], 60)
    kept = PairedFeatures(DATA.views, DATA.labels, split=split)
    with pytest.raises(InputError, match="earsight compare --official-test"):
        train(DATA, "cca", tmp_path / "model", score=kept)
    with pytest.raises(InputError, match="There is no method 'ccaa'"):
        train(DATA, "ccaa", tmp_path / "model")
    write_features(tmp_path / "part.h5", DATA)
    with pytest.raises(InputError, match=r"tnn needs all rows at once.* `earsight join` makes of"):
        command(f"{tmp_path}/*.h5", tmp_path / "model", method="tnn")
    assert not (tmp_path / "model").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, model = tmp_path / "ours.npz", tmp_path / "model"
    write_features(file, DATA)
    command(str(file), model, method="cca:n_components=2", score=str(file), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "cca" and 0 < told["scores"]["visual->audio"]["map"] <= 1
    command(str(file), tmp_path / "other", method="cca", score=str(file))
    shown = capsys.readouterr()
    assert "audio → visual" in shown.out and "kept in" in shown.err

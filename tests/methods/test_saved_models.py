"""Saved models: damaged, foreign and newer ones are refused, and saving harms nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

import earsight
from earsight.errors import InputError, ModelFileError

_rng = np.random.default_rng(0)
VIEWS = {"audio": _rng.normal(size=(50, 5)), "visual": _rng.normal(size=(50, 4))}


def saved(folder: Path) -> Path:
    earsight.method("cca").fit(VIEWS).save(folder)
    return folder


def edit(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tensors(folder: Path) -> Path:
    return next(folder.glob("tensors-*.safetensors"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "is not a saved model"),
        (lambda f: (f / "model.json").write_text("{}"), "something else's"),
        (lambda f: (f / "model.json").write_text('{"kind": "ear'), "damaged.*not JSON"),
        (lambda f: edit(f, version=99), "newer Earsight.*99"),
        (lambda f: edit(f, method="os"), "method 'os', which is not installed"),
        (lambda f: edit(f, learned={}), "damaged"),
        (lambda f: edit(f, learned=None), "lacks 'learned'"),
        (lambda f: edit(f, hyperparameters={"mapping": [["fuzz", 1]]}), "damaged.*'fuzz'"),
        (lambda f: edit(f, tensors="../../secret"), "not a file of this folder"),
        (lambda f: tensors(f).unlink(), "is missing"),
        (lambda f: tensors(f).write_bytes(tensors(f).read_bytes()[:-9]), "checksum"),
    ],
)
def test_damaged_foreign_and_newer_models_are_refused(tmp_path, harm, message) -> None:
    folder = saved(tmp_path / "model")
    harm(folder)
    with pytest.raises(ModelFileError, match=message):
        earsight.load_model(folder)


def test_saving_never_harms_what_was_there(tmp_path, monkeypatch) -> None:
    folder = saved(tmp_path / "model")
    old = earsight.load_model(folder)
    new = earsight.method("cca", n_components=2).fit(VIEWS)

    def full_disk(source: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(ModelFileError, match="No space"):
        patch.setattr(Path, "replace", full_disk)
        new.save(folder)
    assert earsight.load_model(folder) == old
    new.save(folder)
    assert earsight.load_model(folder).n_components_ == 2
    assert len(list(folder.iterdir())) == 2
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "bark.wav").touch()
    with pytest.raises(ModelFileError, match="holds something that is not a model"):
        new.save(tmp_path / "clips")
    with pytest.raises(ModelFileError, match="it is a file"):
        new.save(tmp_path / "clips" / "bark.wav")


def test_a_class_that_could_not_be_loaded_is_not_saved(tmp_path) -> None:
    from earsight.methods.cca import CCA

    class MyCCA(CCA):
        """Not a file of its own, and not an entry point."""

    with pytest.raises(InputError, match="MyCCA is not the class of 'cca'"):
        MyCCA().fit(VIEWS).save(tmp_path / "model")


def test_a_folder_that_cannot_be_made_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match=r"cannot be written to .*: .*Not a directory"):
        saved(tmp_path / "file" / "model")


def test_a_library_hears_of_a_full_disk_itself(tmp_path: Path, monkeypatch) -> None:
    from earsight.library.embedding.joint_space import JointSpace
    from earsight.library.embedding.model_files import save_model

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    bridge = earsight.method("zero_shot").fit(VIEWS | {"visual": VIEWS["audio"]})
    with pytest.raises(OSError, match="No space"):  # it then says how much room there is
        save_model(tmp_path, 1, JointSpace(bridge))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

"""What a saved model may not hold, each with what must be said."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earsight
from _hostile import (
    LABELS,
    WIDTH,
    Files,
    chosen,
    files_of,
    joined,
    learned,
    mapping,
    taken_apart,
    tensor,
    tensors_name,
    views,
    with_model,
    with_tensors,
    written,
)
from earsight.errors import EarsightError, ModelFileError


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("cca", lambda f: with_model(f, tensors="../../etc/passwd"), "not a file of this folder"),
        ("cca", lambda f: with_model(f, tensors=""), "not a file of this folder"),
        ("cca", lambda f: with_model(f, tensors="tensors-0\0.safetensors"), "not a file of this"),
        pytest.param(
            "cca",
            lambda f: learned(f, mean_=mapping(audio=tensor("../x"), visual=1)),
            "KeyError",
            id="dots in a tensor's name",
        ),
        ("cca", lambda f: learned(f, mean_=tensor(["a"])), "TypeError"),
        ("cca", lambda f: learned(f, mean_={"tensor": "a", "strings": []}), "too many values"),
        ("cca", lambda f: learned(f, mean_={"mapping": {"audio": 1}}), "must be a list"),
        ("cca", lambda f: learned(f, mean_={"mapping": [[[], 1]]}), "TypeError"),
        ("cca", lambda f: learned(f, mean_={"mapping": [[1, 1]]}), "names that differ"),
        ("cca", lambda f: learned(f, mean_={"pickle": []}), "no form of a value"),
        ("cca", lambda f: learned(f, transform=1), "nothing of the name 'transform'"),
        ("cca", lambda f: learned(f, _project_=1), "nothing of the name '_project_'"),
        ("cca", lambda f: learned(f, weights_=None), "no attribute 'weights_'"),
        ("cca", lambda f: learned(f, n_components_=2**40), "must be numbers of shape"),
        ("cca", lambda f: learned(f, n_components_=10**400), "must be a whole number"),
        ("cca", lambda f: learned(f, dims_=mapping(audio=2**50, visual=4)), "bytes of memory"),
        ("cca", lambda f: learned(f, dims_=mapping(audio=4)), "modalities"),
        ("cca", lambda f: chosen(f, n_components=10**400), "`n_components`"),
        ("cca", lambda f: chosen(f, ridge=[1]), "`ridge`"),
        pytest.param(
            "cca",
            lambda f: with_model(f, method="concord"),
            "does not fit concord",
            id="a swapped method",
        ),
        ("concord", lambda f: with_model(f, method="cca"), "does not fit cca"),
        ("tnn", lambda f: with_model(f, method="contrastive"), "does not fit contrastive"),
        ("cca", lambda f: with_model(f, learned="[" * 50), "lacks 'learned'"),
        pytest.param(
            "cca",
            lambda f: f | {"model.json": b"[" * 10**6},
            "not JSON.*nested",
            id="very deeply nested JSON",
        ),
        pytest.param(
            "cca",
            lambda f: f | {"model.json": b'{"a": ' * 99 + b"1" + b"}" * 99},
            "not JSON.*nest",
            id="deeply nested JSON",
        ),
        ("auto", lambda f: learned(f, chosen_="auto"), "`chosen_` must be one of"),
        ("auto", lambda f: learned(f, chosen_="x" * 10**6), "`chosen_` must be one of"),
        ("semantic", lambda f: learned(f, classes_={"strings": ["a", 1]}), "must be strings"),
        ("cca", lambda f: f | {"model.json": b"[" + b"[]," * 6_000_000 + b"1]"}, "at most 16,777"),
        ("cca", lambda f: with_tensors(f, struct.pack("<Q", 1 << 25) + b" " * 9), "at most 16,777"),
        ("tnn", lambda f: with_tensors(f, b""), "not a safetensors file"),
        ("tnn", lambda f: with_tensors(f, struct.pack("<Q", 2**63) + b"{}"), "not a safetensors"),
    ],
)
def test_what_is_wrong_is_said(name: str, harm: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        earsight.load_model(written(harm(files_of(name)), tmp_path / "model"))
    assert len(str(caught.value)) < 1000


def lying(**changes: Any) -> Any:
    """Change what a header says of its first tensor."""

    def changed(files: Files) -> Files:
        about, body = taken_apart(files[tensors_name(files)])
        first = next(name for name in about if name != "__metadata__")
        about[first] |= changes
        return with_tensors(files, joined(about, body))

    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "F8_E4M3"},
        {"dtype": "I8"},
        {"shape": [2**62, 2**62]},
        {"shape": [2**40]},
        {"shape": [-1]},
        {"data_offsets": [0, 2**63]},
        {"data_offsets": [8, 0]},
        {"data_offsets": [4, 12]},
    ],
)
def test_a_header_of_tensors_that_lies(changes: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"is damaged"):
        earsight.load_model(written(lying(**changes)(files_of("cca")), tmp_path / "model"))


def test_shapes_that_would_spread_over_memory_are_refused_before_they_do(tmp_path: Path) -> None:
    """A column beside a row of 200,000 numbers would become a matrix of 300 GB."""
    from safetensors.numpy import load, save

    files = files_of("cca")
    arrays = dict(load(files[tensors_name(files)]))
    arrays["learned/mean_/audio"] = np.zeros((200_000, 1))
    files = with_tensors(files, save(arrays))
    files = learned(files, dims_=mapping(audio=200_000, visual=WIDTH))
    with pytest.raises(ModelFileError, match="must be numbers of shape"):
        earsight.load_model(written(files, tmp_path / "model"))


def test_more_columns_than_a_block_of_rows_may_have_are_refused(
    tmp_path: Path, monkeypatch
) -> None:
    folder = written(files_of("cca"), tmp_path / "model")
    monkeypatch.setenv("EARSIGHT_MAX_BYTES", "100k")
    with pytest.raises(ModelFileError, match="EARSIGHT_MAX_BYTES"):
        earsight.load_model(folder)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = written(files_of("cca"), tmp_path / "model")
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    with pytest.raises(ModelFileError, match=r"read: it is not a regular file\.$"):
        earsight.load_model(folder)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_a_folder_that_cannot_be_one(name: str) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        earsight.load_model(name)


def test_a_path_and_a_device_are_no_part_of_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = earsight.method("tnn", epochs=1, checkpoint=str(tmp_path / "mine"), device="cpu")
    model.fit(views(pooling=False), labels=LABELS).save(folder)
    assert "mine" not in (folder / "model.json").read_text()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    theirs = tmp_path / "theirs"
    written(chosen(files, checkpoint=str(theirs), device="cuda"), folder)
    loaded = earsight.load_model(folder)
    assert (loaded.checkpoint, loaded.device) == (None, "auto")
    loaded.fit(views(pooling=False), labels=LABELS)
    assert not theirs.exists()


def test_only_tensors_of_a_model_are_removed_when_another_takes_its_place(tmp_path: Path) -> None:
    folder = written(files_of("cca"), tmp_path / "model")
    (folder / "tensors-of-mine.safetensors").write_bytes(b"mine")
    earsight.method("cca", n_components=1).fit(views(pooling=False)).save(folder)
    names = sorted(path.name for path in folder.iterdir())
    assert (
        names[0] == "model.json" and names[2] == "tensors-of-mine.safetensors" and len(names) == 3
    )


def test_points_that_are_not_finite_are_an_error() -> None:
    model = earsight.method("cca").fit(views(pooling=False))
    with pytest.raises(EarsightError, match="no finite point for row 1"):
        model.transform("audio", [[0.0] * WIDTH, [1e200] * WIDTH])

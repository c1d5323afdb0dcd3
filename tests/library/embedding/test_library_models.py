"""The model of a library that came from a stranger: no link is followed, nothing else removed."""

import hashlib
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earsight
from _hostile import LABELS, STRANGE, USUAL, WIDTH, flat, mutated, views
from earsight.errors import EarsightError, LibraryError, ModelFileError
from earsight.library.catalog.records import Embedding
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.model_files import (
    model_exists,
    open_model,
    remove_models,
    save_model,
)

ROWS = {role: np.eye(3, WIDTH, dtype=np.float32) for role in ("words.audio", "words.text", "audio")}


def space() -> JointSpace:
    rows = views(pooling=False)
    bridge = earsight.method("zero_shot", prior={"text": [0.0] * WIDTH}).fit(rows)
    return JointSpace(bridge, earsight.method("cca").fit(rows, labels=LABELS), 0.5)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "clips" / ".earsight"
    folder.mkdir(parents=True)
    return folder


def embedding(number: int, info: dict[str, Any]) -> Embedding:
    return Embedding(number, "features", "digest", 3, "today", info)


def kept(library: Path) -> tuple[Embedding, Path]:
    """Return an embedding whose model is in a library, and the model's folder."""
    return embedding(7, save_model(library, 7, space())), library / "models" / "7"


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in a folder: a file's content, None for what is none."""
    found = {}
    for above, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(above, name)
            shown = str(path.relative_to(folder))
            found[shown] = path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "3" / "bridge").mkdir(parents=True)
    (folder / "3" / "space.json").write_bytes(b"mine")
    (folder / "3" / "bridge" / "model.json").write_bytes(b"mine")
    (folder / "thesis").mkdir()
    return folder


def test_a_model_is_kept_and_opened_again_with_the_hash_of_each_file(library: Path) -> None:
    current, folder = kept(library)
    assert current.info["model"] == {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert len(current.info["model"]) == 5
    assert model_exists(library, current)
    again, before = open_model(library, current), space()
    assert again.name == before.name == "words + cca"
    for modality in ("audio", "text"):
        np.testing.assert_array_equal(again.embed(modality, ROWS), before.embed(modality, ROWS))


@pytest.mark.parametrize("name", ["space.json", "bridge/model.json", "learned/model.json"])
def test_a_file_of_a_model_that_was_changed_is_told(library: Path, name: str) -> None:
    current, folder = kept(library)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(ModelFileError, match=rf"{name} is not what was written.*--rebuild"):
        open_model(library, current)
    (folder / name).unlink()
    assert not model_exists(library, current)
    with pytest.raises(ModelFileError, match=r"The model in .* cannot be read: .*No such file"):
        open_model(library, current)


def test_a_model_without_hashes_is_made_anew(library: Path) -> None:
    current, _ = kept(library)
    old = embedding(7, {})
    assert model_exists(library, current) and not model_exists(library, old)
    with pytest.raises(ModelFileError, match=r"older Earsight.*--rebuild"):
        open_model(library, old)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        "space.json",
        {"../../../outside/3/space.json": "0"},
        {"/etc/hosts": "0"},
        {"bridge/../space.json": "0"},
        {},
        {"bridge/tensors-0.safetensors": "0"},
        {"space.json": 0},
        {"space.json\n": "0"},
        {f"bridge/tensors-{i:012x}.safetensors": "0" for i in range(6)},
    ],
)
def test_names_that_no_model_has_are_not_read(library: Path, files: Any) -> None:
    kept(library)
    strange = embedding(7, {"model": files})
    assert not model_exists(library, strange)
    with pytest.raises(ModelFileError, match="--rebuild"):
        open_model(library, strange)


@pytest.mark.parametrize("place", ["models", "models/7", "models/7/bridge", "models/7/space.json"])
def test_a_link_in_the_place_of_a_part_is_not_followed(
    library: Path, outside: Path, place: str
) -> None:
    current, _ = kept(library)
    (library / place).rename(outside / "real")
    (library / place).symlink_to(outside / "real")
    before = everything(outside)
    with pytest.raises(LibraryError, match=f"{place}' is a link"):
        open_model(library, current)
    if place == "models":
        for use in (lambda: remove_models(library, 9), lambda: save_model(library, 8, space())):
            with pytest.raises(LibraryError, match="models' is a link"):
                use()
    else:
        assert any(place.endswith(left) for left in remove_models(library, 9))
    assert everything(outside) == before


def test_a_library_that_is_a_link_is_refused_where_its_sender_named_it(
    library: Path, tmp_path: Path
) -> None:
    current, _ = kept(library)
    (tmp_path / "mine").symlink_to(library)  # the user's own word: --library mine
    assert open_model(tmp_path / "mine", current).name == "words + cca"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".earsight").symlink_to(library)
    with pytest.raises(LibraryError, match="earsight' is a link"):
        open_model(tmp_path / "other" / ".earsight", current)


def test_only_models_of_ours_are_removed_and_the_rest_is_told(library: Path, outside: Path) -> None:
    current, _ = kept(library)
    for number in (3, 4, 5):
        save_model(library, number, space())
    models = library / "models"
    (models / "4" / "bridge" / "notes.txt").write_bytes(b"theirs")
    (models / "5" / "bridge" / ".tmp-1a2b").write_bytes(b"half")
    (models / "6").symlink_to(outside)
    (models / "thesis").mkdir()
    (models / "thesis" / "space.json").write_bytes(b"theirs")
    (models / "8").write_bytes(b"theirs")
    before = everything(outside)
    left = remove_models(library, 7)
    assert left == ["4/bridge/notes.txt", "6", "8", "thesis"]
    assert everything(outside) == before
    assert {path.name for path in models.iterdir()} == {"4", "6", "7", "8", "thesis"}
    assert list(everything(models / "4")) == ["bridge", "bridge/notes.txt"]
    assert open_model(library, current).name == "words + cca"
    assert remove_models(library.parent, 7) == []  # there are no models at all


def test_what_a_killed_run_left_is_replaced(library: Path) -> None:
    kept(library)
    (library / "models" / "7" / "space.json").unlink()
    current, _ = kept(library)
    assert open_model(library, current).name == "words + cca"


def test_vectors_that_do_not_fit_the_model_are_told(library: Path) -> None:
    again = open_model(library, kept(library)[0])
    with pytest.raises(LibraryError, match=r"no vectors 'words\.visual'.*--rebuild"):
        again.embed("visual", ROWS)
    with pytest.raises(LibraryError, match=r"must have 4 features.*got 3"):
        again.embed("audio", ROWS | {"audio": np.eye(3)})
    with pytest.raises(LibraryError, match="`modality` must be one of"):
        JointSpace(again.learned).embed("text", ROWS)
    with pytest.raises(LibraryError, match="too large"):
        again.embed("audio", ROWS | {"audio": np.full((1, WIDTH), 1e37)})


def loaded(files: dict[str, bytes]) -> JointSpace:
    return JointSpace.load(files, "library/models/7")


def with_header(**changes: Any) -> dict[str, bytes]:
    files = space().files()
    return files | {"space.json": json.dumps(json.loads(files["space.json"]) | changes).encode()}


@pytest.mark.parametrize(
    "weight", [None, "0.5", True, -0.5, 0, 1.5, 1e-9, 10**400, [], {"tensor": "x"}, float("nan")]
)
def test_a_weight_in_space_json(weight: object) -> None:
    with pytest.raises(ModelFileError, match=r"space\.json .*(weight between|no NaN)"):
        loaded(with_header(weight=weight))


def test_a_space_json_that_says_anything_else() -> None:
    for changes in ({"format": 2}, {"format": True}, {"bridge": "../words"}, {"bridge": 1}):
        with pytest.raises(ModelFileError, match=r"space\.json"):
            loaded(with_header(**changes))
    with pytest.raises(ModelFileError, match="at most 1,000 are read"):
        loaded(with_header(bridge="x" * 1000))
    with pytest.raises(ModelFileError, match="nothing else"):
        loaded(with_header(root="/etc"))
    files = space().files()
    with pytest.raises(ModelFileError, match="nothing beside the zero-shot space"):
        loaded({name: data for name, data in files.items() if not name.startswith("learned/")})
    with pytest.raises(ModelFileError, match="missing or damaged"):
        loaded({name: data for name, data in files.items() if name != "space.json"})
    with pytest.raises(ModelFileError, match=r"it has no model\.json"):
        loaded({name: data for name, data in files.items() if not name.startswith("bridge/")})


def check_space(r: Random) -> None:
    files = space_files()
    name = r.choice([*["space.json"] * 4, "bridge/model.json", "learned/model.json"])
    value = mutated(json.loads(files[name]), r)
    files[name] = flat(value).encode("utf-8", "surrogatepass")
    if r.random() < 0.2:
        files["bridge/model.json"], files["learned/model.json"] = (
            files["learned/model.json"],
            files["bridge/model.json"],
        )
    try:
        points = loaded(files).embed(r.choice(["audio", "text", "typed", "visual"]), ROWS)
    except EarsightError as error:
        assert len(str(error)) < 2000
    else:
        assert np.isfinite(points).all()


def space_files(made: dict[str, bytes] = {}) -> dict[str, bytes]:  # noqa: B006 - made once
    if not made:
        made.update(space().files())
    return dict(made)


@settings(max_examples=30, **USUAL)
@given(r=st.randoms(use_true_random=True))
def test_a_hostile_space_ends_in_an_error_of_ours(r: Random) -> None:
    check_space(r)


@pytest.mark.long
@settings(max_examples=400, **USUAL)
@given(r=st.randoms(use_true_random=True))
def test_many_hostile_spaces_end_in_errors_of_ours(r: Random) -> None:
    check_space(r)


@settings(max_examples=60, **USUAL)
@given(value=st.recursive(st.sampled_from(STRANGE), lambda x: st.dictionaries(st.text(), x)))
def test_hashes_that_are_nonsense_end_in_an_error_of_ours(value: Any) -> None:
    strange = embedding(7, {"model": value})
    assert not model_exists(Path("nowhere"), strange)
    with pytest.raises(ModelFileError):
        open_model(Path("nowhere"), strange)

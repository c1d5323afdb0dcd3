"""What goes wrong with files of features: formats, pickles, damage, failed writes, names."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from _features import (
    AUDIO,
    ENDINGS,
    RNG,
    VISUAL,
    feature_path,  # noqa: F401 - a fixture
    make_steps,
    same,
    save,
)
from earsight.errors import FeatureFileError, InputError
from earsight.features import PairedFeatures, StepTable, read_features, write_features

BAD_ROW = np.where(np.arange(6)[:, None] == 4, np.nan, AUDIO)
PARTS = {
    "audio_train": AUDIO[:3],
    "audio_test": AUDIO[3:5],
    "lab_train": np.arange(3),
    "lab_test": np.arange(2),
}
STEPS = {"audio": AUDIO[:2], "audio_steps": np.ones((4, 3)), "audio_offsets": np.array([0, 1, 4])}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.arange(3)}, "no modality was found.*two- or three-dimensional.*labels"),
        ({"audio": AUDIO, "format": 2}, "format must be 1; got 2. Update"),
        ({"audio": BAD_ROW}, "`audio` must be finite.*row 4"),
        ({"audio": AUDIO, "labels": np.arange(5)}, "`labels` must have one value .* 6 rows; got 5"),
        ({"audio": AUDIO, "visual": VISUAL[:4]}, "'audio': 6, 'visual': 4"),
        ({"audio": AUDIO, "visual": VISUAL, "ids_audio": np.arange(6)}, "missing: ids_visual"),
        ({"audio": AUDIO, "labels": np.ones((6, 2))}, "one class a row"),
        ({"audio_train": AUDIO, "lab_train": np.arange(6)}, "missing: audio_test"),
        ({"audio_train": AUDIO, "audio_test": AUDIO}, "missing: lab_train, lab_test"),
        (
            {"audio_train": AUDIO, "audio_test": VISUAL, "lab_train": [0], "lab_test": [0]},
            "as many features as each other; got 3 and 5",
        ),
        ({**PARTS, "lab_train": np.arange(4), "lab_test": [0]}, "`audio_train` .*4 .*`lab_train`"),
        ({**PARTS, "lab_train": np.arange(3), "lab_test": [0]}, "`audio_test` .*1 .*`lab_test`"),
        ({**PARTS, "ids": np.arange(5)}, "`ids` .* neither a modality"),
        (
            {**PARTS, "visual_train": VISUAL[:2], "visual_test": VISUAL[2:5]},
            "`visual_train` must have a row for each of the 3 values of `lab_train`; got 2",
        ),
        (
            {"audio": AUDIO * 1j, "visual": VISUAL},
            r"`audio` \(complex.*shape \(6, 3\)\) is neither",
        ),
        ({"audio": AUDIO > 0, "visual": VISUAL}, r"`audio` \(bool"),
        ({"audio": AUDIO[None, None], "visual": VISUAL}, r"`audio` .*shape \(1, 1, 6, 3\)"),
        (
            {"audio": AUDIO, "label": np.arange(6)},
            "`label` .*place here: audio, group, ids, labels",
        ),
        ({"audio": AUDIO, "labels_sound": np.arange(6)}, "`labels_sound` .* is neither"),
        ({"audio": AUDIO, "labels": [0] * 6, "labels_audio": [0] * 6}, "`labels` .* is neither"),
        ({"audio": AUDIO, "audio_times": np.arange(6)}, "`audio_times` .* is neither"),
        ({"audio": AUDIO, "modalities": ["audio"], "visual": VISUAL}, "`visual` .* is neither"),
        ({"audio": np.ones((2, 0, 3))}, "row 0 of `audio` has no step"),
        ({**STEPS, "audio_offsets": np.array([0, 5, 4])}, "start at 0 and never fall"),
        ({**STEPS, "audio_offsets": np.array([0.0, 1.0, 4.0])}, "whole numbers"),
        ({**STEPS, "audio_offsets": np.array([1, 2, 4])}, "start at 0"),
        ({**STEPS, "audio_offsets": np.array([0, 1, 5])}, "must end at 4, the rows of"),
        ({**STEPS, "audio_times": np.arange(3.0)}, r"must be 4 finite seconds.*shape \(3,\)"),
        ({**STEPS, "audio_offsets": np.array([0, 1, 2, 4])}, "got 3 clips of 3 features"),
        ({k: v for k, v in STEPS.items() if k != "audio_offsets"}, "missing: audio_offsets"),
        (
            {"audio_steps": np.ones((4, 3)), "audio_offsets": np.array([0, 4, 4])},
            "row 1 of `audio`",
        ),
        ({"audio_steps": BAD_ROW, "audio_offsets": np.array([0, 3, 6])}, "`audio_steps`.*row 4"),
    ],
)
def test_files_that_break_the_format_say_how(path, arrays, message):
    save(path, **arrays)
    with pytest.raises(FeatureFileError, match=message) as error:
        read_features(path)
    assert str(path) in str(error.value)


def test_nan_in_steps_is_named_when_they_are_read(tmp_path):
    path = save(tmp_path / "a.h5", audio=AUDIO[:2], audio_steps=BAD_ROW, audio_offsets=[0, 3, 6])
    features = read_features(path)
    assert np.isfinite(features.steps["audio"][0].values).all()
    with pytest.raises(FeatureFileError, match="`audio_steps` must be finite; row 4"):
        features.steps["audio"][1]


def test_rows_of_any_length_are_no_modality(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["visual"] = VISUAL
        file.create_dataset("audio", (6,), h5py.vlen_dtype(np.dtype("f4")))
    with pytest.raises(FeatureFileError, match=r"`audio` \(object, shape \(6,\)\) is neither"):
        read_features(tmp_path / "a.h5")


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_objects_are_never_loaded(tmp_path):
    sprung = tmp_path / "sprung"
    trap = np.array([Trap(sprung)], dtype=object)
    np.savez(tmp_path / "a.npz", audio=AUDIO, labels=trap)
    with pytest.raises(FeatureFileError, match=r"pickled objects. They are never loaded"):
        read_features(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(trap))
    with pytest.raises(FeatureFileError, match="not a zip file"):
        read_features(tmp_path / "b.npz")
    assert not sprung.exists()


def test_hdf5_is_not_followed_into_other_files(tmp_path):
    save(tmp_path / "secret.h5", audio=AUDIO)
    (tmp_path / "raw").write_bytes(AUDIO.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["visual"] = VISUAL
        file["linked"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "audio")
        file.create_dataset("stored", (6, 3), "f4", external=[(str(tmp_path / "raw"), 0, 72)])
        layout = h5py.VirtualLayout((6, 3), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "audio", shape=(6, 3))
        file.create_virtual_dataset("virtual", layout)
        file["soft"] = h5py.SoftLink("/visual")
        file["group/audio"] = AUDIO
        file["type"] = np.dtype("f4")
    kinds = {
        "group": "a group",
        "linked": "a link",
        "soft": "a link",
        "stored": "kept in another file",
        "type": "a type",
        "virtual": "a virtual array",
    }
    for name, kind in kinds.items():  # in the order of the file's names
        with pytest.raises(FeatureFileError, match=rf"a\.h5: `{name}` is {kind}"):
            read_features(tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5", "a") as file:
            del file[name]
    assert list(read_features(tmp_path / "a.h5").views) == ["visual"]


@pytest.mark.parametrize("name", ["missing.h5", "missing.npz"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FeatureFileError, match=f"{name} is missing"):
        read_features(tmp_path / name)


def test_other_endings_are_refused(tmp_path):
    for call in (read_features, lambda p: write_features(p, PairedFeatures({"a": AUDIO}))):
        with pytest.raises(FeatureFileError, match=r"\.h5, \.hdf5, \.npz; got 'a.mat'"):
            call(tmp_path / "a.mat")


def test_a_file_cut_anywhere_is_an_error_of_ours(path):
    write_features(path, PairedFeatures({"a": AUDIO}, list("xyxyxy"), provenance={"fps": 1}))
    content = path.read_bytes()
    for end in sorted({0, 1, 7, *RNG.integers(0, len(content), 40)}):
        path.write_bytes(content[:end])
        with pytest.raises(FeatureFileError, match="damaged"):
            read_features(path)


def test_a_damaged_npz_gives_no_other_error(tmp_path):
    # HDF5 has no such test: its own library can loop for ever on bytes that were changed.
    path = tmp_path / "a.npz"
    steps = make_steps([2] * 6, 3)
    features = PairedFeatures({"a": AUDIO}, list("xyxyxy"), steps={"a": steps})
    write_features(path, features)
    content = path.read_bytes()
    said = 0
    for _ in range(150):
        harmed = bytearray(content)
        for place in RNG.integers(0, len(content), 8):
            harmed[place] = RNG.integers(0, 256)
        path.write_bytes(harmed)
        try:
            list(read_features(path).steps.values())
        except FeatureFileError:
            said += 1
    assert said > 0


def test_a_failed_write_leaves_the_old_file(path, tmp_path):
    old = PairedFeatures({"a": AUDIO})
    write_features(path, old)

    def broken(start, stop):
        if stop > 0:
            raise OSError(28, "No space left on device")
        return np.ones((0, 3))

    steps = StepTable(np.array([[0, 2]] * 6), np.arange(2.0), 3, broken)
    with pytest.raises(FeatureFileError, match=r"cannot be written: .*No space left"):
        write_features(path, PairedFeatures({"a": AUDIO}, steps={"a": steps}))
    same(read_features(path), old)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path):
    for ending in ENDINGS:
        with pytest.raises(FeatureFileError, match="cannot be written"):
            write_features(tmp_path / "no" / f"a.{ending}", PairedFeatures({"a": AUDIO}))


@pytest.mark.parametrize("name", ["labels", "format", "a/b", ".", "attributes"])
def test_names_that_the_format_needs_are_refused(path, name):
    with pytest.raises(InputError, match="needs a name of its own"):
        write_features(path, PairedFeatures({name: AUDIO}))
    assert not path.exists()


def test_names_that_would_fall_together_are_refused(path):
    steps = make_steps([1] * 6, 3)
    views = {"a": AUDIO, "a_steps": AUDIO}
    with pytest.raises(InputError, match="'a_steps'"):
        write_features(path, PairedFeatures(views, steps={"a": steps}))


@pytest.mark.parametrize("provenance", [{"when": object()}, {"x": float("nan")}])
def test_provenance_must_be_json(path, provenance):
    with pytest.raises(InputError, match="must be JSON"):
        write_features(path, PairedFeatures({"a": AUDIO}, provenance=provenance))
    with pytest.raises(InputError, match="not the format's own; got 'format'"):
        write_features(path, PairedFeatures({"a": AUDIO}, provenance={"format": 3}))

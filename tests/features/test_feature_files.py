"""Files of features: what is written is read, and so is what other people's files hold."""

import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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
from earsight.features import PairedFeatures, has_8_bit_features, read_features, write_features
from earsight.features.paired import COLUMNS

# Round trip


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NAMES = st.from_regex(r"[a-zA-Zäß][a-zA-Z0-9 .-]{0,8}", fullmatch=True).map(str.strip)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def paired_features(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    names = [name for name in names if name not in (*COLUMNS, "format", "modalities", "attributes")]
    names = names or ["audio"]
    paired = draw(st.booleans())
    n = draw(st.integers(1, 5))
    counts = {name: n if paired else draw(st.integers(1, 5)) for name in names}
    dtypes = st.sampled_from([np.float32, np.float64])

    def view(name):
        dtype = draw(dtypes)
        finite = st.floats(-(2.0**99), 2.0**99, width=8 * np.dtype(dtype).itemsize)
        return draw(hnp.arrays(dtype, (counts[name], draw(st.integers(1, 4))), elements=finite))

    def values(count):
        kind = draw(st.sampled_from([np.int64, np.str_]))
        element = st.integers(-9, 9) if kind is np.int64 else TEXT
        return np.array(draw(st.lists(element, min_size=count, max_size=count)), dtype=kind)

    def column(always):
        if not (always or draw(st.booleans())):
            return None
        return values(n) if paired else {name: values(counts[name]) for name in names}

    views = {name: view(name) for name in names}
    steps = {
        name: make_steps(RNG.integers(0, 4, counts[name]), x.shape[1], draw(dtypes))
        for name, x in views.items()
        if draw(st.booleans())
    }
    keys = st.sampled_from(["extractor", "weights", "hop", *names])
    provenance = draw(st.dictionaries(keys, JSON, max_size=3))
    columns = [column(i == 0 and not paired) for i in range(len(COLUMNS))]
    return PairedFeatures(views, *columns, steps=steps, provenance=provenance)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(features=paired_features())
def test_what_is_written_is_read(tmp_path, ending, features):
    path = tmp_path / f"features.{ending}"
    write_features(path, features)
    same(read_features(path), features)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_steps_in_any_order_are_written_in_the_order_of_the_rows(path):
    lengths = RNG.integers(1, 4, 40)
    table = make_steps(lengths, 2)
    features = PairedFeatures({"a": table.means()}, steps={"a": table})
    shuffled = features.take(RNG.permutation(40))
    write_features(path, shuffled)
    same(read_features(path), shuffled)


def test_provenance_stands_in_attributes(tmp_path):
    provenance = {"fps": 2.0, "audio": {"extractor": "yamnet", "sha256": "ab", "hop": 0.48}}
    features = PairedFeatures({"audio": AUDIO}, provenance=provenance)
    write_features(tmp_path / "a.h5", features)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["format"] == 1
        assert file.attrs["fps"] == "2.0"
        assert dict(file["audio"].attrs) == {
            "extractor": '"yamnet"',
            "sha256": '"ab"',
            "hop": "0.48",
        }
    write_features(tmp_path / "a.npz", features)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["attributes"].dtype.kind == "U"
    assert read_features(tmp_path / "a.npz").provenance == provenance


def test_others_attributes_are_read_as_plain_values(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["audio"] = AUDIO
        file["audio"].attrs["extractor"] = "vggish"
        file.attrs["fps"] = np.float32(2.0)
        file.attrs["crops"] = np.array([1, 2])
    provenance = read_features(tmp_path / "a.h5").provenance
    assert provenance == {"fps": 2.0, "crops": [1, 2], "audio": {"extractor": "vggish"}}


def test_the_same_features_give_the_same_npz(tmp_path):
    features = PairedFeatures({"a": AUDIO}, list("xyxyxy"))
    for name in ("a.npz", "b.npz"):
        write_features(tmp_path / name, features)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


def test_steps_in_hdf5_are_read_when_asked_for(tmp_path):
    path = tmp_path / "a.h5"
    write_features(path, PairedFeatures({"a": AUDIO}, steps={"a": make_steps([2] * 6, 3)}))
    features = read_features(path)
    path.unlink()
    np.testing.assert_array_equal(features.views["a"], AUDIO)
    with pytest.raises(FeatureFileError, match="cannot be read any more"):
        features.steps["a"][0]


# What other people's files hold


def test_modalities_that_no_list_names_are_inferred(path):
    arrays = {"audio": AUDIO, "visual": VISUAL, "labels": np.arange(6), "ids": np.arange(6)}
    features = read_features(save(path, format=1, **arrays))
    assert set(features.views) == {"audio", "visual"}
    assert features.labels.tolist() == list(range(6)) and features.provenance == {}


@pytest.mark.parametrize("labels", ["vector", "column", "one-hot"])
def test_the_authors_form(path, labels):
    y = np.arange(9) % 3
    shaped = {"vector": y, "column": y[:, None].astype(float), "one-hot": np.eye(3)[y]}[labels]
    a, v = RNG.normal(size=(9, 4)).astype("f4"), RNG.normal(size=(9, 2)).astype("f4")
    save(
        path,
        audio_train=a[:6],
        audio_test=a[6:],
        visual_train=v[:6],
        visual_test=v[6:],
        lab_train=shaped[:6],
        lab_test=shaped[6:],
    )
    features = read_features(path)
    np.testing.assert_array_equal(features.part("train").views["audio"], a[:6])
    np.testing.assert_array_equal(features.part("test").views["visual"], v[6:])
    assert features.part("test").labels.tolist() == y[6:].tolist()
    assert features.paired


def test_three_dimensional_arrays_are_sequences(path):
    x = RNG.normal(size=(5, 4, 3)).astype("f4")
    features = read_features(save(path, audio=x))
    np.testing.assert_allclose(features.views["audio"], x.mean(axis=1), rtol=1e-5, atol=1e-7)
    for clip, sequence in enumerate(features.steps["audio"]):
        np.testing.assert_array_equal(sequence.values, x[clip])
        assert sequence.times.tolist() == [0.5, 1.5, 2.5, 3.5]
    np.testing.assert_array_equal(features.steps["audio"][3].values, x[3])


def test_three_dimensional_arrays_in_the_authors_form(path):
    train, test = RNG.normal(size=(20, 4, 3)), RNG.normal(size=(7, 2, 3))
    y = np.arange(27) % 3
    save(path, audio_train=train, audio_test=test, lab_train=y[:20], lab_test=y[20:])
    features = read_features(path)
    for clip, sequence in enumerate(features.steps["audio"]):  # read in blocks over the border
        np.testing.assert_array_equal(sequence.values, [*train, *test][clip])
    np.testing.assert_array_equal(features.part("test").steps["audio"][6].values, test[6])


def test_the_hop_sets_the_times_where_none_are_kept(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["audio_steps"], file["audio_offsets"] = np.ones((3, 2)), np.array([0, 2, 3])
        file.attrs["hop"] = 0.48
    features = read_features(tmp_path / "a.h5")
    assert [s.times.tolist() for s in features.steps["audio"]] == [[0.24, 0.72], [0.24]]
    np.testing.assert_array_equal(features.views["audio"], np.ones((2, 2)))


def test_eight_bits_need_to_be_told_their_scale(path):
    x = RNG.integers(0, 256, size=(6, 10, 3), dtype=np.uint8)
    save(path, audio=x, visual=np.array([[0, 255, 128]] * 6, dtype=np.uint8))
    with pytest.raises(FeatureFileError, match=r"8-bit numbers.*dequantise: yt8m or vegas"):
        read_features(path)
    with pytest.raises(InputError, match="one of yt8m, vegas; got 'vgg'"):
        read_features(path, "vgg")
    vegas = read_features(path, "vegas")
    np.testing.assert_allclose(
        vegas.views["audio"], (x.astype(float).mean(axis=1) - 128) / 256, rtol=1e-6, atol=1e-7
    )
    assert vegas.views["visual"][0].tolist() == [-0.5, 127 / 256, 0.0]
    yt8m = read_features(path, "yt8m")
    # The ends of YouTube-8M's range, each in the middle of its bin.
    np.testing.assert_allclose(yt8m.views["visual"][0, :2], [-2 + 4 / 512, 2 + 4 / 512], rtol=1e-6)
    np.testing.assert_allclose(
        yt8m.steps["audio"][2].values, x[2] * (4 / 255) - 2 + 4 / 512, atol=1e-6
    )
    assert vegas.views["audio"].dtype == yt8m.views["audio"].dtype == np.float32


def test_a_scale_for_what_is_not_8_bit_is_refused(path):
    save(path, audio=AUDIO, labels=np.arange(6, dtype=np.uint8))
    assert not has_8_bit_features(path)
    with pytest.raises(FeatureFileError, match="8-bit features, and there are none; got 'vegas'"):
        read_features(path, "vegas")
    save(path, audio_steps=np.ones((4, 2), np.uint8), audio_offsets=np.array([0, 1, 4]))
    assert has_8_bit_features(path)
    assert len(read_features(path, "vegas").steps["audio"]) == 2
    y = np.arange(3, dtype=np.uint8)[:, None]
    save(path, audio_train=AUDIO[:3], audio_test=AUDIO[3:], lab_train=y, lab_test=y)
    assert not has_8_bit_features(path)


def test_unpaired_files(path):
    save(
        path,
        audio=AUDIO,
        visual=VISUAL[:4],
        labels_audio=np.arange(6),
        labels_visual=np.arange(4),
        ids_audio=list("abcdef"),
        ids_visual=np.array(list("abcd"), "S1"),
    )
    features = read_features(path)
    assert not features.paired
    assert features.labels["visual"].tolist() == [0, 1, 2, 3]
    assert features.ids["visual"].tolist() == list("abcd")

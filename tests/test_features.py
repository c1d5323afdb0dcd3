"""Feature sequences, paired features and the files that hold them."""

import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earsight.errors import FeatureFileError, InputError, NotAvailableError
from earsight.features import (
    FeatureSequence,
    PairedFeatures,
    StepTable,
    has_8_bit_features,
    read_features,
    write_features,
)
from earsight.features.paired import COLUMNS

ENDINGS = ["h5", "npz"]
RNG = np.random.default_rng(0)
AUDIO = RNG.normal(size=(6, 3)).astype("f4")
VISUAL = RNG.normal(size=(6, 5))


def save(path, **arrays):
    """Write bare arrays, as other people's scripts do."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


@pytest.fixture(params=ENDINGS)
def path(request, tmp_path):
    return tmp_path / f"features.{request.param}"


# Sequences


def test_the_mean_layer_is_the_weighted_mean():
    values, weights = RNG.normal(size=(7, 4)).astype("f4"), RNG.random(7).astype("f4")
    times = np.arange(7) + 0.5
    plain = FeatureSequence(values, times).mean()
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain, sum(values.astype(float)) / 7, rtol=1e-6)
    slow = sum(float(w) * v.astype(float) for w, v in zip(weights, values, strict=True))
    weighted = FeatureSequence(values, times, 0.96, weights)
    np.testing.assert_allclose(weighted.mean(), slow / weights.sum(dtype=float), rtol=1e-6)
    # All weights alike, and none at all, are the plain mean.
    same = FeatureSequence(values, times, 0.96, np.full(7, 0.3, "f4")).mean()
    np.testing.assert_allclose(same, plain, rtol=1e-6)
    none = FeatureSequence(values, times, 0.96, np.zeros(7, "f4")).mean()
    np.testing.assert_array_equal(none, plain)


def test_windows_share_out_the_steps():
    sequence = FeatureSequence(RNG.normal(size=(20, 2)), np.arange(20) * 0.48, 0.96, np.ones(20))
    parts = [sequence.between(start, start + 2.0) for start in range(0, 10, 2)]
    assert sum(map(len, parts)) == 20
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), sequence.values)
    assert {part.span for part in parts} == {0.96}


def test_sequences_say_what_is_wrong():
    with pytest.raises(InputError, match=r"for its 2 times; got shape \(3, 2\)"):
        FeatureSequence(np.ones((3, 2)), np.ones(2))
    with pytest.raises(InputError, match="without steps has no mean"):
        FeatureSequence(np.ones((0, 2)), np.ones(0)).mean()
    with pytest.raises(InputError, match=r"one width; got widths \[2, 3\]"):
        StepTable.of([FeatureSequence(np.ones((1, d)), np.ones(1)) for d in (2, 3)])


def make_steps(lengths, dim, dtype="f4"):
    return StepTable.of(
        FeatureSequence(RNG.normal(size=(n, dim)).astype(dtype), np.arange(n) * 0.5 + 0.25)
        for n in lengths
    )


def test_a_step_table_is_the_list_of_its_sequences():
    listed = [
        FeatureSequence(RNG.normal(size=(n, 3)).astype("f4"), RNG.random(n))
        for n in RNG.integers(1, 5, 40)
    ]
    table = StepTable.of(listed)
    np.testing.assert_array_equal(table.means(), [sequence.mean() for sequence in listed])
    for order in (np.arange(40), RNG.permutation(40), np.array([3, 3, 4, 39])):
        some = table.take(order)
        assert len(some) == len(order)
        for clip, got, at in zip(order, some, range(len(order)), strict=True):
            for sequence in (got, some[at]):
                np.testing.assert_array_equal(sequence.values, listed[clip].values)
                np.testing.assert_array_equal(sequence.times, listed[clip].times)


# Paired features


def test_rows_are_taken_from_every_modality_and_column():
    features = PairedFeatures(
        {"visual": VISUAL, "audio": AUDIO},
        labels=[0, 1, 0, 1, 0, 1],
        ids=list("abcdef"),
        split=["train"] * 4 + ["test"] * 2,
        steps={"audio": make_steps([1, 2, 3, 1, 2, 3], 3)},
    )
    assert features.paired and list(features.views) == ["visual", "audio"]
    some = features.take(np.array([4, 1]))
    np.testing.assert_array_equal(some.views["audio"], AUDIO[[4, 1]])
    assert some.ids.tolist() == ["e", "b"] and some.labels.tolist() == [0, 1]
    assert some.group is None
    np.testing.assert_array_equal(some.steps["audio"][0].values, features.steps["audio"][4].values)
    assert features.part("test").ids.tolist() == ["e", "f"]
    assert features.part("train").ids.tolist() == ["a", "b", "c", "d"]


def test_a_mapping_means_unpaired_even_if_the_counts_agree():
    labels = {"audio": np.arange(6) % 2, "visual": np.arange(6) % 3}
    split = {m: np.array(["train", "test"] * 3) for m in labels}
    features = PairedFeatures({"audio": AUDIO, "visual": VISUAL}, labels, split=split)
    assert not features.paired
    some = features.take({"audio": np.array([5]), "visual": np.array([0, 1])})
    assert some.labels["audio"].tolist() == [1] and some.labels["visual"].tolist() == [0, 1]
    assert features.part("test").labels["visual"].tolist() == [1, 0, 2]
    with pytest.raises(InputError, match="a mapping from modality to rows; got ndarray"):
        features.take(np.array([1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairedFeatures({}), "at least one modality"),
        (lambda: PairedFeatures({"a": AUDIO, "b": VISUAL[:4]}), "'a': 6, 'b': 4"),
        (lambda: PairedFeatures({"a": AUDIO}, labels=[1, 2]), "each of the 6 rows; got 2"),
        (lambda: PairedFeatures({"a": AUDIO * np.nan}), "`a` must be finite"),
        (
            lambda: PairedFeatures({"a": AUDIO, "b": VISUAL}, labels={"a": np.arange(6)}),
            r"`labels` of unpaired rows must have values for each of \['a', 'b'\]; got \['a'\]",
        ),
        (
            lambda: PairedFeatures({"a": AUDIO}, {"a": np.arange(6)}, ids=np.arange(6)),
            "`ids` of unpaired rows .* got one array",
        ),
        (
            lambda: PairedFeatures({"a": AUDIO}, steps={"a": make_steps([1] * 5, 3)}),
            "got 5 clips of 3 features",
        ),
    ],
)
def test_features_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_features_without_a_split_have_no_parts():
    with pytest.raises(NotAvailableError, match="no 'test' part"):
        PairedFeatures({"a": AUDIO}).part("test")


# Round trip


def same(a, b):
    """Compare two sets of features bit for bit."""
    assert list(a.views) == list(b.views)
    for name, x in a.views.items():
        assert x.dtype == b.views[name].dtype
        np.testing.assert_array_equal(x, b.views[name])
    for name in COLUMNS:
        one, other = getattr(a, name), getattr(b, name)
        assert type(one) is type(other)
        pairs = [(one[m], other[m]) for m in one] if isinstance(one, dict) else [(one, other)]
        for left, right in pairs:
            assert (left is None) == (right is None)
            if left is not None:
                assert left.dtype.kind == right.dtype.kind
                np.testing.assert_array_equal(left, right)
    assert set(a.steps) == set(b.steps)
    for name, table in a.steps.items():
        assert len(table) == len(b.steps[name])
        for left, right in zip(table, b.steps[name], strict=True):
            assert left.values.dtype == right.values.dtype
            np.testing.assert_array_equal(left.values, right.values)
            np.testing.assert_array_equal(left.times, right.times)
    assert a.provenance == b.provenance


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


# Faults


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
        ({**STEPS, "audio_offsets": np.array([0, 3, 1, 4])}, "start at 0 and never fall"),
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


def test_steps_in_hdf5_are_read_when_asked_for(tmp_path):
    path = tmp_path / "a.h5"
    write_features(path, PairedFeatures({"a": AUDIO}, steps={"a": make_steps([2] * 6, 3)}))
    features = read_features(path)
    path.unlink()
    np.testing.assert_array_equal(features.views["a"], AUDIO)
    with pytest.raises(FeatureFileError, match="cannot be read any more"):
        features.steps["a"][0]


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


def test_the_same_features_give_the_same_npz(tmp_path):
    features = PairedFeatures({"a": AUDIO}, list("xyxyxy"))
    for name in ("a.npz", "b.npz"):
        write_features(tmp_path / name, features)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None

"""Data sets, the labels of folders and CSV files, and folds."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earsight.datasets import (
    folder_labels,
    folds,
    n_folds_for,
    read_label_csv,
    synthetic,
    wikipedia,
)
from earsight.errors import FeatureFileError, InputError, LabelError
from earsight.features import read_features, write_features

WIKIPEDIA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"


@pytest.mark.skipif(not WIKIPEDIA.is_dir(), reason="shared/data/wikipedia is not here")
def test_wikipedia_is_the_official_set(tmp_path):
    data = wikipedia(WIKIPEDIA)
    train, test = data.part("train"), data.part("test")
    assert list(data.views) == ["image", "text"] and data.paired
    assert (train.views["image"].shape, train.views["text"].shape) == ((2173, 128), (2173, 10))
    assert (test.views["image"].shape, test.views["text"].shape) == ((693, 128), (693, 10))
    # Topic proportions: each text's sum to one. Chance, the mean AP of a random ranking with R of
    # N relevant, (H + (R − 1)(N − H)/(N − 1))/N with H = 1 + 1/2 + … + 1/N, was measured as .117.
    np.testing.assert_allclose(data.views["text"].sum(axis=1), 1, atol=1e-6)
    relevant = np.array([(test.labels == label).sum() for label in test.labels])
    harmonic = (1 / np.arange(1, 694)).sum()
    chance = (harmonic + (relevant - 1) * (693 - harmonic) / 692) / 693
    assert len(set(test.labels)) == 10
    assert chance.mean() == pytest.approx(0.117, abs=0.002)
    write_features(tmp_path / "w.h5", data)
    back = read_features(tmp_path / "w.h5").part("test")
    np.testing.assert_array_equal(back.views["image"], test.views["image"])
    np.testing.assert_array_equal(back.labels, test.labels)


@pytest.mark.skipif(not WIKIPEDIA.is_dir(), reason="shared/data/wikipedia is not here")
@pytest.mark.parametrize("harm", ["missing", "cut", "labels"])
def test_a_wikipedia_folder_that_is_not_whole_is_refused(tmp_path, harm):
    for file in WIKIPEDIA.iterdir():
        content = file.read_bytes()
        if harm == "cut" and file.suffix == ".mat":
            content = content[:5000]
        if harm == "labels" and file.name == "test_labels.txt":
            content = content[:100]
        if harm != "missing" or file.suffix != ".mat":
            (tmp_path / file.name).write_bytes(content)
    with pytest.raises(FeatureFileError, match="does not hold the Wikipedia set"):
        wikipedia(tmp_path)


def test_synthetic_features_are_seeded_and_grow_at_the_end():
    data = synthetic(n=5000, dims=(6, 9), classes=4, seed=3)
    again = synthetic(n=5000, dims=(6, 9), classes=4, seed=3)
    longer = synthetic(n=9000, dims=(6, 9), classes=4, seed=3)
    other = synthetic(n=5000, dims=(6, 9), classes=4, seed=4)
    for name, dim in (("audio", 6), ("visual", 9)):
        view = data.views[name]
        assert view.shape == (5000, dim) and view.dtype == np.float32
        np.testing.assert_array_equal(view, again.views[name])
        np.testing.assert_array_equal(view, longer.views[name][:5000])
        assert not np.array_equal(view, other.views[name])
    np.testing.assert_array_equal(data.labels, longer.labels[:5000])
    assert set(data.labels) == {0, 1, 2, 3}
    with pytest.raises(InputError, match="must be at least 1; got 0"):
        synthetic(n=0)


def test_synthetic_features_share_the_clip_within_a_class():
    data = synthetic(n=4000, dims=(60, 70))
    audio, visual = (x - x.mean(axis=0) for x in data.views.values())
    for label in range(10):
        for x in (audio, visual):
            x[data.labels == label] -= x[data.labels == label].mean(axis=0)
    half = np.arange(4000) < 2000
    guess = audio @ np.linalg.lstsq(audio[half], visual[half], rcond=None)[0]
    own = np.corrcoef(guess[~half].ravel(), visual[~half].ravel())[0, 1]
    others = np.corrcoef(guess[~half].ravel(), visual[~half][::-1].ravel())[0, 1]
    assert own > 0.04
    assert abs(others) < 0.01


# Labels


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        ([], None),
        (["a.mp4", "b.mp4"], None),
        (["a/1.mp4", "a/2.mp4", "a/3.mp4"], None),  # one class
        (["a/1.mp4", "b/2.mp4", "c/3.mp4"], None),  # classes of one clip
        (["a/1.mp4", "a/2.mp4", "b/3.mp4"], None),  # one class of two
        (["a/x/1", "a/y/2", "b/3", "b/4", "c/5", "6"], ["a", "a", "b", "b", "c", None]),
    ],
)
def test_the_first_folder_level_is_the_label(paths, labels):
    expected = labels and {p: label for p, label in zip(paths, labels, strict=True) if label}
    assert folder_labels(paths) == expected


def test_label_files_are_read(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_bytes(
        b'\xef\xbb\xbflabel,note,path\r\ndog,x,./dog/a b.mp4\r\n cat ,,"c, ""d"".mp4"\r\n'
        b'cat,,"new\nline.mp4"\r\nbird,,caf\xc3\xa9/\xff.mp4\r\nbird,,caf\xc3\xa9/%FE.mp4\r\n'
    )
    assert read_label_csv(file) == {
        "dog/a b.mp4": "dog",
        'c, "d".mp4': "cat",
        "new\nline.mp4": "cat",
        "café/%FF.mp4": "bird",
        "café/%FE.mp4": "bird",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("", r"columns path and label.*line 1 has 0 columns, 0 of them"),
        ("path;label\na;b\n", r"columns path and label.*line 1 has 1 columns, 0 of them"),
        ("path,class\na,b\n", r"columns path and label.*line 1 has 2 columns, 1 of them"),
        ("path,label\na.mp4,x\nb.mp4,\n", r"line 3: a row needs a path.*this one lacks its label"),
        ("path,label\na.mp4,x\nb.mp4\n", r"line 3: .* lacks its label"),
        ("path,label\n,x\n", r"line 2: .* lacks its path"),
        ("path,label\n,\n", r"line 2: .* lacks its path and label"),
        ("path,label\na.mp4,x\n./a.mp4,x\n", r"line 3: its path comes a second time"),
        ('path,label\n"a.mp4,x\n', "not a CSV file"),
    ],
)
def test_label_files_say_what_is_wrong(tmp_path, content, message):
    file = tmp_path / "labels.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(LabelError, match=message) as error:
        read_label_csv(file)
    assert str(file) in str(error.value)


SECRET = "root:x:hunter2"


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n{SECRET}\n",
        f"{SECRET},path\n",
        f"path,label\n{SECRET}\n",
        f"path,label\n,{SECRET}\n",
        f"path,label\n{SECRET},a\n{SECRET},a\n",
        f'path,label\n"{SECRET}',
        f'path,label\n"{SECRET}"x,a\n',
        f"path,label\n{SECRET * 20_000},a\n",
        f"{SECRET}\0",
        SECRET.encode("utf-16"),
    ],
    ids=range(10),
)
def test_no_word_of_a_file_that_is_none_of_labels_is_told(tmp_path, content):
    """A library that a stranger sent may name any file as its labels."""
    file = tmp_path / "any file"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LabelError) as error:
        read_label_csv(file)
    assert "hunter" not in str(error.value)
    assert str(file) in str(error.value)


def test_what_is_no_file_is_no_label_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.csv")
    for path, message in [
        (tmp_path / "pipe.csv", "it is not a regular file"),
        (tmp_path, "Is a directory"),
        ("/dev/zero", "it is not a regular file"),
        ("nul\0", "null"),
    ]:
        with pytest.raises(LabelError, match=message):
            read_label_csv(path)
    (tmp_path / "long.csv").write_text("path,label\n" + "a,b\n" * 1000)
    monkeypatch.setenv("EARSIGHT_MAX_BYTES", "128000")
    with pytest.raises(LabelError, match=r"more than 4,000 bytes; EARSIGHT_MAX_BYTES raises"):
        read_label_csv(tmp_path / "long.csv")


# Folds


def test_as_many_folds_as_leave_ten_clips():
    for n in range(200):
        n_folds = n_folds_for(n)
        if n_folds is None:
            assert n < 20
        else:
            assert 2 <= n_folds <= 5
            assert n // n_folds >= 10
            assert n_folds == 5 or n // (n_folds + 1) < 10


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_folds_keep_groups_whole_and_classes_even(data):
    n_groups = data.draw(st.integers(2, 60))
    n_folds = data.draw(st.integers(2, min(5, n_groups)))
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=n_groups, max_size=n_groups))
    seed = data.draw(st.integers(0, 9))
    class_of = data.draw(st.lists(st.sampled_from("abcd"), min_size=n_groups, max_size=n_groups))
    order = np.random.default_rng(seed).permutation(sum(sizes))
    groups = np.repeat([f"g{i}" for i in range(n_groups)], sizes)[order]
    labels = np.repeat(class_of, sizes)[order]
    with_labels = data.draw(st.booleans())
    made = folds(labels if with_labels else None, groups, n_folds, seed)
    again = folds(labels if with_labels else None, groups, n_folds, seed)
    assert [test.tolist() for _, test in made] == [test.tolist() for _, test in again]
    assert sorted(np.concatenate([test for _, test in made])) == list(range(len(groups)))
    tests = [set(groups[test]) for _, test in made]
    for (train, test), inside in zip(made, tests, strict=True):
        assert sorted([*train, *test]) == list(range(len(groups)))
        assert not inside & set(groups[train])
    counts = [len(inside) for inside in tests]
    assert max(counts) - min(counts) <= 1
    if with_labels:
        for label in set(class_of):
            mine = {f"g{i}" for i in range(n_groups) if class_of[i] == label}
            shares = [len(inside & mine) for inside in tests]
            assert max(shares) - min(shares) <= 1


def test_rows_without_groups_are_their_own():
    made = folds(np.arange(30) % 3, None, 3, seed=1)
    for train, test in made:
        assert len(train) == 20
        assert len(test) == 10 and set(Counter((test % 3).tolist()).values()) <= {3, 4}
    other = folds(np.arange(30) % 3, None, 3, seed=2)
    assert [t.tolist() for _, t in made] != [t.tolist() for _, t in other]


def test_a_group_of_several_classes_counts_as_its_commonest():
    groups = np.repeat(np.arange(8), 3)
    labels = np.where(np.arange(24) % 3 == 0, "z", np.repeat(["a", "b"], 12))
    for _, test in folds(labels, groups, 2):
        assert Counter((groups[test[::3]] < 4).tolist()) == {True: 2, False: 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, None, 2), "needs labels or groups"),
        ((["a", "b", "c"], ["x", "x", "y"], 3), "from 2 to 2, the number of groups; got 3"),
        ((["a", "b", "c"], None, 1), "from 2 to 3, the number of groups; got 1"),
        ((["a", "b"], ["x", "x", "y"], 2), "one value for each of the 3 rows; got 2"),
    ],
)
def test_folds_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        folds(*arguments)

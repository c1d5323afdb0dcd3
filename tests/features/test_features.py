"""Feature sequences, step tables and paired features, in memory."""

import numpy as np
import pytest

from _features import AUDIO, RNG, VISUAL, make_steps
from earsight.errors import InputError, NotAvailableError
from earsight.features import FeatureSequence, PairedFeatures, StepTable

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

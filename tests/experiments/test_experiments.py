"""The comparison: what is learned from, what is asked, and who is better by luck."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earsight
from _spy import (
    QUICK,
    Spy,
    drawn,
    split_of,
    spy_fixture,  # noqa: F401 - a fixture
)
from earsight import discovery
from earsight.datasets import folds
from earsight.errors import InputError, UnknownNameError
from earsight.experiments.compare import Options, compare, split_specs
from earsight.experiments.protocol import Protocol
from earsight.experiments.table import tables, trained
from earsight.features import PairedFeatures
from earsight.metrics import paired_bootstrap

# What is learned from, and what is asked


def test_folds_are_those_of_the_data_sets_and_leave_the_test_rows_alone() -> None:
    data = drawn(split=split_of(120, 30))
    cut = QUICK.cut(data)
    expected = folds(data.labels[:90], None, 3)
    assert len(cut) == 3
    for fold, (train, test) in zip(cut, expected, strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)
    (official,) = Protocol(official_test=True).cut(data)
    np.testing.assert_array_equal(official.train, np.arange(90))
    np.testing.assert_array_equal(official.test, np.arange(90, 120))


def test_only_the_first_folds_are_run_where_that_is_asked(spy: type[Spy]) -> None:
    data, short = drawn(), Protocol(folds=3, seeds=1, max_folds=1)
    (all_folds, one_fold) = QUICK.cut(data), short.cut(data)
    assert len(one_fold) == 1
    np.testing.assert_array_equal(one_fold[0].test, all_folds[0].test)
    found = compare(data, ["cca", "spy"], short, options=Options(against="cca"))
    assert len(spy.fits) == 1
    asked = ~np.isnan(found.results[1].queries["audio->visual"]["ap"][0])
    np.testing.assert_array_equal(np.flatnonzero(asked), one_fold[0].test)
    held = found.results[1].directions["audio->visual"]["against"]
    assert 0 < held["p_map"] <= 1


def test_every_part_but_test_is_learned_from() -> None:
    split = np.repeat(["train", "val", "test"], [60, 30, 30])
    (fold,) = Protocol(official_test=True).cut(drawn(split=split))
    np.testing.assert_array_equal(fold.train, np.arange(90))


def test_test_rows_cannot_change_a_cross_validation() -> None:
    split = split_of(120, 30)
    data = drawn(split=split)
    spoiled = {m: x.copy() for m, x in data.views.items()}
    for x in spoiled.values():
        x[90:] = 1e6
    other = PairedFeatures(spoiled, data.labels, split=split)
    one, two = (compare(each, ["cca"], QUICK).results[0] for each in (data, other))
    assert one.directions == two.directions


def test_a_method_sees_the_training_rows_and_whole_groups_only(spy: type[Spy]) -> None:
    groups = np.arange(120) // 3
    data = drawn(group=groups, labels=np.arange(120) // 30)
    compare(data, ["spy"], QUICK)
    assert len(spy.fits) == 6
    for rows, fold in zip(spy.fits[::2], QUICK.cut(data), strict=True):
        np.testing.assert_array_equal(rows.views["audio"], data.views["audio"][fold.train])
        assert rows.groups is not None
        assert not set(rows.groups["audio"]) & set(groups[fold.test])


def test_all_methods_get_the_same_folds(spy: type[Spy]) -> None:
    compare(drawn(), ["spy", "spy:random=no"], Protocol(folds=3, seeds=1))
    for one, two in zip(spy.fits[:3], spy.fits[3:], strict=True):
        np.testing.assert_array_equal(one.views["visual"], two.views["visual"])


def test_unpaired_rows_keep_their_groups_in_one_fold_across_modalities() -> None:
    data = drawn()
    views = {"audio": data.views["audio"], "visual": data.views["visual"][:100]}
    groups = {"audio": np.arange(120) // 2, "visual": np.arange(100) // 2}
    labels = {"audio": data.labels, "visual": data.labels[:100]}
    unpaired = PairedFeatures(views, labels, group=groups)
    tested: dict[str, list[int]] = {"audio": [], "visual": []}
    for fold in QUICK.cut(unpaired):
        inside = {m: set(groups[m][rows]) for m, rows in fold.test.items()}  # type: ignore[union-attr]
        outside = {m: set(groups[m][rows]) for m, rows in fold.train.items()}  # type: ignore[union-attr]
        assert not (inside["audio"] | inside["visual"]) & (outside["audio"] | outside["visual"])
        for m, rows in fold.test.items():  # type: ignore[union-attr]
            tested[m] += rows.tolist()
    assert sorted(tested["audio"]) == list(range(120))
    assert sorted(tested["visual"]) == list(range(100))
    found = compare(unpaired, ["cluster_cca", "cca"], QUICK)
    assert found.results[0].directions["audio->visual"]["map"] > 0.3
    assert "recall@1" not in found.results[0].directions["audio->visual"]
    assert "needs paired rows" in (found.results[1].error or "")


def test_rows_without_labels_are_scored_by_their_paired_items(spy: type[Spy]) -> None:
    data = drawn()
    found = compare(PairedFeatures(data.views), ["cca", "spy"], QUICK)
    figures = found.results[0].directions["audio->visual"]
    assert "map" not in figures and figures["mrr"] > 0.1
    assert found.reference == "cca"
    (table, _) = tables(found)
    assert "MAP" not in table.columns and "median rank" in table.columns
    unpaired = PairedFeatures(data.views, ids={m: np.arange(120) for m in data.views})
    assert "cannot be scored" in (compare(unpaired, ["spy"], QUICK).results[0].error or "")


# Figures


def test_figures_are_the_means_over_folds_of_evaluate() -> None:
    data = drawn()
    (result,) = compare(data, ["cca:n_components=3"], QUICK).results
    scores = []
    for train, test in folds(data.labels, None, 3):
        model = earsight.method("cca", n_components=3)
        model.fit({m: x[train] for m, x in data.views.items()}, labels=data.labels[train])
        z = {m: model.transform(m, x[test]) for m, x in data.views.items()}
        scores.append(earsight.evaluate(z, labels=data.labels[test])["visual", "audio"])
        ap = result.queries["visual->audio"]["ap"][0, test]
        np.testing.assert_allclose(ap, scores[-1].ap)
        np.testing.assert_array_equal(
            result.queries["visual->audio"]["rank"][0, test], scores[-1].ranks
        )
    figures = result.directions["visual->audio"]
    maps = [one.map for one in scores]
    assert figures["map"] == pytest.approx(np.mean(maps))
    assert figures["map_std"] == pytest.approx(np.std(maps, ddof=1))
    assert figures["recall@5"] == pytest.approx(np.mean([one.recall[5] for one in scores]))
    assert figures["median_rank"] == pytest.approx(np.mean([one.median_rank for one in scores]))
    assert result.hyperparameters["n_components"] == 3
    assert result.fitted["n_components_"] == 3


def test_a_method_that_the_seed_does_not_change_is_fitted_once_a_fold(spy: type[Spy]) -> None:
    found = compare(drawn(), ["spy", "spy:random=no"], Protocol(folds=3, seeds=3))
    chancy, steady = found.results
    assert chancy.seeds == [0, 1, 2] and steady.seeds == [0]
    assert len(spy.fits) == 3 * 3 + 3 + 1  # one more, to see that it changes nothing
    assert chancy.queries["audio->visual"]["ap"].shape == (3, 120)
    assert steady.queries["audio->visual"]["ap"].shape == (1, 120)
    assert chancy.directions["audio->visual"]["map"] == pytest.approx(
        np.mean([_fold_maps(chancy, seed) for seed in range(3)])
    )


def _fold_maps(result: Any, seed: int) -> float:
    ap = result.queries["audio->visual"]["ap"][seed]
    return float(np.mean([ap[test].mean() for _, test in folds(drawn().labels, None, 3)]))


def test_a_method_that_fails_does_not_lose_the_others() -> None:
    found = compare(drawn(), ["zero_shot", "cca", "cca:n_components=13"], QUICK)
    wide, able, large = found.results
    assert "share one space" in (wide.error or "") and "at most 12" in (large.error or "")
    assert able.error is None and [r.method for r in found.failed] == [wide.method, large.method]
    assert found.ranked()[0] is able and found.reference == "cca"
    for table in tables(found):
        assert [row[0] for row in table.rows] == ["cca", "chance"]


def test_what_is_wrong_is_said_before_anything_is_fitted(spy: type[Spy]) -> None:
    data = drawn()
    for methods, protocol, options, message in (
        ([], QUICK, Options(), "at least one method"),
        (["spy", "cca:seed=3"], QUICK, Options(), "gives the seeds"),
        (["spy", "cca:rigde=1"], QUICK, Options(), "no hyper-parameter 'rigde'"),
        (["spy"], QUICK, Options(against="cca"), "`against` must be one of the methods"),
        (["spy"], Protocol(folds=121), Options(), "`n_folds` must be from 2 to 120"),
        (["spy"], Protocol(official_test=True), Options(log=Path("/nowhere/log")), "log of offic"),
        (["spy"], Protocol(official_test=True), Options(), "needs a log"),
    ):
        with pytest.raises(InputError, match=message):
            compare(data, methods, protocol, options=options)
    with pytest.raises(UnknownNameError):
        compare(data, ["spy", "ccca"], QUICK)
    odd = PairedFeatures({"a->b": data.views["audio"], "c": data.views["visual"]}, data.labels)
    with pytest.raises(InputError, match="must not hold '->'"):
        compare(odd, ["spy"], QUICK)
    assert not spy.fits


def test_an_official_test_needs_a_split(tmp_path: Path) -> None:
    protocol, options = Protocol(official_test=True), Options(log=tmp_path / "log")
    with pytest.raises(InputError, match="no split of their own"):
        compare(drawn(), ["cca"], protocol, options=options)
    with pytest.raises(InputError, match="no test row"):
        compare(drawn(split=split_of(120, 0)), ["cca"], protocol, options=options)


def test_lists_of_methods() -> None:
    assert split_specs("tnn:input=raw,margin=0.3, cca,cca") == ["tnn:input=raw,margin=0.3", "cca"]
    everything = split_specs("all")
    assert {"cca", "cluster_cca"} <= set(everything) <= set(discovery.names("methods"))
    assert not {"auto", "zero_shot"} & set(everything)
    assert set(everything) - set(split_specs(None)) == {"mean_cca", "scm"}


def test_methods_that_train_tell_of_their_epochs() -> None:
    lines: list[str] = []
    found = compare(drawn(), ["tnn:epochs=2", "cca"], QUICK, told=lines.append)
    assert found.failed == []
    assert "tnn:epochs=2, fold 2, seed 1: epoch 0 of 2" in lines
    assert any("tnn:epochs=2, fold 2, seed 1: epoch 2 of 2, loss 0." in line for line in lines)
    assert found.results[0].fitted["epochs"] == 2
    assert not {"device", "checkpoint"} & set(found.results[0].hyperparameters)
    (told,) = trained(found.results)
    assert told.startswith("tnn:epochs=2 stopped after all 2 epochs")


# Significance


def test_p_values_are_paired_bootstraps_over_queries_and_groups(spy: type[Spy]) -> None:
    data = drawn(group=np.arange(120) // 2)
    found = compare(data, ["cca", "spy"], QUICK)
    assert found.reference == "cca"
    best, other = (r.queries["audio->visual"]["ap"].mean(axis=0) for r in found.results)
    held = found.results[1].directions["audio->visual"]["against"]
    assert held["method"] == "cca"
    assert held["p_map"] == paired_bootstrap(best, other, groups=np.arange(120) // 2)
    ranks = [(r.queries["audio->visual"]["rank"] <= 10).mean(axis=0) for r in found.results]
    assert held["p_recall@10"] == paired_bootstrap(*ranks, groups=np.arange(120) // 2)
    assert found.results[0].directions["audio->visual"]["against"] == {"method": "cca"}


def test_the_method_to_test_against_can_be_chosen(spy: type[Spy]) -> None:
    found = compare(drawn(400), ["cca", "spy"], QUICK, options=Options(against="spy"))
    held = found.results[0].directions["audio->visual"]["against"]
    assert held["method"] == "spy" and held["p_map"] > 0.95

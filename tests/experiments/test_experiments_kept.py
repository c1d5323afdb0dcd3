"""Comparisons: what is kept, resumed and logged, what others' tools say of it, what is shown."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval

import earsight
from _spy import (
    DIRECTIONS,
    QUICK,
    Spy,
    drawn,
    split_of,
    spy_fixture,  # noqa: F401 - a fixture
)
from earsight.errors import InputError
from earsight.experiments import provenance
from earsight.experiments.compare import Options, compare
from earsight.experiments.official import read_looks
from earsight.experiments.perquery import write_per_query
from earsight.experiments.protocol import Protocol
from earsight.experiments.published import figures_for
from earsight.experiments.table import tables
from earsight.features import PairedFeatures
from earsight.methods import JointEmbedding

METHODS_PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


# Files


def test_results_are_kept_method_by_method(tmp_path: Path, spy: type[Spy]) -> None:
    file, data = tmp_path / "out.json", drawn()
    compare(data, ["spy", "cca"], QUICK, options=Options(json=file))
    record = json.loads(file.read_text())["spy"]
    assert set(DIRECTIONS) <= set(record)
    assert {"map", "map_std", "recall@1", "recall@10"} <= set(record["audio->visual"])
    assert record["fit_seconds"] >= 0 and record["seeds"] == [0, 1]
    assert record["about"]["data"]["sha256"] == provenance.checksum(data)
    assert record["about"]["versions"]["numpy"] == np.__version__
    n = len(spy.fits)
    again = compare(data, ["cca", "spy", "spy:random=no"], QUICK, options=Options(json=file))
    assert again.kept == ["cca", "spy"]
    assert len(spy.fits) == n + 4  # the third alone
    held = again.results[1].directions["audio->visual"]["against"]
    assert 0 < held["p_map"] <= 1  # of kept queries
    compare(data, ["spy"], QUICK, options=Options(json=file, again=True))
    assert len(spy.fits) == n + 4 + 6
    assert set(json.loads(file.read_text())) == {"cca", "spy", "spy:random=no"}


def test_a_comparison_that_was_stopped_goes_on(
    tmp_path: Path, spy: type[Spy], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = tmp_path / "out.json", drawn()
    fit = earsight.method("cluster_cca").fit.__func__

    def stopped(self: JointEmbedding, *given: Any, **named: Any) -> Any:
        if self.name == "cluster_cca":
            raise KeyboardInterrupt
        return fit(self, *given, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(JointEmbedding, "fit", stopped)
        compare(data, ["spy", "cluster_cca"], QUICK, options=Options(json=file))
    n = len(spy.fits)
    found = compare(data, ["spy", "cluster_cca"], QUICK, options=Options(json=file))
    assert found.kept == ["spy"] and len(spy.fits) == n
    assert not found.failed


def test_failures_and_damaged_figures_are_tried_again(tmp_path: Path, spy: type[Spy]) -> None:
    file, data = tmp_path / "out.json", drawn()
    compare(data, ["spy", "zero_shot"], QUICK, options=Options(json=file))
    (tmp_path / "out.queries" / "spy.npz").write_bytes(b"PK damaged")
    n = len(spy.fits)
    again = compare(data, ["spy", "zero_shot"], QUICK, options=Options(json=file))
    assert again.kept == [] and len(spy.fits) == 2 * n


def test_results_of_another_comparison_are_not_mixed(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    compare(drawn(), ["cca"], QUICK, options=Options(json=file))
    for data, protocol in ((drawn(100), QUICK), (drawn(), Protocol(folds=3, seeds=1))):
        with pytest.raises(InputError, match="other data or another protocol"):
            compare(data, ["cca"], protocol, options=Options(json=file))
    compare(drawn(100), ["mean_cca"], QUICK, options=Options(json=file, again=True))
    assert list(json.loads(file.read_text())) == ["mean_cca"]
    file.write_text('{"a": 1}')
    with pytest.raises(InputError, match="not the result of a comparison"):
        compare(drawn(), ["cca"], QUICK, options=Options(json=file))
    assert file.read_text() == '{"a": 1}'


def test_the_checksum_is_of_what_decides() -> None:
    data = drawn(split=split_of(120, 20), group=np.arange(120))
    known = provenance.checksum(data)
    assert known == provenance.checksum(drawn(split=data.split, group=data.group, ids=range(120)))
    views = {m: x.copy() for m, x in data.views.items()}
    views["visual"][7, 3] += 1
    for other in (
        PairedFeatures(views, data.labels, split=data.split, group=data.group),
        PairedFeatures(data.views, data.labels[::-1], split=data.split, group=data.group),
        PairedFeatures(data.views, data.labels, split=data.split),
        PairedFeatures(data.views, data.labels, group=data.group),
        PairedFeatures(dict(reversed(data.views.items())), data.labels, split=data.split),
    ):
        assert provenance.checksum(other) != known


def test_looks_at_an_official_test_are_logged(tmp_path: Path) -> None:
    log, file, data = tmp_path / "log", tmp_path / "out.json", drawn(split=split_of(120, 40))
    protocol = Protocol(official_test=True, seeds=2)
    for methods in (["cca"], ["cca", "mean_cca"], ["zero_shot"]):
        options = Options(json=file, log=log)
        found = compare(data, methods, protocol, name="ours", options=options)
    looks = read_looks(log)
    assert [look["method"] for look in looks] == ["cca", "mean_cca", "zero_shot"]
    assert all(look["data"] == "ours" and look["date"] for look in looks)
    assert looks[0]["audio->visual"]["map"] > 0 and looks[2]["error"] == found.results[0].error
    compare(data, ["cca"], QUICK, options=Options(log=log))
    assert len(read_looks(log)) == 3


def test_a_look_that_is_broken_off_is_logged(tmp_path: Path, spy: type[Spy]) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    options, data = Options(log=tmp_path / "log"), drawn(split=split_of(120, 40))
    with pytest.raises(KeyboardInterrupt):
        compare(data, ["spy"], Protocol(official_test=True), options=options, told=stop)
    (look,) = read_looks(tmp_path / "log")
    assert look["method"] == "spy" and look["error"] == "stopped"


# Others' tools and others' figures


@pytest.mark.parametrize("protocol", [QUICK, Protocol(official_test=True)])
def test_trec_eval_agrees(tmp_path: Path, protocol: Protocol) -> None:
    data = drawn(200, split=split_of(200, 80), labels=np.arange(200) % 3)
    options = Options(trec=tmp_path / "trec", log=tmp_path / "log")
    (result,) = compare(data, ["cca"], protocol, options=options).results
    for direction in DIRECTIONS:
        name = direction.replace("->", "-")
        with (tmp_path / "trec" / f"{name}.qrels").open() as file:
            relevant = pytrec_eval.parse_qrel(file)
        with (tmp_path / "trec" / f"cca.{name}.run").open() as file:
            ranked = pytrec_eval.parse_run(file)
        theirs = pytrec_eval.RelevanceEvaluator(relevant, {"map"}).evaluate(ranked)
        ap = result.queries[direction]["ap"][0]
        asked = np.flatnonzero(~np.isnan(ap))
        assert sorted(ranked) == sorted(f"r{row}" for row in asked)
        # trec_eval breaks ties by name; we score a tied block as one.
        rows = [
            row for row in asked if len({*ranked[f"r{row}"].values()}) == len(ranked[f"r{row}"])
        ]
        assert len(rows) > 0.9 * len(asked)
        np.testing.assert_allclose([theirs[f"r{row}"]["map"] for row in rows], ap[rows], atol=1e-6)
        own = [{f"r{row}": {f"r{row}": 1}} for row in rows]
        merged = {query: items for each in own for query, items in each.items()}
        ranks = pytrec_eval.RelevanceEvaluator(merged, {"recip_rank"}).evaluate(ranked)
        np.testing.assert_allclose(
            [1 / ranks[f"r{row}"]["recip_rank"] for row in rows],
            result.queries[direction]["rank"][0, rows],
        )


def test_run_files_that_are_asked_for_later_are_made(tmp_path: Path) -> None:
    data, file = drawn(), tmp_path / "out.json"
    compare(data, ["cca"], QUICK, options=Options(json=file))
    options = Options(json=file, trec=tmp_path / "trec")
    assert compare(data, ["cca"], QUICK, options=options).kept == []
    assert compare(data, ["cca"], QUICK, options=options).kept == ["cca"]
    other = Options(json=tmp_path / "other.json", trec=options.trec)
    compare(drawn(90), ["cca"], QUICK, options=other)
    assert compare(data, ["cca"], QUICK, options=options).kept == []


def test_figures_of_each_query(tmp_path: Path, spy: type[Spy]) -> None:
    data = drawn(ids=[f"clip{i}" for i in range(120)])
    found = compare(data, ["spy", "cca"], QUICK)
    write_per_query(tmp_path / "q.csv", found, data)
    with (tmp_path / "q.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 120 * (2 + 1)
    line = next(x for x in lines if (x["method"], x["seed"], x["row"]) == ("spy", "1", "17"))
    assert line["id"] == "clip17" and line["label"] == str(data.labels[17])
    ap = found.results[0].queries[line["direction"]]["ap"][1, 17]
    assert float(line["ap"]) == pytest.approx(ap, rel=1e-5)


def test_published_figures_stand_beside_ours_where_the_protocol_is_theirs(tmp_path: Path) -> None:
    data = drawn(split=split_of(120, 40))
    assert figures_for("wikipedia", QUICK) == () == figures_for("data", QUICK)
    assert figures_for("vegas", QUICK) == () != figures_for("vegas", Protocol(folds=5))
    options = Options(log=tmp_path / "log")
    official = Protocol(official_test=True)
    found = compare(data, ["cca", "mean_cca"], official, name="wikipedia", options=options)
    first, second = tables(found)
    assert {row[first.columns.index("±")] for row in first.rows} == {""}  # one fit each
    at = first.columns.index("published")
    cells = {row[0]: row[at] for row in first.rows}
    assert cells["cca"].startswith("0.249 [") and cells["mean_cca"] == ""
    assert any(row[at].startswith("0.228 [") for row in second.rows if "JFSSL" in row[0])
    assert any("Rasiwasia" in note and "not checked" in note for note in first.notes)
    vegas = compare(drawn(), ["cluster_cca"], Protocol(folds=5), name="vegas")
    notes = " ".join(tables(vegas)[1].notes)
    assert "0.6435 [1]" in str(tables(vegas)[1].rows) and "0.7076 (a saved notebook" in notes


def test_map_by_output_size(tmp_path: Path) -> None:
    options = Options(sizes=(2, 3, 40), json=tmp_path / "out.json")
    data = drawn()
    (result,) = compare(data, ["cca"], QUICK, options=options).results
    (alone,) = compare(data, ["cca:n_components=3"], QUICK).results
    assert result.sizes["3"] == {d: alone.directions[d]["map"] for d in DIRECTIONS}
    assert "at most" in result.sizes["40"]["error"] and result.error is None
    assert compare(data, ["cca"], QUICK, options=options).kept == ["cca"]
    more = Options(sizes=(4,), json=options.json)
    assert compare(data, ["cca"], QUICK, options=more).kept == []

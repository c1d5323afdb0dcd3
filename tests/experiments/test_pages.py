"""What a comparison is made of and where it is shown: sources, commits, pages."""

import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest

from _spy import (
    QUICK,
    drawn,
    spy_fixture,  # noqa: F401 - a fixture
)
from earsight import discovery
from earsight.datasets import synthetic
from earsight.errors import FeatureFileError, InputError
from earsight.experiments import provenance, results
from earsight.experiments.compare import Comparison, compare
from earsight.experiments.document import has_block, replace_block, write_page
from earsight.experiments.inputs import open_source
from earsight.experiments.table import tables

METHODS_PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_commit_is_our_own_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = provenance.commit()
    assert commit is None or len(commit.removesuffix("-dirty")) >= 12
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.commit.__wrapped__() is None


def test_a_table_is_not_published_from_changed_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, commits = tmp_path / "page.md", iter(["0123456789ab", "0123456789ab-dirty"])
    page.write_text("<!-- ours cross-validation --><!-- /ours cross-validation -->")
    monkeypatch.setattr(results, "commit", lambda: "0123456789ab")
    found = compare(drawn(), ["cca"], QUICK, name="ours")
    monkeypatch.setattr(provenance, "commit", lambda: next(commits))
    write_page(page, found, "Ours.")
    assert "commit 0123456789ab." in page.read_text()
    with pytest.raises(InputError, match=r"must come from a commit; files in .* differ from it"):
        write_page(page, found, "Ours.")
    found.results[0].about["commit"] += "-dirty"
    monkeypatch.setattr(provenance, "commit", lambda: "0123456789ab")
    with pytest.raises(InputError, match=r"the result of cca was kept by changed code.*--again"):
        write_page(page, found, "Ours.")


def test_code_that_was_changed_is_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "earsight"
    (package / "experiments").mkdir(parents=True)
    own = package / "experiments" / "provenance.py"
    own.write_text("")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "all")):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(provenance, "__file__", str(own))
    clean = provenance.commit.__wrapped__()
    assert clean is not None and len(clean) >= 12 and "-" not in clean
    (tmp_path / "README.md").write_text("no code")
    assert provenance.commit.__wrapped__() == clean
    (package / "new.py").write_text("")
    assert provenance.commit.__wrapped__() == f"{clean}-dirty"


# Sources and pages


def test_sources(tmp_path: Path) -> None:
    given = open_source("synthetic:n=60,classes=3,seed=1")
    assert given.name == "synthetic"
    expected = synthetic(n=60, classes=3, seed=1)
    np.testing.assert_array_equal(given.data.views["audio"], expected.views["audio"])
    for wrong in ("synthetic:n=many", "synthetic:dims=3", "synthetic:n"):
        with pytest.raises(InputError):
            open_source(wrong)
    with pytest.raises(InputError, match=r"wikipedia:DIR.*'nowhere' is none of them"):
        open_source("nowhere")
    for name in ("wikipedia", "vegas", "ave"):
        with pytest.raises(FeatureFileError):
            open_source(f"{name}:{tmp_path}")


def test_a_page_keeps_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (results, provenance):
        monkeypatch.setattr(module, "commit", lambda: "0123456789ab")
    page = tmp_path / "methods.md"
    own, name = ["# Methods, *by hand* \\1", "The end — truly."], "ours cross-validation"
    page.write_text(f"{own[0]}\n<!-- {name} -->STALE<!-- /{name} -->\n{own[1]}")
    found = compare(drawn(), ["cca", "mean_cca", "zero_shot"], QUICK, name="ours")
    assert write_page(page, found, "Ours, 3 folds.") == name
    once = page.read_text()
    for text in (*own, "| method | MAP |", "| mean_cca |", "zero_shot"):
        assert text in once
    assert "STALE" not in once
    write_page(page, found, "Ours, 3 folds.")
    assert page.read_text() == once
    left = replace_block(once, name, "").splitlines()
    assert [line for line in left if line and not line.startswith("<!--")] == own
    with pytest.raises(InputError, match="<!-- data cross-validation --> and <!-- /data"):
        write_page(page, compare(drawn(), ["cca"], QUICK), "")


def test_a_table_in_markdown_has_as_many_cells_in_each_row() -> None:
    found = compare(drawn(), ["cca", "cluster_cca"], QUICK)
    for table in tables(found):
        lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1 and len(lines) == 5


@pytest.mark.parametrize("name", [*discovery.names("methods")])
def test_every_method_has_its_section_in_the_page(name: str) -> None:
    text = METHODS_PAGE.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## `{name}`")
    assert found, f"docs/methods.md needs a section ## `{name}`"
    section = rest.partition("\n## ")[0]
    assert "**When:**" in section and "**Reference:**" in section
    measured = text.partition("<!-- wikipedia official test -->")[2]
    assert f"\n| {name} | " in measured or name in ("auto", "zero_shot")


def test_the_page_has_a_place_for_each_table_that_its_commands_make() -> None:
    text = METHODS_PAGE.read_text(encoding="utf-8")
    sources = ("wikipedia", "digits", "mfeat", "synthetic")
    names = [f"{name} cross-validation" for name in sources]
    for name in (*names, "wikipedia official test"):
        assert has_block(text, name), name
    for name in sources:
        assert f"earsight compare {name}" in text


def test_a_comparison_that_found_nothing_has_no_table() -> None:
    assert tables(Comparison(name="x", source="x", protocol=QUICK)) == []


def test_the_page_of_benchmarks_is_not_written_from_changed_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(METHODS_PAGE.parents[1] / "benchmarks" / "__main__.py"))["main"]
    ran: list[bool] = []
    monkeypatch.setitem(main.__globals__, "changes", lambda: " M src/earsight/linalg.py")
    monkeypatch.setitem(main.__globals__, "run", lambda *how: ran.append(how[-1]) or True)
    assert main(["cca"]) == 2 and not ran
    told = capsys.readouterr().out
    assert "must come from a commit" in told and "src/earsight/linalg.py" in told
    assert main(["cca", "--quick"]) == 0 and ran == [True]

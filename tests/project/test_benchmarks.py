"""The benchmarks' own arithmetic, and that one which fails or lacks a peer stops nothing."""

import importlib.util
import json
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from earsight.errors import WeightsError
from earsight.weights.catalogue import CATALOGUE
from earsight.weights.checks import check, nowhere
from earsight.weights.entries import UnavailableError

HERE = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a file of the benchmarks' folder, which is no package."""
    monkeypatch.syspath_prepend(str(HERE))

    def loaded(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def test_ratios_are_medians_of_the_rounds_ratios(load: Any) -> None:
    times = {"ours": [1.0, 2.0, 8.0], "theirs": [3.0, 4.0, 80.0]}
    rows = load("_harness").summary(times, {"ours": 1.0, "theirs": 2.0})
    assert rows["ours"] == {"seconds": 2.0, "ratio": 1.0, "peak_mib": 1.0, "rounds": 3}
    assert rows["theirs"]["seconds"] == 4.0
    assert rows["theirs"]["ratio"] == 3.0  # of 3, 2 and 10; that of the medians would be 2


def test_a_ratio_is_to_the_row_that_was_named(load: Any) -> None:
    times = {"a": [1.0], "a, theirs": [4.0], "b": [10.0], "b, theirs": [30.0], "floor": [0.5]}
    rows = load("_harness").summary(times, dict.fromkeys(times, 0.0), {"b": "b", "b, theirs": "b"})
    assert [row["ratio"] for row in rows.values()] == [1.0, 4.0, 1.0, 3.0, 0.5]


def test_questions_are_put_in_turns_after_others_that_do_not_count(load: Any) -> None:
    harness, put = load("_harness"), []
    tasks = {name: lambda i, name=name: put.append((name, i)) for name in ("ours", "theirs")}
    times = harness.answered(tasks, 20)
    numbers = [20, 21, *range(20)]
    assert put == [(name, i) for i in numbers for name in tasks]
    assert [len(own) for own in times.values()] == [20, 20]
    rows = harness.percentiles({"ours": [0.001, 0.003, 0.002], "theirs": [0.004, 0.006, 0.002]})
    assert rows["ours"] == {"p50 ms": 2.0, "p99 ms": 2.98, "ratio": 1.0}
    assert rows["theirs"]["ratio"] == 2.0  # of 4, 2 and 1


@pytest.mark.parametrize(
    ("code", "last", "lacking"),
    [
        (77, "there is no folder clips", True),
        (1, "ModuleNotFoundError: No module named 'faiss'", True),
        (1, "ModuleNotFoundError: No module named 'faiss.contrib'", True),
        (1, "ModuleNotFoundError: No module named 'earsight.gone'", False),
        (1, "ModuleNotFoundError: No module named '_recordings'", False),
        (1, "ModuleNotFoundError: No module named 'cca.rows'; 'cca' is not a package", False),
        (1, "earsight.errors.WeightsError: The disk that holds weights is full", False),
        (1, "ValueError: no", False),
    ],
)
def test_what_is_lacking_is_told_from_what_fails(code: int, last: str, lacking: bool) -> None:
    assert runpy.run_path(str(HERE / "__main__.py"))["lacks"](code, last) is lacking


def test_weights_that_are_others_are_a_failure_those_out_of_reach_are_not(
    load: Any, tmp_path: Path
) -> None:
    main = runpy.run_path(str(HERE / "__main__.py"))
    entry = CATALOGUE["yamnet"]
    member = next(m for source in entry.sources for m in source.members if m.sha256)
    (tmp_path / member.name).write_bytes(b"something else")
    with pytest.raises(UnavailableError) as other:
        check(member, tmp_path / member.name)
    for reason, lacking in (("no connection within 10 s", True), (str(other.value), False)):
        error = WeightsError(nowhere(entry, [f"hub: {reason}"]))
        whole = "".join(traceback.format_exception(error))
        told = main["last_words"](f"Traceback (most recent call last):\n  here\n{whole}\n")
        assert told.startswith("earsight.errors.WeightsError: The weights yamnet (")
        assert main["lacks"](1, told) is lacking
        if lacking:
            assert load("_harness").only_absent(error) == str(error)
        else:
            with pytest.raises(WeightsError, match="has the wrong checksum"):
                load("_harness").only_absent(error)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.000254, "0.000254"), (0.0502, "0.0502"), (1.2, "1.20"), (371.4, "371")],
)
def test_seconds_are_shown_to_three_digits(seconds: float, shown: str) -> None:
    assert runpy.run_path(str(HERE / "__main__.py"))["_cell"]("seconds", seconds) == shown


def test_scaled_tasks_count_for_the_whole(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = load("_harness")
    clock = iter(range(1000))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(clock)))
    tasks = {"whole": lambda: None, "tenth": lambda: None}
    rows = harness.compare(tasks, rounds=3, scale={"tenth": 10.0})
    assert rows["whole"]["seconds"] == 1.0
    assert rows["tenth"]["seconds"] == rows["tenth"]["ratio"] == 10.0


def test_the_peak_is_what_was_allocated_at_once(load: Any) -> None:
    def task() -> None:
        for _ in range(3):
            np.ones(2**20)  # 8 MiB each, one after another

    assert load("_harness").peak_mib(task) == pytest.approx(8, abs=0.5)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_of_known_curves_is_found(load: Any, power: float) -> None:
    load("_harness")
    sizes = np.array([1000, 2000, 5000, 30_000])
    noise = np.array([1.01, 0.99, 1.0, 1.005])
    found = load("_growth").exponent(sizes, 3e-5 * sizes**power * noise)
    assert found == pytest.approx(power, abs=0.01)


def test_growth_is_measured_fitted_and_drawn(
    load: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load("_harness")
    growth = load("_growth")
    monkeypatch.setattr(growth, "PICTURES", tmp_path)
    sizes = [2**17, 2**18, 2**19, 2**20]
    found = growth.grow("ones", "numbers", sizes, lambda n: lambda: np.ones(n), rounds=1)
    assert [row["size"] for row in found["rows"]] == sizes
    assert found["memory"] == pytest.approx(1, abs=0.02)
    assert "<svg" in (tmp_path / "growth-ones.svg").read_text()
    with pytest.raises(ValueError, match="at least four sizes; got 3"):
        growth.grow("few", "numbers", sizes[:3], lambda n: lambda: None)


def test_a_peer_that_is_not_installed_is_named_and_left_out(load: Any) -> None:
    def absent() -> Any:
        import no_such_peer  # type: ignore[import-not-found]

        return no_such_peer.fit

    tasks, missing = load("_harness").with_peers({"ours": list}, {"them": absent, "us": lambda: id})
    assert list(tasks) == ["ours", "us"]
    assert "no_such_peer" in missing["them"] and "[bench]" in missing["them"]


def test_aims_know_their_side(load: Any) -> None:
    aim = load("_harness").Aim
    assert aim("", 1.5, 1.4).met and not aim("", 1.5, 1.6).met
    assert aim("", 4, 4.2, at_least=True).met and not aim("", 4, 3.9, at_least=True).met


SCRIPTS = {
    "good": """
import sys
from pathlib import Path
from _harness import Aim, compare, report
found = compare({"ours": lambda: None, "theirs": lambda: None}, rounds=2)
report("good work", found, Path(sys.argv[2]) / "good.json", aims=[Aim("ratio", 9, 2.5)], seen=3)
""",
    "bad": "raise SystemExit('the disk is full')",
    "lacking": "from _harness import absent; absent('there are no clips')",
    "silent": "",
}


def test_a_benchmark_that_fails_is_told_on_the_page_and_stops_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("__main__", "_harness"):
        (folder / f"{name}.py").write_text((HERE / f"{name}.py").read_text())
    for name, text in SCRIPTS.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "benchmarks"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and "failed: bad, silent" in run.stdout
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "It did not run: the disk is full" in page
    assert "It did not run: it wrote nothing" in page
    assert "Not measured here: there are no clips" in page
    assert "- aims met: ratio: 2.50 (≤ 9)\n- seen: 3\n" in page
    assert "| ours | " in page and "commit unknown" in page and "numpy" in page
    record = json.loads((tmp_path / "build" / "benchmarks" / "good.json").read_text())
    assert record["results"]["ours"]["rounds"] == 2
    unknown = subprocess.run([*command, "nine"], cwd=tmp_path, capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "no benchmark 'nine'. There are: bad, good, lacking, silent." in unknown.stdout
    quick = subprocess.run([*command, "--quick", "good"], cwd=tmp_path, capture_output=True)
    assert quick.returncode == 0
    record = json.loads((tmp_path / "build/benchmarks/quick/good.json").read_text())
    assert record["results"]["ours"]["rounds"] == 1
    assert (tmp_path / "docs" / "benchmarks.md").read_text() == page


MAY_LACK = {  # what is not on every machine: clips, weights
    "zero_shot": "there are no folders of real clips",
    **dict.fromkeys(
        ("extraction", "indexing", "moments", "plan", "rhythm", "short_files", "sights", "sounds"),
        "earsight.errors.WeightsError: ",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", runpy.run_path(str(HERE / "__main__.py"))["names"]())
def test_every_benchmark_runs_when_small(name: str, tmp_path: Path) -> None:
    assert runpy.run_path(str(HERE / "__main__.py"))["run"](name, tmp_path, True)
    record = json.loads((tmp_path / f"{name}.json").read_text())
    if "absent" in record:
        assert name in MAY_LACK and record["absent"].startswith(MAY_LACK[name]), record["absent"]
    else:
        assert record["results"]

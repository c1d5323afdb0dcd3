"""`earsight extract --part i/n` and `earsight join`: many machines, and the file of one."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _clips import make_clip
from _extracting import QUICK, here
from _folders import fill, same
from earsight import engine
from earsight.errors import FeatureFileError, InputError, LibraryError
from earsight.extraction.extract import Extraction, extract
from earsight.extraction.sharding import Part, join
from earsight.features import PairedFeatures, read_features, write_features

NAMES = [f"{colour}/{number}.mp4" for colour in ("red", "blue") for number in range(5)]
N = 3


@pytest.fixture(autouse=True)
def read_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run", here)


def run(clips: Path, output: Path, part: str | None = None, **more: object) -> Extraction:
    chosen = Part.parse(part) if part else None
    return extract(clips, output, QUICK, part=chosen, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A folder with most of what people have, its file of one run, and its parts."""
    root = tmp_path_factory.mktemp("partition")
    clips = root / "clips"
    fill(clips, [*NAMES, "no-label.mp4"])
    shutil.copy(clips / "red/0.mp4", clips / "blue/a copy.mp4")
    shutil.copy(clips / "red/1.mp4", clips / os.fsdecode(b"blue/caf\xff.mp4"))
    make_clip(clips / "red" / "silent.mp4", audio=False)
    (clips / "red" / "text.mp4").write_text("This is no film.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "run", here)
        run(clips, root / "whole.h5")
        parts = [root / f"part-{i}.h5" for i in range(1, N + 1)]
        for i, file in enumerate(parts, 1):
            run(clips, file, f"{i}/{N}")
    return clips, root / "whole.h5", parts


# Which clips


@given(st.binary(min_size=1, max_size=20), st.integers(1, 50))
def test_each_clip_is_in_the_one_part_that_its_digest_says(path: bytes, n: int) -> None:
    where = int(hashlib.sha256(path).hexdigest()[:16], 16) % n + 1
    assert [i for i in range(1, n + 1) if Part(i, n).holds(path)] == [where]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "1/3 ", "a/b", "", "1/3/5"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(InputError, match=r"i/n with i from 1 to n, such as 3/10; got "):
        Part.parse(text)


# The parts are the whole


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_joined_parts_are_the_file_of_one_run(
    made: tuple[Path, Path, list[Path]], tmp_path: Path, ending: str
) -> None:
    _, whole, parts = made
    report = join(parts[::-1], tmp_path / f"joined{ending}")
    assert (report.n_rows, report.n_clips, report.missing) == (12, 15, ())
    same(read_features(report.output), read_features(whole))
    assert [path.name for path in tmp_path.iterdir()] == [report.output.name]


def test_labels_are_those_of_the_whole_folder(
    made: tuple[Path, Path, list[Path]], tmp_path: Path
) -> None:
    """Of a label file as well: it stands in the parts by its content."""
    clips, _, _ = made
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{n},{n[:3]}\n" for n in NAMES[2:8]))
    whole = run(clips, tmp_path / "whole.h5", labels=str(table)).output
    parts = [run(clips, tmp_path / f"{i}.h5", f"{i}/2", labels=str(table)).output for i in (1, 2)]
    same(read_features(join(parts, tmp_path / "f.h5").output), read_features(whole))


def test_a_part_is_run_again_and_grows_alone(
    made: tuple[Path, Path, list[Path]], tmp_path: Path
) -> None:
    clips, file = tmp_path / "clips", tmp_path / "part.h5"
    shutil.copytree(made[0], clips)
    shutil.copy(made[2][0], file)
    before = run(clips, file, f"1/{N}")
    assert before.n_read <= 1  # what waits for a label lies beside the file that was copied
    again = run(clips, file, f"1/{N}")
    assert (again.n_read, again.written) == (0, False)
    for number in range(12):
        make_clip(clips / "red" / f"new {number}.mp4", tone=2000 + 50 * number)
    mine = sum(Part(1, N).holds(f"red/new {number}.mp4".encode()) for number in range(12))
    after = run(clips, file, f"1/{N}")
    assert 0 < mine < 12 and after.n_read == mine and after.n_rows == before.n_rows + mine


def test_a_stopped_part_goes_on(
    made: tuple[Path, Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, _, parts = made
    file = tmp_path / "part.h5"

    def stopped(work: object, items: list[object], **_: object) -> object:
        yield items[0], work(items[0])  # type: ignore[operator]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(clips, file, f"2/{N}")
    assert not file.exists()
    report = run(clips, file, f"2/{N}")
    assert report.n_read == run(clips, tmp_path / "anew.h5", f"2/{N}").n_read - 1
    same(read_features(file), read_features(parts[1]))


# What is refused


def test_another_part_into_the_same_file(
    made: tuple[Path, Path, list[Path]], tmp_path: Path
) -> None:
    clips, whole, parts = made
    file = parts[0]
    before = file.read_bytes()
    for part, asked in ((f"2/{N}", f"part 2/{N}"), ("1/4", "part 1/4"), (None, "the whole folder")):
        with pytest.raises(FeatureFileError, match=rf"holds part 1/{N}; asked for was {asked}"):
            run(clips, file, part)
    assert file.read_bytes() == before
    with pytest.raises(FeatureFileError, match=r"holds the whole folder; asked for was part 1/3"):
        run(clips, whole, f"1/{N}")


def test_a_part_without_clips(tmp_path: Path) -> None:
    fill(tmp_path / "clips", ["a.mp4"])
    empty = 1 if Part(2, 2).holds(b"a.mp4") else 2
    with pytest.raises(LibraryError, match=f"nothing playable of part {empty}/2"):
        run(tmp_path / "clips", tmp_path / "f.h5", f"{empty}/2")


def test_missing_and_repeated_parts(made: tuple[Path, Path, list[Path]], tmp_path: Path) -> None:
    clips, whole, parts = made
    output = tmp_path / "f.h5"
    with pytest.raises(FeatureFileError, match=r"All 3 parts must be there; missing: 1, 3\."):
        join(parts[1:2], output)
    shutil.copy(parts[1], tmp_path / "again.h5")
    with pytest.raises(FeatureFileError, match="are both part 2"):
        join([*parts, tmp_path / "again.h5"], output)
    for files in ([*parts, parts[0]], parts):
        with pytest.raises(FeatureFileError, match="must be given once"):
            join(files, parts[0] if files is parts else output)
    with pytest.raises(FeatureFileError, match="is no part"):
        join([*parts, whole], output)
    with pytest.raises(InputError, match="got none"):
        join([], output)
    assert not output.exists()
    assert join(parts[1:], output, partial=True).missing == (1,)
    run(clips, output)  # which brings what is missing
    same(read_features(output), read_features(whole))


@pytest.mark.parametrize(
    ("change", "what"),
    [("extractor", "extractors"), ("of", "number of parts"), ("labels", "label setting")],
)
def test_parts_that_differ(
    made: tuple[Path, Path, list[Path]], tmp_path: Path, change: str, what: str
) -> None:
    clips, _, parts = made
    specs = QUICK | ({"visual": "colour_edges:fps=1"} if change == "extractor" else {})
    other = Part(3, 4 if change == "of" else N)
    labels = "none" if change == "labels" else "folders"
    extract(clips, tmp_path / "3.h5", specs, part=other, labels=labels)
    with pytest.raises(FeatureFileError, match=f"must agree in their {what}"):
        join([*parts[:2], tmp_path / "3.h5"], tmp_path / "f.h5")
    assert not (tmp_path / "f.h5").exists()


def test_files_of_other_hands_stay(made: tuple[Path, Path, list[Path]], tmp_path: Path) -> None:
    file = tmp_path / "theirs.h5"
    write_features(file, PairedFeatures({"audio": np.ones((2, 3))}))
    before = file.read_bytes()
    with pytest.raises(FeatureFileError, match="was not made by extract"):
        join(made[2], file)
    assert file.read_bytes() == before


def test_parts_with_labels_and_without(made: tuple[Path, Path, list[Path]], tmp_path: Path) -> None:
    """A machine that sees one folder of the clips sees no classes."""
    shutil.copytree(made[0] / "red", tmp_path / "clips" / "red")
    run(tmp_path / "clips", tmp_path / "3.h5", f"3/{N}")
    with pytest.raises(FeatureFileError, match="must agree in their having labels"):
        join([*made[2][:2], tmp_path / "3.h5"], tmp_path / "f.h5")


def test_the_commands(made: tuple[Path, Path, list[Path]], tmp_path: Path) -> None:
    def earsight(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "earsight", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    how = ("--audio", "log_mel", "--visual", "colour_edges")
    wrong = earsight("extract", made[0], "-o", tmp_path / "p.h5", *how, "--part", "4/3")
    assert wrong.returncode == 1 and "such as 3/10; got '4/3'" in wrong.stderr
    done = earsight("extract", made[0], "-o", tmp_path / "p.h5", *how, "--part", "1/3")
    assert done.returncode in (0, 3), done.stderr
    same(read_features(tmp_path / "p.h5"), read_features(made[2][0]))
    done = earsight("join", *made[2][1:], "-o", tmp_path / "f.h5", "--partial")
    assert done.returncode == 0 and "missing parts: 1" in done.stderr

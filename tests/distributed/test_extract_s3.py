"""`earsight extract` and `join` with clips and files on S3, against a server on loopback."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _clips import make_clip
from _extracting import QUICK, here
from _folders import fill, same
from _s3 import REFUSING, Server, s3_server
from earsight import engine
from earsight.errors import FeatureFileError, InputError, StorageError
from earsight.extraction.extract import Extraction, extract
from earsight.extraction.remote_output import RemoteWorkingCopy
from earsight.extraction.sharding import Part, join
from earsight.extraction.sources import Below
from earsight.features import read_features
from earsight.storage import Remote, parse_location

NAMES = ["red/a.mp4", "red/b.mp4", "blue/c.mp4", "blue/d.mp4"]
CLIPS = Remote("clips", "mine")
OUTPUT = Remote("clips", "out/features.h5")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "run", here)
    monkeypatch.setenv("EARSIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = tmp_path_factory.mktemp("s3") / "clips"
    fill(clips, NAMES)
    shutil.copy(clips / "red/a.mp4", clips / "blue/a copy.mp4")
    (clips / "red" / "text.mp4").write_text("This is no film.")
    (clips / "red" / ".hidden.mp4").write_text("Nobody's.")
    (clips / "notes.pdf").write_text("Passed over.")
    return clips


def put(folder: Path, under: Remote = CLIPS) -> None:
    for path in folder.rglob("*.*"):
        (under / str(path.relative_to(folder))).upload(path)


def run(clips: Path | Remote, output: Path | Remote, part: str | None = None) -> Extraction:
    return extract(clips, output, QUICK, part=Part.parse(part) if part else None)


def got(remote: Remote, folder: Path) -> Path:
    path = folder / f"got-{remote.name}"
    remote.download(path)
    return path


def arrays(path: Path) -> dict[str, list[float]]:
    """What must agree of two runs over the same clips in two places: all but the files' times."""
    features = read_features(path)
    found = {m: view.tolist() for m, view in features.views.items()}
    steps = {
        f"{m}+": table.rows(0, len(table.times)).tolist() for m, table in features.steps.items()
    }
    columns = {"ids": features.ids, "labels": features.labels, "group": features.group}
    return found | steps | {name: list(column) for name, column in columns.items()}


# In and out


def test_clips_and_file_on_s3_are_those_of_a_folder(
    folder: Path,
    s3: Server,
    tmp_path: Path,
) -> None:
    put(folder)
    report = run(CLIPS, OUTPUT)
    assert (report.n_clips, report.n_rows, report.written) == (6, 5, True)
    assert [name for name, *_ in report.trouble] == ["red/text.mp4"]
    here_too = run(folder, tmp_path / "local.h5")
    assert arrays(got(OUTPUT, tmp_path)) == arrays(tmp_path / "local.h5")
    assert here_too.labels == report.labels == {"blue": 3, "red": 2}
    assert [p for p in (tmp_path / "home").rglob("*") if p.is_file()] == []


def test_the_second_run_reads_what_is_new(folder: Path, s3: Server, tmp_path: Path) -> None:
    put(folder)
    run(CLIPS, OUTPUT)
    before = OUTPUT.info()
    again = run(CLIPS, OUTPUT)
    assert (again.n_read, again.written, OUTPUT.info()) == (0, False, before)
    make_clip(tmp_path / "new.mp4", tone=2500)
    (CLIPS / "red/new.mp4").upload(tmp_path / "new.mp4")
    after = run(CLIPS, OUTPUT)
    assert (after.n_read, after.n_rows, after.written) == (1, 6, True)


def test_parts_on_s3_are_joined_on_s3(folder: Path, s3: Server, tmp_path: Path) -> None:
    put(folder)
    run(CLIPS, tmp_path / "whole.h5")
    parts = [Remote("clips", f"part-{i}.h5") for i in (1, 2)]
    made = [part for i, part in enumerate(parts, 1) if run(CLIPS, part, f"{i}/2")]
    report = join([*made[:1], got(made[1], tmp_path)], OUTPUT)
    assert (str(report.output), report.n_rows) == ("s3://clips/out/features.h5", 5)
    same(read_features(got(OUTPUT, tmp_path)), read_features(tmp_path / "whole.h5"))
    with pytest.raises(FeatureFileError, match="must be given once"):
        join([*parts, parts[0]], OUTPUT)
    with pytest.raises(FeatureFileError, match=r"s3://clips/out/features.h5 must be none"):
        join([*parts, OUTPUT], OUTPUT)


def test_the_commands(folder: Path, s3: Server, tmp_path: Path) -> None:
    put(folder)

    def earsight(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "earsight", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    how = ("--audio", "log_mel", "--visual", "colour_edges", "--json")
    done = earsight("extract", "s3://clips/mine", "-o", "s3://clips/f.h5", *how)
    assert done.returncode == 3, done.stderr  # one clip is no film
    assert json.loads(done.stdout)["output"] == "s3://clips/f.h5"
    assert arrays(got(Remote("clips", "f.h5"), tmp_path))["labels"].count("red") == 2
    wrong = earsight("extract", "s3://nobody/x", "-o", str(tmp_path / "f.h5"), *how)
    assert wrong.returncode == 1 and "There is no bucket 'nobody'" in wrong.stderr
    wrong = earsight("join", "s3://clips/f.h5", "-o", "s3://clips/g.h5")
    assert wrong.returncode == 1 and "s3://clips/f.h5 is no part" in wrong.stderr


# What fails, and what is kept


def test_a_file_that_cannot_be_sent_waits(
    folder: Path,
    s3: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise StorageError("The line was cut.")

    put(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "upload", refused)
        with pytest.raises(StorageError, match="line was cut"):
            run(CLIPS, OUTPUT)
    assert OUTPUT.info() is None
    report = run(CLIPS, OUTPUT)
    assert (report.n_read, report.written) == (0, True)
    assert len(arrays(got(OUTPUT, tmp_path))["ids"]) == 5


def test_a_file_that_another_run_wrote_meanwhile_stays(
    folder: Path,
    s3: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(folder)
    real = RemoteWorkingCopy.send

    def late(self: RemoteWorkingCopy) -> None:
        (tmp_path / "another").write_bytes(b"another's")
        OUTPUT.upload(tmp_path / "another")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteWorkingCopy, "send", late)
        with pytest.raises(StorageError, match=r"by another run meanwhile.*left as it is"):
            run(CLIPS, OUTPUT)
    assert got(OUTPUT, tmp_path).read_bytes() == b"another's"
    with pytest.raises(FeatureFileError):
        run(CLIPS, OUTPUT)
    assert got(OUTPUT, tmp_path).read_bytes() == b"another's"


def test_what_was_read_for_a_file_that_could_not_be_sent_is_not_read_again(
    folder: Path,
    s3: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another machine, which saw fewer clips, was faster."""
    put(folder)
    real = RemoteWorkingCopy.send

    def late(self: RemoteWorkingCopy) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RemoteWorkingCopy, "send", real)
            patch.setenv("EARSIGHT_HOME", str(tmp_path / "another home"))
            extract(CLIPS, OUTPUT, QUICK, exclude=["blue"])
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteWorkingCopy, "send", late)
        with pytest.raises(StorageError, match=r"nothing is read twice"):
            run(CLIPS, OUTPUT)
    report = run(CLIPS, OUTPUT)
    assert (report.n_read, report.n_rows, report.written) == (0, 5, True)
    assert list((tmp_path / "home" / "s3").iterdir()) == []


def test_a_clip_that_is_gone_when_it_is_read(
    folder: Path,
    s3: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(folder)

    def removing(work: object, items: list[object], **_: object) -> object:
        (CLIPS / "red/a.mp4").delete()
        return here(work, items)

    monkeypatch.setattr(engine, "run", removing)
    report = run(CLIPS, OUTPUT)
    why = {name: message for name, _, message in report.trouble}["red/a.mp4"]
    assert "There is no s3://clips/mine/red/a.mp4" in why and report.n_rows == 4


def test_what_is_wrong_with_an_address_is_told_before_anything_is_read(
    folder: Path,
    s3: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "run", None)
    with pytest.raises(StorageError, match=r"no bucket 'nobody' at http.*make it first"):
        run(folder, Remote("nobody", "f.h5"))
    with pytest.raises(StorageError, match="no bucket 'nobody'"):
        run(Remote("nobody", "x"), tmp_path / "f.h5")
    with pytest.raises(FeatureFileError, match=r"\.h5"):
        run(folder, Remote("clips", "f.parquet"))
    with pytest.raises(InputError, match="s3://bucket/key; got 's3:///x'"):
        parse_location("s3:///x")


def test_nothing_listens_and_nobody_is_known(
    folder: Path,
    s3: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with s3_server(**REFUSING) as strict:
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict.url)
        with pytest.raises(StorageError, match=r"refuses it\. Set AWS_ACCESS_KEY_ID"):
            run(folder, OUTPUT)
        strict.kill()
        with pytest.raises(StorageError, match=rf"nothing answers at {strict.url}.*AWS_ENDPOINT"):
            run(folder, OUTPUT)
    assert list((tmp_path / "home" / "s3").iterdir()) == []


def test_keys_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is a stranger's word: a local copy has a name of ours, in a folder of its own."""
    asked: list[str] = []

    def download(self: Remote, to: Path) -> None:
        asked.append(str(self))
        to.write_bytes(b"a clip")

    monkeypatch.setattr(Remote, "download", download)
    for key in (b"red/../../../escaped.mp4", b"../escaped.mp4", b"..", b"a/..mp4"):
        with Below(CLIPS).opened(key) as path:
            assert path.resolve() == path and path.name.startswith("clip")
            assert [p.name for p in path.parent.iterdir()] == [path.name]
        assert not path.parent.exists()
    assert asked[0] == "s3://clips/mine/red/../../../escaped.mp4"

"""`earsight extract`: one feature file of a folder of clips, kept up to date."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from _clips import make_clip
from _folders import fill, until
from earsight.errors import FeatureFileError, InputError, LabelError, LibraryError
from earsight.extraction.extract import Extraction, extract
from earsight.extraction.staging import Staging
from earsight.extractors import extract_all
from earsight.features import PairedFeatures, read_features, write_features
from earsight.library.catalog.location import locked
from earsight.library.embedding.extraction import extractor_for

QUICK = {"audio": "log_mel", "visual": "colour_edges"}


def run(clips: Path, output: Path, **more: object) -> Extraction:
    return extract(clips, output, QUICK, workers=1, **more)  # type: ignore[arg-type]


def earsight(*arguments: object) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with most of what people have, and its file."""
    root = tmp_path_factory.mktemp("extract")
    clips = root / "clips"
    fill(clips, ["red/a.mp4", "red/b.mp4", "blue/c.mp4", "blue/d.mp4", "no-label.mp4"])
    make_clip(clips / "red" / "long.mp4", 2.5, tone=700, colour=(5, 250, 5))
    shutil.copy(clips / "red/a.mp4", clips / "blue/a copy.mp4")
    make_clip(clips / "red" / "silent.mp4", audio=False)
    (clips / "red" / "text.mp4").write_text("This is no film.")
    run(clips, root / "features.h5")
    return clips, root / "features.h5"


@pytest.fixture
def clips(once: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of both that a test may change."""
    folder, file = tmp_path / "clips", tmp_path / "features.h5"
    shutil.copytree(once[0], folder)
    shutil.copy(once[1], file)
    shutil.copytree(Staging(once[1]).folder, Staging(file).folder)
    return folder, file


def same(one: PairedFeatures, other: PairedFeatures) -> None:
    assert np.array_equal(one.ids, other.ids) and np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.group, other.group)
    for modality, view in one.views.items():
        assert np.array_equal(view, other.views[modality])
        for a, b in zip(one.steps[modality], other.steps[modality], strict=True):
            assert np.array_equal(a.values, b.values) and np.array_equal(a.times, b.times)


# What the file holds


def test_the_file_holds_what_the_extractors_say(once: tuple[Path, Path]) -> None:
    """Row by row against the extractors themselves, one clip at a time."""
    clips, file = once
    data = read_features(file)
    names = [
        "blue/a copy.mp4",
        "blue/c.mp4",
        "blue/d.mp4",
        "red/a.mp4",
        "red/b.mp4",
        "red/long.mp4",
    ]
    assert np.asarray(data.ids).tolist() == names
    assert np.asarray(data.labels).tolist() == ["blue"] * 3 + ["red"] * 3
    kinds = {m: extractor_for(m, spec) for m, spec in QUICK.items()}
    for row, name in enumerate(names):
        found, _ = extract_all(clips / name, kinds.values())
        for modality, kind in kinds.items():
            sequence, kept = found[kind.key()], data.steps[modality][row]
            assert np.array_equal(kept.values, sequence.values)
            assert np.array_equal(kept.times, sequence.times)
            assert np.array_equal(data.views[modality][row], sequence.mean())
    groups = dict(zip(names, np.asarray(data.group).tolist(), strict=True))
    assert groups["red/a.mp4"] == groups["blue/a copy.mp4"] and len(set(groups.values())) == 5


def test_the_file_says_where_it_is_from(once: tuple[Path, Path]) -> None:
    facts = read_features(once[1]).provenance
    kind = extractor_for("visual", "colour_edges")
    assert facts["visual"]["fingerprint"] == kind.fingerprint
    assert facts["visual"]["parameters"] == {"fps": 2.0} and facts["visual"]["hop"] == 0.5
    assert facts["audio"]["extractor"] == "log_mel" and facts["audio"]["weights"] == {}
    by_path = {record["path"]: record for record in facts["clips"]}
    assert len(by_path) == 9
    assert by_path["red/text.mp4"]["status"] == "unreadable"
    assert by_path["red/silent.mp4"]["status"] == "no_audio"
    assert by_path["red/silent.mp4"]["has"] == ["visual"]
    assert by_path["red/long.mp4"]["seconds"] == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_records_of_many_clips_find_room(tmp_path: Path, ending: str) -> None:
    """More than the 64 KiB that HDF5 keeps with an array's head."""
    clips = [{"path": f"class/{number:05d}.mp4", "has": ["audio"]} for number in range(5000)]
    features = PairedFeatures({"audio": np.ones((2, 3))}, provenance={"clips": clips})
    write_features(tmp_path / f"many{ending}", features)
    assert read_features(tmp_path / f"many{ending}").provenance["clips"] == clips


def test_weights_are_told_by_their_checksums() -> None:
    words = extractor_for("visual", "words")
    assert set(words.checksums) == {"minilm", "efficientnet_lite0"}
    assert all(len(sum_) == 64 for sum_ in words.checksums.values())


def test_what_has_no_row_is_told(once: tuple[Path, Path]) -> None:
    report = run(*once)
    assert dict(report.left_out) == {
        "no-label.mp4": "no label, where others have one",
        "red/silent.mp4": "no audio",
    }
    assert [(path, status) for path, status, _ in report.trouble] == [
        ("red/text.mp4", "unreadable")
    ]
    assert (report.n_clips, report.n_rows, report.labels) == (9, 6, {"blue": 3, "red": 3})


def test_an_npz_and_one_modality(once: tuple[Path, Path], tmp_path: Path) -> None:
    report = extract(once[0], tmp_path / "sight.npz", {"visual": "colour_edges"}, labels="none")
    data, whole = read_features(report.output), read_features(once[1])
    assert data.labels is None and report.n_rows == 8 and list(data.views) == ["visual"]
    row = np.asarray(data.ids).tolist().index("red/long.mp4")
    assert np.array_equal(data.views["visual"][row], whole.views["visual"][-1])


# Only what is new is read


def test_nothing_to_do(clips: tuple[Path, Path]) -> None:
    before = clips[1].stat()
    report = run(*clips)
    assert (report.n_read, report.written) == (0, False)
    assert clips[1].stat() == before


def test_only_what_has_changed_is_read(clips: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = clips
    make_clip(folder / "blue" / "new.mp4", tone=1500)
    make_clip(folder / "red" / "b.mp4", tone=1700, colour=(1, 2, 3))  # other content
    (folder / "red/long.mp4").rename(folder / "blue/moved.mp4")
    (folder / "blue/c.mp4").unlink()
    os.utime(folder / "blue/d.mp4")  # touched alone
    report = run(folder, file)
    assert report.n_read == 2 and report.written
    run(folder, tmp_path / "anew.h5")
    same(read_features(file), read_features(tmp_path / "anew.h5"))
    assert "blue/moved.mp4" in np.asarray(read_features(file).ids).tolist()


def test_a_label_that_comes_later_costs_no_reading(clips: tuple[Path, Path]) -> None:
    folder, file = clips
    (folder / "no-label.mp4").rename(folder / "red/named.mp4")
    report = run(folder, file)
    assert (report.n_read, report.n_rows) == (0, 7)
    assert not Staging(file).folder.exists(), "no part has to wait any more"


def test_a_label_file(clips: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nred/a.mp4,one\nno-label.mp4,two\nblue/c.mp4,two\n")
    report = run(*clips, labels=str(table))
    assert report.n_read == 0 and report.labels == {"two": 2, "one": 1}
    table.write_text("path,label\nnowhere.mp4,one\n")
    with pytest.raises(InputError, match="labels none of the 9 clips"):
        run(*clips, labels=str(table))
    make_clip(clips[0] / "new.mp4")
    with pytest.raises(LabelError, match=r"nowhere\.csv cannot be read"):
        run(*clips, labels="nowhere.csv")
    assert run(*clips).n_read == 1, "labels are looked at before any clip is"


def test_what_failed_and_may_pass_is_tried_again(
    clips: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file = clips
    make_clip(folder / "blue" / "e.mp4", tone=1900)
    real = Path.stat

    def growing(self: Path, **how: bool) -> os.stat_result:
        info = real(self, **how)  # type: ignore[arg-type]
        if self.name == "e.mp4":
            return os.stat_result([*info[:6], info.st_size + 1, *info[7:]])
        return info

    from earsight import engine
    from earsight.extraction.reading import _do

    def here(work: object, items: object, **_: object) -> object:
        assert work is _do
        return ((item, _do(item)) for item in items)  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "run", here)
        patch.setattr(Path, "stat", growing)
        first = run(folder, file)
    assert ("blue/e.mp4", "unreadable", "It changed while it was being read.") in first.trouble
    again = run(folder, file)
    assert again.n_read == 1 and again.n_rows == 7 and len(again.trouble) == 1


# Killed, full, locked, foreign


def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    clips, file = tmp_path / "clips", tmp_path / "features.h5"
    fill(clips, [f"{'ab'[number % 2]}/{number:02d}.mp4" for number in range(30)])
    parts = Staging(file)
    arguments = ("extract", clips, "-o", file, "--audio", "log_mel", "--visual", "colour_edges")
    command = [sys.executable, "-m", "earsight", *map(str, arguments), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(list(parts.folder.glob("*.npz"))) > 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(parts.records())
    assert 2 < kept < 30 and not file.exists(), "it was to be killed in the middle"
    torn = next(parts.folder.glob("*.npz"))
    torn.write_bytes(torn.read_bytes()[:100])  # as a power cut leaves it
    report = run(clips, file)
    # The worker may have finished one more clip after its parent was killed.
    assert 30 - kept <= report.n_read + 1 and report.n_read <= 31 - kept
    assert report.n_rows == 30 and not parts.folder.exists()
    run(clips, tmp_path / "whole.h5")
    same(read_features(file), read_features(tmp_path / "whole.h5"))


def test_killed_while_writing(clips: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, file = clips
    before = file.read_bytes()
    make_clip(folder / "blue" / "new.mp4", tone=1500)

    def killed(*_: object) -> None:
        file.with_name(f".{file.name}.1.part").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("earsight.extraction.extract.write_features", killed)
        with pytest.raises(KeyboardInterrupt):
            run(folder, file)
    assert file.read_bytes() == before
    report = run(folder, file)
    assert report.n_read == 0 and report.n_rows == 7
    assert not list(file.parent.glob(".*.part"))


def test_features_of_other_extractors_are_never_mixed(clips: tuple[Path, Path]) -> None:
    folder, file = clips
    before = file.read_bytes()
    for specs in (
        QUICK | {"visual": "colour_edges:fps=1"},
        {"audio": "log_mel"},
    ):
        with pytest.raises(FeatureFileError, match=r"visual of colour_edges .* never mixed"):
            extract(folder, file, specs)
    assert file.read_bytes() == before


@pytest.mark.parametrize("known", [True, False])
def test_parts_of_other_extractors_are_not_used(clips: tuple[Path, Path], known: bool) -> None:
    folder, file = clips
    file.unlink()  # what is left is as a killed run leaves it: the parts alone
    assert Staging(file).records()
    if not known:
        (Staging(file).folder / "extractors.json").unlink()  # as a power cut may
    report = extract(folder, file, QUICK | {"visual": "colour_edges:fps=1"})
    assert report.n_read == 9
    assert read_features(file).provenance["visual"]["parameters"] == {"fps": 1.0}


def test_files_of_other_hands_stay(tmp_path: Path, once: tuple[Path, Path]) -> None:
    file = tmp_path / "theirs.h5"
    write_features(file, PairedFeatures({"audio": np.ones((2, 3))}))
    before = file.read_bytes()
    with pytest.raises(FeatureFileError, match="was not made by extract"):
        run(once[0], file)
    assert file.read_bytes() == before
    with pytest.raises(FeatureFileError, match=r"ends in \.h5"):
        run(once[0], tmp_path / "features.csv")


def test_two_at_once(clips: tuple[Path, Path]) -> None:
    with locked(Staging(clips[1]).folder), pytest.raises(LibraryError, match="is at work on"):
        run(*clips)


def test_folders_without_anything_to_extract(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="is not a folder"):
        run(tmp_path / "nowhere", tmp_path / "f.h5")
    folder = tmp_path / "clips"
    folder.mkdir()
    with pytest.raises(LibraryError, match="nothing playable"):
        run(folder, tmp_path / "f.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["clips"], "nothing is left behind"
    make_clip(folder / "sound.wav")
    with pytest.raises(LibraryError, match=r"None of the 1 clips .* sound\.wav: no visual"):
        run(folder, tmp_path / "f.h5")
    for specs in ({}, {"text": "minilm"}):
        with pytest.raises(InputError, match=r"for audio or visual, .* got (none|text)"):
            extract(folder, tmp_path / "f.h5", specs)


# The commands


def test_the_command(clips: tuple[Path, Path]) -> None:
    folder, file = clips
    how = ("--audio", "log_mel", "--visual", "colour_edges", "--json")
    done = earsight("extract", folder, "-o", file, *how)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert report["n_rows"] == 6 and report["features"]["audio"]["dim"] == 128
    told = done.stderr.decode()
    assert "6 rows of 9 clips, audio 128-d, visual 80-d; 0 read" in told
    assert "no row: red/silent.mp4 (no audio)" in told and "unreadable: red/text.mp4" in told
    compared = earsight("compare", file, "-m", "cca:n_components=1", "--folds", 2)
    assert compared.returncode == 0, compared.stderr
    assert b"2 folds of 6 rows" in compared.stderr and b"chance" in compared.stdout


def test_usage(tmp_path: Path) -> None:
    done = earsight("extract", tmp_path, "-o", tmp_path / "f.h5")
    assert done.returncode == 2 and b"--audio" in done.stderr
    done = earsight("extract", tmp_path, "-o", tmp_path / "f.h5", "--audio", "efficientnet")
    assert done.returncode == 1 and b"reads visual" in done.stderr


def test_every_extractor_is_listed() -> None:
    done = earsight("extractors", "--json")
    assert done.returncode == 0, done.stderr
    rows = {(r["name"], r["modality"]): r for r in json.loads(done.stdout)["extractors"]}
    assert rows["yamnet", "audio"]["dim"] == 1024 and rows["yamnet", "audio"]["hop"] == 0.48
    assert rows["efficientnet", "visual"]["licence"] == "Apache-2.0"
    assert rows["efficientnet", "visual"]["here"] and rows["efficientnet", "visual"]["size"] > 1e6
    assert {("pe_av", m) for m in ("audio", "visual", "text")} <= set(rows)
    assert rows["log_mel", "audio"]["licence"] is None and rows["log_mel", "audio"]["here"]
    assert "speed" not in rows["log_mel", "audio"]
    shown = earsight("extractors").stdout.decode()
    assert all(name in shown for name, _ in rows)


def test_speed_is_of_the_clip_and_of_decoding(tmp_path: Path) -> None:
    from earsight.demo.standard import draw_standard
    from earsight.extractors.runtime.listing import speed
    from earsight.media import Decoder, FrameRequest

    clip = tmp_path / "standard.mp4"
    draw_standard(clip)
    decoder = Decoder(clip, audio=[16_000], frames=[FrameRequest(1.0, None)])
    shapes = {block.frames.shape[1:] for block in decoder if hasattr(block, "frames")}
    assert shapes == {(360, 640, 3)} and decoder.report.duration == pytest.approx(12, abs=0.05)
    found = speed("log_mel", "audio", clip)
    assert set(found) == {"speed", "decoding"} and min(found.values()) > 0

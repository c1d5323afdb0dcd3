"""Presets, settings that cannot be, and what the command line says after an index and a search."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from _clips import make_clip
from earsight.cli import app
from earsight.cli.library import _example
from earsight.cli.search import _print_ranked
from earsight.errors import InputError, LibraryError, UnknownNameError, WeightsError
from earsight.extractors import FeatureExtractor
from earsight.extractors.inception import fit_pca
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.catalog.scan import File
from earsight.library.embedding.extraction import Sources
from earsight.library.embedding.settings import PRESETS, Settings
from earsight.library.indexing.ingest import _do, _Job
from earsight.library.indexing.pipeline import IndexReport, index
from earsight.library.search.results import Result, SearchResults

FAST = ("--audio", "log_mel", "--visual", "colour_edges", "--learn", "never", "--workers", "1")

# Presets


def test_a_preset_is_its_pair() -> None:
    assert (Settings().audio, Settings().visual) == PRESETS["small"]
    for name, (audio, visual) in PRESETS.items():
        made = Settings(learn="never").changed({"features": name})
        assert made == Settings(audio=audio, visual=visual, learn="never")
    assert PRESETS["paper"] == ("vggish", "inception")


def test_what_contradicts_a_preset_is_refused() -> None:
    with pytest.raises(InputError, match="--features paper names both extractors, and --visual"):
        Settings().changed({"features": "paper", "visual": "efficientnet"})
    with pytest.raises(UnknownNameError, match=r"no preset 'papre'\. Did you mean 'paper'\?"):
        Settings().changed({"features": "papre"})
    done = CliRunner().invoke(app, ["index", ".", "--features", "small", "--audio", "yamnet"])
    assert done.exit_code == 2 and "--features" in done.output


def test_weights_that_cannot_be_had_are_an_error_and_no_setting(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(extractor: FeatureExtractor) -> None:
        if extractor.name in ("vggish", "inception"):
            raise WeightsError(f"{extractor.name} is nowhere.")

    monkeypatch.setattr(FeatureExtractor, "fetch_weights", nowhere)
    with pytest.raises(WeightsError, match="is nowhere"):
        index(library, features="paper")
    with open_library(library / FOLDER) as store:
        assert Settings.of(store) == Settings()
    assert not index(library).rebuilt  # no other pair in its place, and nothing lost


# Other namers


def test_ears_and_eyes_change_the_bridge_and_what_is_learned_stays() -> None:
    plain, other = Sources(), Settings().changed({"eyes": "i3d_kinetics"}).sources
    assert other.roles == plain.roles and other.zero_shot == plain.zero_shot == "words"
    assert other.fingerprint != plain.fingerprint
    made, before = other.extractors(), plain.extractors()
    assert made["visual"] == before["visual"] and made["words.audio"] == before["words.audio"]
    assert made["words.visual"] != before["words.visual"]
    assert made["words.text"] != before["words.text"]  # its prior lies between both namers' names
    assert other.description == f"{plain.description}, sights named by i3d_kinetics"
    with pytest.raises(InputError, match=r"`ears` of words must be .*; got 'bat'"):
        Settings().changed({"ears": "bat"})


def test_a_pca_refitted_under_its_old_name_is_another_extractor(tmp_path: Path) -> None:
    rng, file = np.random.default_rng(0), tmp_path / "mine.safetensors"
    sources = Sources("none", f"inception:pca={file}")
    fit_pca(rng.normal(size=(20, 2048)), file, 4)
    before = sources.fingerprint
    fit_pca(rng.normal(size=(20, 2048)), file, 4)
    with pytest.raises(LibraryError, match="holds nothing playable"):
        index(tmp_path)  # every index looks at the files as they are
    assert sources.fingerprint != before
    info = file.stat()
    job = _Job(file, File(b"a.mp4", info.st_size, info.st_mtime_ns), None, sources, before)
    with pytest.raises(WeightsError, match=r"changed during this run"):
        _do(job)


# What is said


def test_the_hint_is_a_search_that_makes_sense(tmp_path: Path) -> None:
    place = str(tmp_path / "my clips")
    report = IndexReport(Path(place), labels={"dog's": 3, "cat": 1})
    words = shlex.split(_example(report, place))
    assert words == ["earsight", "search", "--text", "dog's", "--library", place]
    assert "--text 'what you look for'" in _example(IndexReport(Path(place)), place)
    report.takes_words = False
    assert "search SOUND_OR_PICTURE --library" in _example(report, place)
    report.example = "red/it's.mp4"
    assert shlex.split(_example(report, place))[2] == "red/it's.mp4"
    plain = IndexReport(Path(place), example="a.mp4")  # words can be typed, but nobody knows which
    assert shlex.split(_example(plain, place))[:3] == ["earsight", "search", "a.mp4"]
    plain.example = "two\nlines.mp4"
    assert "search SOUND_OR_PICTURE --library" in _example(plain, place)


def test_classes_are_counted_by_the_clips_that_answer(tmp_path: Path) -> None:
    for name in ("red/a.mp4", "red/b.mp4", "blue/c.mp4", "blue/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_clip(tmp_path / name, tone=300 + 10 * len(name) + ord(name[-5]))
    (tmp_path / "red/torn.mp4").write_text("This is no film.")
    done = CliRunner().invoke(app, ["index", str(tmp_path), *FAST])
    assert done.exit_code == 3 and "Labels: blue 2, red 2 (from" in done.stderr
    assert "Search it: earsight search --text blue --library" in done.stderr


def test_linked_folders_are_told(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (library / "lin\nked").symlink_to(tmp_path / "other")
    monkeypatch.setenv("COLUMNS", "300")
    done = CliRunner().invoke(app, ["index", os.fspath(library)])
    assert "1 linked folder not followed: lin\\nked." in done.output
    assert index(library).linked == ["lin\nked"]


def test_times_are_shown_for_parts_also_for_the_first(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    clip = LibraryClip(
        id=1,
        path="a.mp4",
        label=None,
        seconds=28.0,
        has=("audio",),
        status="ok",
        message="",
        content="c",
        file=Path("/a.mp4"),
        size=1,
        mtime_ns=1,
    )
    spans = [(0, 10), (25, 31), (0, 28)]
    results = [Result(rank=1, score=0.5, clip=clip, start=a, end=b) for a, b in spans]
    found = SearchResults(query="q", by="audio", for_="visual", space="words", results=results)
    _print_ranked(found)
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert [line.split("/a.mp4")[1].strip() for line in lines] == ["0:00–0:10", "0:25–0:31", ""]

"""A folder of clips, from the first index to the day it is moved: with the real extractors."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from _clips import make_clip, sine
from _folders import ODD, fill, names, rows
from earsight import engine
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.indexing.pipeline import index
from earsight.library.reports.evaluate import evaluate_library
from earsight.library.search.searcher import search
from earsight.paths import as_text


def test_what_was_indexed(made: Path) -> None:
    with open_library(made / FOLDER) as store:
        clips = {as_text(clip.path): clip for clip in store.clips()}
        contents = store.contents(store.current().features)  # type: ignore[union-attr]
        status = {name: contents[clip.content].status for name, clip in clips.items()}
    assert status == {
        "red/a.mp4": "ok",
        "red/b.mp4": "ok",
        "blue/c.mp4": "ok",
        'blue/it\'s "so"\n %FF.mp4': "ok",
        "blue/a copy.mp4": "ok",
        "silent.mp4": "no_audio",
        "sound.wav": "no_video",
        "short.mp4": "ok",
        "text.mp4": "unreadable",
    }
    assert clips["red/a.mp4"].label == "red" and clips["sound.wav"].label is None
    # Nine clips: a copy shares its rows, one is silent, one is blind, one is no clip.
    assert len(rows(made)) == 5 * 2 + 1 + 1


def test_both_directions_and_words(made: Path) -> None:
    everything_seen = {"a.mp4", "b.mp4", "c.mp4", ODD, "a copy.mp4", "silent.mp4", "short.mp4"}
    shown = {as_text(os.fsencode(name)) for name in everything_seen}
    assert set(names(made, "sound.wav")) == shown
    assert set(names(made, "silent.mp4")) == shown - {"silent.mp4"} | {"sound.wav"}
    by_words = search(made, text="a red wall", top=3)
    assert (by_words.by, by_words.for_, len(by_words.results)) == ("text", "visual", 3)
    beeps = search(made, text="a beep", for_="audio", top=99).results
    assert {Path(path).name for r in beeps for path in (r.path, *r.copies)} == (
        shown - {"silent.mp4"} | {"sound.wav"}
    )


@pytest.mark.parametrize("query", ["red/a.mp4", "blue/a copy.mp4"])
def test_files_of_one_content_are_one_answer(made: Path, query: str) -> None:
    found = search(made, made / query, by="visual", for_="visual", top=100).results
    (same,) = [r for r in found if r.is_query]
    other = {"red/a.mp4": "blue/a copy.mp4"}.get(query, "red/a.mp4")
    assert (same.path, same.copies) == (str(made / query), [str(made / other)])
    assert same is found[0] and abs(same.score - 1) < 1e-5
    assert not any(r.copies for r in found[1:])
    assert [r.rank for r in found] == list(range(1, len(found) + 1))
    assert all(a.score >= b.score for a, b in pairwise(found))
    some = search(made, text="a wall", top=3).results
    assert len({r.clip and r.clip.content for r in some}) == 3


def test_a_stored_clip_and_a_fresh_decoding_agree(made: Path, tmp_path: Path) -> None:
    stored = search(made, "red/b.mp4", by="audio", top=9)  # a path inside the library
    other = tmp_path / "same clip, other bytes.mp4"
    other.write_bytes((made / "red/b.mp4").read_bytes() + b"\0\0\0\x08free")
    fresh = search(made, other, by="audio", top=9)
    assert [r.path for r in stored.results] == [r.path for r in fresh.results]
    assert np.allclose(
        [r.score for r in stored.results], [r.score for r in fresh.results], atol=1e-5
    )
    assert any(r.is_query for r in stored.results) and not any(r.is_query for r in fresh.results)


def test_thresholds_and_limits(made: Path) -> None:
    full = search(made, made / "sound.wav", top=100).results
    some = search(made, made / "sound.wav", top=100, min_score=full[2].score).results
    assert some == full[: len(some)] and 3 <= len(some) < len(full)
    assert search(made, made / "sound.wav", top=2).results == full[:2]


def test_questions_that_cannot_be_asked(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'has no sound to search by; it has sight: by="visual"'):
        search(made, made / "silent.mp4", by="audio")
    with pytest.raises(InputError, match="Pass exactly one of a file"):
        search(made, made / "silent.mp4", text="both")
    with pytest.raises(InputError, match="no file nowhere"):
        search(made, "nowhere.mp4")
    with pytest.raises(InputError, match="must hold words"):
        search(made, text="  ")
    with pytest.raises(LibraryError, match="Run: earsight index"):
        search(tmp_path, text="anything")


def test_a_second_run_reads_nothing(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(library)
    monkeypatch.setattr(engine, "run", None)  # whoever calls it fails
    report = index(library)
    assert not report.rebuilt and report.changes.unchanged == report.n_clips == 9
    assert [(path, status) for path, status, _ in report.trouble] == [("text.mp4", "unreadable")]
    assert rows(library) == before


def test_only_what_changed_is_read(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = engine.run

    def spy(work: object, items: Iterator[object], **how: object) -> Iterator[object]:
        def seen() -> Iterator[object]:
            for item in items:
                read.append(item.path.name)  # type: ignore[attr-defined]
                yield item

        return real(work, seen(), **how)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "run", spy)
    (library / "red/b.mp4").rename(library / "blue/moved.mp4")
    (library / "blue/c.mp4").unlink()
    os.utime(library / "short.mp4", (1, 1))
    make_clip(library / "red/new.mp4", tone=3000)
    make_clip(library / "sound.wav", tone=1234)
    report = index(library)
    changes = report.changes
    assert sorted(read) == ["new.mp4", "sound.wav"]
    assert (changes.added, changes.moved, changes.gone) == (2, 1, 1)
    assert report.rebuilt and report.n_clips == 9
    found = names(library, "sound.wav")
    assert "moved.mp4" in found and "new.mp4" in found
    assert "c.mp4" not in found and "b.mp4" not in found
    with open_library(library / FOLDER) as store:
        labels = {as_text(clip.path): clip.label for clip in store.clips()}
    assert labels["blue/moved.mp4"] == "blue"
    monkeypatch.setattr(engine, "run", None)
    assert not index(library).rebuilt


def test_settings_are_remembered_and_changed(library: Path) -> None:
    csv = library.parent / "labels.csv"
    csv.write_text("path,label\nred/a.mp4,one\nsilent.mp4,two\n")
    assert index(library, labels=str(csv), exclude=("blue",)).labels == {"one": 1, "two": 1}
    report = index(library)
    assert report.labels == {"one": 1, "two": 1} and report.n_clips == 6
    assert index(library, labels="none").labels == {}
    with pytest.raises(InputError, match=r"no extractor 'yamnett'\. Did you mean 'yamnet'"):
        index(library, audio="yamnett")
    with pytest.raises(InputError, match="--audio takes an extractor of audio features"):
        index(library, audio="efficientnet")
    assert not index(library).rebuilt


def test_other_extractors_are_built_beside(library: Path) -> None:
    before = names(library, "sound.wav")
    report = index(library, audio="log_mel", visual="colour_edges")
    assert report.rebuilt and report.embedding is not None
    made_from = report.embedding.info["sources"]
    assert (made_from["audio"], made_from["visual"]) == ("log_mel", "colour_edges")
    tables = {path.stem for path in (library / FOLDER / "vectors").glob("*.lance")}
    assert all(
        name.endswith((report.embedding.features, report.embedding.table)) for name in tables
    )
    assert names(library, "sound.wav") == before  # the bridge is the same


def test_a_library_elsewhere(made: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    fill(clips, ["a.mp4"])
    place = tmp_path / "the library"
    index(clips, library=place)
    assert not (clips / FOLDER).exists()
    assert [r.path for r in search(place, text="blue").results] == [str(clips / "a.mp4")]
    with pytest.raises(LibraryError, match="belongs to the clips in"):
        index(made, library=place)


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(LibraryError, match=r"holds nothing playable.*1 files of other kinds"):
        index(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    (tmp_path / "text.mp4").write_text("This is no film.")
    with pytest.raises(LibraryError, match=r"None of the 1 clips .* could be read\. text\.mp4: "):
        index(tmp_path)


def test_an_unmounted_disk_empties_no_library(library: Path) -> None:
    before = rows(library)
    away = library.parent / "away"
    away.mkdir()
    for path in library.iterdir():
        if path.name != FOLDER:
            path.rename(away / path.name)
    with pytest.raises(LibraryError, match=r"knows 9 clips\. Is the disk there\?"):
        index(library)
    for path in away.iterdir():
        path.rename(library / path.name)
    assert not index(library).rebuilt and rows(library) == before


def test_one_clip_and_no_sound_anywhere(tmp_path: Path) -> None:
    make_clip(tmp_path / "only.mp4", audio=False)
    assert index(tmp_path).n_clips == 1
    assert len(search(tmp_path, text="a wall").results) == 1
    assert search(tmp_path, text="a hum", for_="audio").results == []
    with pytest.raises(LibraryError, match="at least 2 clips with both sound and sight"):
        evaluate_library(tmp_path)


def test_evaluation_of_few_clips_fits_nothing(made: Path) -> None:
    result = evaluate_library(made)
    assert (
        result.copies == 1
        and "Copies of one content are scored once: 1 of the files" in result.note
    )
    assert (result.n_clips, result.left_out, result.folds) == (5, 2, 0)
    assert "nothing is fitted" in result.note
    for figures in result.directions.values():
        assert figures["gallery"] == 5 and figures["recall@5"] == 1.0
        assert figures["recall_chance@1"] == pytest.approx(1 / 5)
        assert 0 < figures["map_chance"] < 1


def test_long_files_become_windows(tmp_path: Path) -> None:
    def two_halves(t: np.ndarray) -> np.ndarray:
        return np.where(t < 16, sine(300)(t), sine(2500)(t))

    make_clip(tmp_path / "long.mp4", 32, fps=2, sound=two_halves)
    make_clip(tmp_path / "short.mp4", 2)
    index(tmp_path)
    assert sum(":audio" in key for key in rows(tmp_path)) == 6 + 1
    make_clip(tmp_path.parent / "late.wav", 5, tone=2500)
    found = search(tmp_path, tmp_path.parent / "late.wav", for_="audio").results
    assert [Path(r.path).name for r in found].count("long.mp4") == 1
    best = next(r for r in found if r.path.endswith("long.mp4"))
    assert best.start >= 15 and best.end - best.start <= 10

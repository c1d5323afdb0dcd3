"""`search --rhythm` end to end: the right clip first, what is kept, and what has no timing."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import earsight
from _clips import Draw, Sound, make_clip
from _server import serving
from earsight.cli import app
from earsight.engine import NoTimeLeft, TookTooLong, WorkerDied
from earsight.errors import InputError, LibraryError, MediaError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.embedding.feature_tables import FeatureTables, stored_tables
from earsight.library.indexing.pipeline import index
from earsight.library.progress import Silent
from earsight.library.search import timing
from earsight.library.search.query import Query
from earsight.library.search.rerank_by_timing import rerank_by_timing
from earsight.library.search.searcher import Searcher, search
from earsight.library.search.timing import Timings
from earsight.vectors import SequenceStore

N = 4


def times(seed: int) -> np.ndarray:
    """When something happens in a clip: in no rhythm."""
    return np.cumsum(np.random.default_rng(seed).uniform(0.3, 0.9, 12))


def jumps(seed: int) -> Draw:
    def draw(t: float) -> np.ndarray:
        picture = np.full((120, 160, 3), 40, dtype=np.uint8)
        place = 10 + 30 * int((t >= times(seed)).sum() % 4)
        picture[place : place + 20, place : place + 24] = (230, 220, 90)
        return picture

    return draw


def knocks(seed: int, late: float = 0.0) -> Sound:
    def sound(t: np.ndarray) -> np.ndarray:
        since = t[:, None] - times(seed) - late
        rings = np.where(since >= 0, np.exp(-40 * np.maximum(since, 0)), 0) * np.sin(9000 * since)
        return np.asarray(0.6 * rings.sum(axis=1))

    return sound


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rhythm") / "clips"
    folder.mkdir()
    for seed in range(N):
        make_clip(folder / f"{seed}.mp4", 5.0, draw=jumps(seed), sound=knocks(seed))
    shutil.copy(folder / "0.mp4", folder / "copy.mp4")
    make_clip(folder / "still.mp4", 5.0, audio=False)
    make_clip(folder / "short.mp4", 0.4, draw=jumps(0), sound=knocks(0))
    index(folder)
    return folder


@pytest.fixture
def fresh(made: Path, tmp_path: Path) -> Path:
    """A library that was never asked about timing."""
    return Path(shutil.copytree(made, tmp_path / "clips"))


@pytest.fixture(scope="module")
def asked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("asked") / "clips"))
    search(folder, folder / "0.mp4", rhythm=True, by="audio")
    return folder


@pytest.fixture
def clips(asked: Path, tmp_path: Path) -> Path:
    """One that was, so that nothing need be read again."""
    return Path(shutil.copytree(asked, tmp_path / "asked clips"))


def kept(folder: Path) -> FeatureTables:
    with open_library(folder / FOLDER) as store:
        current = store.current()
        assert current is not None
        return stored_tables(store, current)


def names(answer: object) -> list[str]:
    return [Path(one.path).name for one in answer]  # type: ignore[attr-defined]


@pytest.fixture
def wild(tmp_path: Path) -> Path:
    """A recording of clip 2 from further away, by another recorder."""
    return make_clip(tmp_path / "wild.wav", 5.0, sound=knocks(2, late=0.2))


def test_a_sound_finds_the_sight_that_caused_it_and_says_how_late_it_is(
    clips: Path, wild: Path
) -> None:
    answer = search(clips, wild, rhythm=True)
    first = answer.results[0]
    assert Path(first.path).name == "2.mp4"
    assert first.offset == pytest.approx(0.2, abs=0.081)
    plain = search(clips, wild)
    by_name = {one.path: one.timing for one in answer}
    assert [by_name[one.path] is None for one in plain] == [
        Path(one.path).name in ("still.mp4", "short.mp4") for one in plain
    ]
    raised = [one.score + 0.1 * max(0.0, (one.timing or 0.0) - 1.0) for one in answer]
    assert raised == sorted(raised, reverse=True) and raised[0] > answer.results[0].score
    calm = [one.path for one in plain if (by_name[one.path] or 0.0) <= 1.0]
    assert [one.path for one in answer if one.path in calm] == calm  # in the order of meaning
    assert [one.rank for one in answer] == list(range(1, len(answer) + 1))
    assert "by meaning alone" in answer.notes[-1]
    assert len(search(clips, wild, rhythm=True, top=2).results) == 2


def test_a_sight_finds_its_sound(clips: Path, tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "silent.mp4", 5.0, draw=jumps(3), audio=False)
    answer = search(clips, silent, rhythm=True)
    assert (answer.by, answer.for_) == ("visual", "audio") and names(answer)[0] == "3.mp4"


def test_timing_is_read_once_and_goes_with_its_clip(
    fresh: Path, wild: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not kept(fresh).timing.exists  # indexing alone does not pay for it
    first = search(fresh, wild, rhythm=True)
    assert kept(fresh).timing.count() == 2 * (N + 2)

    def read(files: object, _: object) -> None:
        raise AssertionError(f"{files} were read again")

    monkeypatch.setattr(timing, "_read_clips", read)
    assert search(fresh, wild, rhythm=True) == first
    (fresh / "1.mp4").unlink()
    index(fresh)
    assert kept(fresh).timing.count() == 2 * (N + 1)
    monkeypatch.setattr(timing, "_version", lambda: "another way of reading")
    with pytest.raises(AssertionError, match="read again"):
        search(fresh, wild, rhythm=True)


def test_where_nothing_can_be_kept_the_answer_is_the_same(
    fresh: Path, clips: Path, wild: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LibraryError("the disk is full")

    monkeypatch.setattr(SequenceStore, "create", full)
    ours, theirs = (search(folder, wild, rhythm=True) for folder in (fresh, clips))
    assert names(ours) == names(theirs)
    assert [one.timing for one in ours] == [one.timing for one in theirs]
    assert not kept(fresh).timing.exists


def test_a_clip_that_cannot_be_read_any_more_has_no_timing(fresh: Path, wild: Path) -> None:
    clips = fresh
    (clips / "2.mp4").write_bytes(b"cut off")
    answer = search(clips, wild, rhythm=True)
    assert len(answer) == N + 2
    by_name = {Path(one.path).name: one.timing for one in answer}
    assert by_name["2.mp4"] is None and by_name["1.mp4"] is not None


def test_timing_is_that_of_the_content_it_is_kept_by(fresh: Path, wild: Path) -> None:
    (fresh / "1.mp4").write_bytes((fresh / "2.mp4").read_bytes())  # and not indexed again
    (fresh / "3.mp4").touch()  # the same as it was
    answer = search(fresh, wild, rhythm=True)
    by_name = {Path(one.path).name: one.timing is not None for one in answer}
    assert by_name["3.mp4"] and not by_name["1.mp4"]
    assert kept(fresh).timing.count() == 2 * (N + 1)  # nothing is kept of 1.mp4
    with earsight.Library(fresh) as library:
        number = next(clip.id for clip in library.clips() if clip.path == "1.mp4")
        with pytest.raises(MediaError, match=r"1\.mp4 has no timing to.* has changed since it was"):
            library.search(clip=number, by="audio", rhythm=True)
        (fresh / "1.mp4").unlink()
        with pytest.raises(
            MediaError, match=r"1\.mp4 has no timing to.* cannot be opened: No such"
        ):
            library.search(clip=number, by="audio", rhythm=True)


def test_what_is_on_another_machine_is_not_opened(
    fresh: Path, wild: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other:clips").mkdir()
    shutil.copy(fresh / "2.mp4", "other:clips")  # there is such a file, by chance
    with open_library(fresh / FOLDER) as store:
        searcher = Searcher(store)
        answer = searcher.search(Query(file=wild))
        far = [
            replace(
                one, clip=replace(one.clip, root=None, file=Path("other:clips") / one.clip.path)
            )
            if Path(one.path).name in ("0.mp4", "2.mp4", "copy.mp4")
            else one
            for one in answer
        ]
        found = rerank_by_timing(
            replace(answer, results=far), searcher.timings(Query(file=wild)), 10
        )
        timed = {Path(one.path).name: one.timing is not None for one in found}
        copied = next(one for one in far if one.others)
        assert timed["1.mp4"] and not timed["2.mp4"]
        assert timed[Path(copied.path).name]  # by its copy, which is here
        for gone in (searcher.timings(Query(clip=999)), searcher.timings(Query(text="a drum"))):
            with pytest.raises(
                InputError, match="is not known, since its file is not on this machine"
            ):
                gone.query(answer, Silent())


def test_questions_without_a_timing_are_refused(clips: Path, tmp_path: Path) -> None:
    hush = make_clip(tmp_path / "hush.wav", 5.0, sound=np.zeros_like)
    with pytest.raises(InputError, match=r"Nothing begins to sound in .*hush\.wav for 1 s or more"):
        search(clips, hush, rhythm=True)
    with pytest.raises(InputError, match=r"Nothing moves in .*still\.mp4 for 1 s or more"):
        search(clips, clips / "still.mp4", rhythm=True)
    with pytest.raises(InputError, match="this question goes by text for visual"):
        search(clips, text="a drum", rhythm=True)
    with pytest.raises(InputError, match="goes by audio for audio"):
        search(clips, clips / "0.mp4", by="audio", for_="audio", rhythm=True)


def test_an_open_library_and_the_command_line_answer_alike(clips: Path, wild: Path) -> None:
    with earsight.Library(clips) as library:
        ours = library.search(wild, rhythm=True)
        number = next(one.id for one in ours if Path(one.path).name == "2.mp4")
        own = library.search(clip=number, by="audio", rhythm=True)
        assert own.results[0].is_query and own.results[0].offset == pytest.approx(0.0, abs=0.041)
    run = CliRunner().invoke(app, ["search", str(wild), "-l", str(clips), "--rhythm", "--json"])
    assert run.exit_code == 0, run.output
    rows = json.loads(run.stdout)["results"]
    assert [row["timing"] for row in rows] == [
        one.timing and pytest.approx(one.timing) for one in ours
    ]
    told = CliRunner().invoke(app, ["search", str(wild), "-l", str(clips), "--rhythm"]).stdout
    assert "2.mp4" in told.splitlines()[0] and " timing +" in told.splitlines()[0]
    plain = CliRunner().invoke(app, ["search", str(wild), "-l", str(clips), "--json"]).stdout
    assert "timing" not in json.loads(plain)["results"][0]


def test_where_time_is_short_what_was_read_is_kept_and_the_rest_is_told(
    fresh: Path, wild: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with earsight.Library(fresh) as library:
        number = next(clip.id for clip in library.clips() if clip.path == "2.mp4")
        for asked in ({"query": wild}, {"clip": number, "by": "audio"}):
            with pytest.raises(MediaError, match=r"has no timing to search by.* (within|of) [-\d]"):
                library.search(**asked, rhythm=True, patience=1e-6)
        assert not kept(fresh).timing.exists or not kept(fresh).timing.count()
        whole = timing._read_clips

        def all_but_one(files: Any, bounds: Any) -> Iterator[tuple[str, Any]]:
            for content, found in whole(files, bounds):
                late = files[content].path == "1.mp4"
                yield content, NoTimeLeft("The others took it all.") if late else found

        monkeypatch.setattr(timing, "_read_clips", all_but_one)
        answer = library.search(wild, rhythm=True, patience=300.0)
        told = {Path(one.path).name: one.timing is not None for one in answer}
        assert told["2.mp4"] and not told["1.mp4"]
        assert (
            "1 clip could not be decoded for their timing within 300 s; search" in answer.notes[0]
        )
        assert kept(fresh).timing.count() == 2 * (N + 1)
        monkeypatch.setattr(timing, "_read_clips", whole)
        again = library.search(wild, rhythm=True, patience=300.0)
        assert not any("could not be decoded" in note for note in again.notes)
        assert kept(fresh).timing.count() == 2 * (N + 2)


def test_a_clip_that_takes_too_long_is_told_and_not_tried_again_for_a_while(
    fresh: Path, wild: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {"1.mp4": TookTooLong("Too long."), "3.mp4": WorkerDied("Crashed.")}
    asked: list[list[str]] = []

    def read(files: Any, _: Any) -> Iterator[tuple[str, Any]]:
        asked.append(sorted(Path(clip.path).name for clip in files.values()))
        for content, clip in files.items():
            yield content, slow.get(Path(clip.path).name) or timing._read_indexed((content, clip))

    monkeypatch.setattr(timing, "_read_clips", read)
    with earsight.Library(fresh) as library:
        first = library.search(wild, rhythm=True, patience=300.0)
        number = next(clip.id for clip in library.clips() if clip.path == "1.mp4")
        assert {"1.mp4", "2.mp4", "3.mp4"} < set(asked.pop())
        second = library.search(wild, rhythm=True, patience=200.0)
        for answer, each in ((first, 150), (second, 100)):
            told = f"2 clips took longer than {each} s to decode for their timing, or crashed"
            assert told in answer.notes[0] and "after 10 minutes" in answer.notes[0]
            assert not any("search again" in note for note in answer.notes)
            assert {Path(one.path).name for one in answer if one.timing is None} >= set(slow)
        with pytest.raises(MediaError, match=r"1\.mp4 has no timing to search by\. Too long\."):
            library.search(clip=number, by="audio", rhythm=True, patience=300.0)
        assert not any(asked)
        library.search(wild, rhythm=True, patience=400.0)  # they are given more
        assert asked == [sorted(slow)]
        monkeypatch.setattr(timing, "RETRY_AFTER", 0.0)
        library.search(wild, rhythm=True, patience=200.0)  # or had time to get over it
        slow.clear()
        assert library.search(wild, rhythm=True).notes == search(fresh, wild, rhythm=True).notes
    assert kept(fresh).timing.count() == 2 * (N + 2)


def test_the_query_and_the_clips_have_one_minute_together(
    fresh: Path, wild: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    clock = iter(range(1000, 9000, 10))  # who looks at it finds 10 s gone
    real, within = timing._read_clips, timing.engine.run_within
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(timing, "_read_clips", lambda f, b: given.append(b) or real(f, (600, 600)))

    def apart(*work: Any, each: float, all_of_them: float, **more: Any) -> Any:
        given.append((each, all_of_them))
        return within(*work, each=600, all_of_them=600, **more)

    with open_library(fresh / FOLDER) as store:
        searcher = Searcher(store)
        answer = searcher.search(Query(file=wild))
        timings = Timings(searcher.snapshot.tables.timing, file=wild, patience=1000.0)
        monkeypatch.setattr(timing.engine, "run_within", apart)
        assert rerank_by_timing(answer, timings, 10).timed
    (each, left), (each_clip, left_then), *_ = given
    assert each == each_clip == 500.0 and left_then < left < 1000.0


def test_the_server_answers_by_timing_for_clips_and_for_files(clips: Path, wild: Path) -> None:
    with serving(clips) as server:
        answer = server.upload(wild, query="?rhythm=true")
        assert answer.status == 200, answer.body
        first = answer.json["answers"][0]
        assert first["path"] == "2.mp4" and first["offset"] == pytest.approx(0.2, abs=0.081)
        asked = f"/api/search?clip={first['id']}&by=audio&rhythm=true"
        by_clip = server.get(asked).json["answers"]
        assert by_clip[0]["path"] == "2.mp4" and by_clip[0]["timing"] > 0
        with earsight.Library(clips) as library:
            ours = library.search(clip=first["id"], by="audio", rhythm=True)
        assert [one["id"] for one in by_clip] == [one.id for one in ours]
        assert server.get("/api/search?text=drum&rhythm=true").status == 400
        assert server.get(f"{asked}&moments=true").status == 400

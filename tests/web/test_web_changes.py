"""The server while the library changes under it, is damaged, or has nothing that answers yet."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from _clips import make_clip
from _server import serving
from _work import double
from earsight import engine
from earsight.errors import LibraryError, MediaError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.client import Library
from earsight.library.indexing.forget import forget_clips
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import library_status
from earsight.library.search.sandbox import UploadReader
from earsight.web.app import search_as_json
from earsight.web.app_state import AppState
from earsight.web.uploads import UploadLimits


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "clips"))


def test_what_was_forgotten_leaves_the_map(folder: Path) -> None:
    with serving(folder) as served:
        before = served.get("/api/map").json["points"]
        clips = served.get("/api/clips").json["clips"]
        gone = next(clip["id"] for clip in clips if clip["path"] == "silent.mp4")
        assert gone in {point["id"] for point in before}
        forget_clips(folder, ["silent.mp4"])
        after = served.get("/api/map").json["points"]
        assert {p["id"] for p in after} == {p["id"] for p in before} - {gone}


def test_an_answer_that_is_overtaken_is_still_an_answer(folder: Path) -> None:
    state = AppState(folder, UploadLimits())
    try:
        answer = state.library.search(text="a red wall", top=99)
        gone = answer.results[0]
        forget_clips(folder, [Path(gone.path).relative_to(folder)])
        told = search_as_json(state, answer, "text", 0.0)
        assert [one["id"] for one in told["answers"]] == [one.id for one in answer]
        assert told["answers"][0]["seconds"] and told["point"] is not None
        wider = replace(answer, point=np.zeros(len(answer.point) + 10))  # words + cca, say
        assert search_as_json(state, wider, "text", 0.0)["point"] is None
    finally:
        state.close()


def test_a_library_that_answers_not_yet_is_empty(folder: Path) -> None:
    with sqlite3.connect(folder / FOLDER / "library.db") as db:
        db.execute("DELETE FROM embeddings")
    db.close()
    with serving(folder) as served:
        found = served.get("/api/library").json
        assert (found["state"], found["n_clips"], found["space"]) == ("empty", 0, None)
        reply = served.get("/api/search?text=a+wall")
        assert reply.status == 409 and "earsight index" in reply.error


def test_a_damaged_library_is_told_and_not_called_empty(folder: Path) -> None:
    (folder / FOLDER / "library.db").write_bytes(b"no database, but of the right name" * 99)
    with serving(folder) as served:
        reply = served.get("/api/library")
        assert reply.status == 409 and "not a readable library" in reply.error


def test_a_database_that_is_damaged_in_its_middle_is_told(folder: Path) -> None:
    file = folder / FOLDER / "library.db"
    with sqlite3.connect(file) as db:
        pages = dict(db.execute("SELECT name, rootpage FROM sqlite_master"))
        (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    blob = bytearray(file.read_bytes())
    at = (pages["clips"] - 1) * size
    blob[at : at + size] = bytes([0xA5]) * size
    file.write_bytes(blob)
    with pytest.raises(LibraryError, match=r"damaged.*Delete .* and index again"):
        library_status(folder)
    with open_library(folder / FOLDER) as store, pytest.raises(LibraryError, match="damaged"):
        store.clips()
    with serving(folder) as served:
        for path in ("/api/library", "/api/clips", "/api/map", "/api/search?text=a"):
            assert "damaged" in served.get(path).error


def test_an_upload_that_cannot_be_kept_is_told_and_takes_no_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder, limits=UploadLimits(at_once=1)) as served:

        def full(**_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("earsight.web.uploads.tempfile.mkstemp", full)
            for _ in range(3):
                reply = served.upload(folder / "red/a.mp4", "a.mp4", "?by=audio")
                assert reply.status == 507 and "No space left" in reply.json["error"]
        assert served.upload(folder / "red/a.mp4", "a.mp4", "?by=audio").status == 200


def test_texts_beside_clips_ask_and_answer(tmp_path: Path) -> None:
    for number, name in enumerate(["dog", "sea", "plain"]):
        make_clip(tmp_path / f"{name}.mp4", tone=300 + 200 * number, colour=(40 * number, 90, 20))
    (tmp_path / "dog.txt").write_text("A dog barks at the postman.")
    (tmp_path / "sea.txt").write_text("Waves roll onto the beach.")
    index(tmp_path)
    with serving(tmp_path) as served, Library(tmp_path) as library:
        ids = {Path(clip.path).stem: clip.id for clip in library.clips()}
        found = served.get("/api/search?text=the+sea&for=text").json
        assert [one["id"] for one in found["answers"]] == [ids["sea"], ids["dog"]]
        assert found["query"]["for"] == "text"
        by = served.get(f"/api/search?clip={ids['dog']}&by=text&for=text").json
        assert by["query"]["by"] == "text" and by["answers"][0]["is_query"]
        want = library.search(clip=ids["dog"], by="text", for_="text")
        assert [one["score"] for one in by["answers"]] == [one.score for one in want]
        refused = served.get(f"/api/search?clip={ids['plain']}&by=text")
        assert refused.status == 400 and "no text to search by" in refused.error
        (tmp_path / "plain.txt").mkdir()
        refused = served.get(f"/api/search?clip={ids['plain']}&by=text")
        assert refused.status == 400 and "no text to search by" in refused.error  # a folder is none
        film = served.upload(tmp_path / "dog.mp4", "dog.mp4", "?by=text")
        assert film.status == 400 and "no text to search by" in film.error


def test_a_file_that_needs_too_much_memory_is_told(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(made) as library:
        sources = library.snapshot().sources
    reader = UploadReader(60, 60)

    def starved(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reader._sandbox._processes[0], "call", starved)
    with pytest.raises(MediaError, match=r"big\.mp4 cannot be read within 6 GiB of memory"):
        reader.read(made / "red/a.mp4", "big.mp4", sources)
    reader.close()


def test_figures_of_a_library_that_has_changed_are_called_stale(folder: Path) -> None:
    with serving(folder) as served:
        served.ask("/api/quality", "POST")
        found = served.until("/api/quality", lambda one: one["state"] != "running")
        assert found["state"] == "ready" and not found["stale"]
        make_clip(folder / "new.mp4", tone=1234)
        index(folder)
        after = served.get("/api/quality").json
        assert after["stale"] and after["result"] == found["result"]
        served.ask("/api/quality", "POST")
        again = served.until("/api/quality", lambda one: one["state"] != "running")
        assert not again["stale"] and again["result"] != found["result"]


def test_a_call_that_was_broken_off_leaves_no_answer_for_the_next() -> None:
    apart = engine.IsolatedWorker()
    try:
        assert apart.call(double, 1, 60) == 2
        poll = apart._pipe.poll

        class Stopped(BaseException):
            pass

        def stopped(seconds: float) -> bool:
            assert poll(seconds)  # the answer is there, and not taken
            raise Stopped

        apart._pipe.poll = stopped
        with pytest.raises(Stopped):
            apart.call(double, 21, 60)
        assert apart.call(double, 5, 60) == 10
    finally:
        apart.close()


def test_a_sound_is_refused_with_a_reason_where_sound_is_not_read(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4")
    sound = make_clip(tmp_path.parent / f"{tmp_path.name}.wav")
    index(tmp_path, audio="none")
    with serving(tmp_path) as served:
        reply = served.upload(sound, "b.wav")
        assert reply.status == 422
        assert reply.error == "b.wav: It has no sight, and this library reads nothing else."
    with Library(tmp_path) as library, pytest.raises(MediaError, match="reads nothing else"):
        library.search(sound)

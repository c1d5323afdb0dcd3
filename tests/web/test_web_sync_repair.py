"""Whether the sound of a clip is in step, and its repaired copy, as the server gives them."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from _folders import QUICK, until
from _server import Served, multipart, serving
from _strokes import make_strokes
from earsight.alignment.clip_offset import align
from earsight.errors import BusyError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.client import Library
from earsight.library.indexing.pipeline import index
from earsight.library.search.query import Query
from earsight.web import sync_repair
from earsight.web.app_state import AppState
from earsight.web.sync_repair import FoundOffset, OffsetReader, SyncRepair, WorkerError
from earsight.web.uploads import UploadLimits


@pytest.fixture(scope="module")
def folder(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in step") / "clips"
    folder.mkdir()
    make_strokes(folder / "late.mp4", 0.44)
    shutil.copy(make_strokes(folder / "right.mp4", 0.0), folder / "other.mp4")
    for name in ("silent.mp4", "sound.wav", "red/a.mp4"):
        shutil.copy(made / name, folder)
    index(folder, **QUICK)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    temporary = tmp_path_factory.mktemp("temporary")
    before, tempfile.tempdir = tempfile.tempdir, str(temporary)
    with serving(folder) as server:
        server.temporary = temporary
        yield server
    tempfile.tempdir = before
    assert list(temporary.iterdir()) == []  # the copies are gone with the server


def number(served: Served, path: str) -> int:
    found = served.get("/api/clips?limit=500").json["clips"]
    return next(int(clip["id"]) for clip in found if clip["path"] == path)


def test_an_offset_is_told_with_how_sure_it_is(served: Served) -> None:
    found = served.get(f"/api/clips/{number(served, 'late.mp4')}/offset").json
    assert found["offset_ms"] == pytest.approx(440, abs=40)
    assert found["of"] == 10 and found["agreeing"] >= 8 and found["why"] == ""
    assert found["confidence"] == found["agreeing"] / found["of"]
    right = served.get(f"/api/clips/{number(served, 'right.mp4')}/offset").json
    assert abs(right["offset_ms"]) <= 40


@pytest.mark.parametrize(
    ("name", "why"),
    [("silent.mp4", "has no sound"), ("sound.wav", "has no sight"), ("a.mp4", "it takes 2 s")],
)
def test_no_answer_says_why(served: Served, folder: Path, name: str, why: str) -> None:
    at = f"/api/clips/{number(served, name)}"
    found = served.get(f"{at}/offset").json
    assert found["offset_ms"] is None and why in found["why"]
    assert str(folder) not in found["why"]
    refused = served.get(f"{at}/repaired")
    assert refused.status == 409 and "cannot be repaired here" in refused.error
    assert why in refused.error


def test_the_repaired_copy_is_in_step_and_comes_in_ranges(
    served: Served, folder: Path, tmp_path: Path
) -> None:
    at = f"/api/clips/{number(served, 'late.mp4')}/repaired"
    whole = served.get(at)
    assert whole.status == 200 and whole.headers["content-type"] == "video/mp4"
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(whole.body)
    offset = align(copy).offset.seconds
    assert offset is not None and abs(offset) <= 0.04
    part = served.get(at, Range="bytes=10-19")
    assert part.status == 206 and part.body == whole.body[10:20]
    assert served.get(at, Range=f"bytes={len(whole.body)}-").status == 416
    assert {path.name for path in folder.iterdir()} == {
        "late.mp4", "right.mp4", "other.mp4", "silent.mp4", "sound.wav", "a.mp4", ".earsight"
    }  # fmt: skip
    (kept,) = served.temporary.rglob("repaired*")  # type: ignore[attr-defined]
    assert kept.parent.stat().st_mode & 0o77 == 0
    shutil.rmtree(kept.parent)  # as a cleaner of old temporary files does
    assert served.get(at).body == whole.body


class Counted(OffsetReader):
    """Counts what is asked of it, and looks at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found = self.copied = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fails_first = False

    def find(self, clip: Path) -> FoundOffset:
        self.found += 1
        assert self.gate.wait(60)
        if self.fails_first and self.found == 1:
            raise WorkerError("It took too long.")
        return FoundOffset(0.1, 9, 10, "")

    def repair(self, clip: Path, seconds: float, folder: Path) -> Path:
        self.copied += 1
        return Path(shutil.copy(clip, folder / "repaired.mp4"))


@pytest.fixture
def clips(folder: Path, tmp_path: Path) -> Any:
    copied = Path(shutil.copytree(folder, tmp_path / "clips"))
    with Library(copied) as library:
        yield library.root, {clip.path: clip for clip in library.clips()}


@pytest.fixture
def sync() -> Iterator[SyncRepair]:
    made = SyncRepair(Counted())
    yield made
    made.close()


def repaired(sync: SyncRepair, clip: LibraryClip, root: Path) -> Path:
    with sync.repaired(clip, root) as file:
        return Path(file.name)


def test_what_was_found_is_kept_until_the_file_changes(clips: Any, sync: SyncRepair) -> None:
    root, by_path = clips
    reader, clip = sync._reader, by_path["late.mp4"]
    first = sync.offset(clip, root)
    copy = repaired(sync, clip, root)
    assert sync.offset(clip, root) == first and repaired(sync, clip, root) == copy
    assert (reader.found, reader.copied) == (1, 1)
    make_strokes(clip.file, 0.3)
    sync.offset(clip, root)
    assert repaired(sync, clip, root) != copy
    assert (reader.found, reader.copied) == (2, 2)
    sync.close()
    assert not copy.exists()
    with pytest.raises(HTTPException):  # a request that outlives the server leaves nothing
        repaired(sync, by_path["right.mp4"], root)


def test_what_took_too_long_is_tried_again(clips: Any, sync: SyncRepair) -> None:
    root, by_path = clips
    clip = by_path["late.mp4"]
    sync._reader.fails_first = True
    first = sync.offset(clip, root)
    assert first["offset_ms"] is None and first["why"] == "It took too long."
    assert sync.offset(clip, root)["offset_ms"] == 100


def test_copies_are_few(clips: Any, sync: SyncRepair, monkeypatch: pytest.MonkeyPatch) -> None:
    root, by_path = clips
    late, right, other = (by_path[f"{name}.mp4"] for name in ("late", "right", "other"))
    monkeypatch.setattr(sync_repair, "MAX_COPIES", 2)
    first, second = repaired(sync, late, root), repaired(sync, right, root)
    repaired(sync, late, root)  # asked for again: the other one makes room
    repaired(sync, other, root)
    assert first.exists() and not second.parent.exists()
    size = late.file.stat().st_size
    monkeypatch.setattr(sync_repair, "MAX_COPY_BYTES", size)
    repaired(sync, by_path["a.mp4"], root)
    assert not first.exists()
    monkeypatch.setattr(sync_repair, "MAX_COPY_BYTES", size - 1)
    with pytest.raises(HTTPException, match=r"late\.mp4 cannot be repaired here.*align -o"):
        repaired(sync, late, root)


def test_few_are_looked_at_at_once(clips: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, by_path = clips
    monkeypatch.setattr(sync_repair, "MAX_ASKING", 1)
    reader = Counted()
    reader.gate.clear()
    sync = SyncRepair(reader)
    at_work = threading.Thread(target=sync.offset, args=(by_path["late.mp4"], root))
    at_work.start()
    until(lambda: reader.found)
    with pytest.raises(BusyError, match="Other clips are being read"):
        sync.offset(by_path["right.mp4"], root)
    reader.gate.set()
    at_work.join(60)
    assert sync.offset(by_path["right.mp4"], root)["offset_ms"] == 100
    sync.close()


def test_one_that_takes_too_long_has_no_answer(folder: Path) -> None:
    reader = OffsetReader(patience=0.01)
    with pytest.raises(WorkerError, match=r"longer than 0\.01 s"):
        reader.find(folder / "late.mp4")
    reader.close()


def test_a_timeline_takes_a_file_as_large_as_a_search_does(served: Served, folder: Path) -> None:
    free = (1 << 17).to_bytes(4, "big") + b"free" + bytes((1 << 17) - 8)
    blob = (folder / "right.mp4").read_bytes() + free
    at = f"/api/clips/{number(served, 'late.mp4')}/timeline?by=visual&for=visual"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    found = served.ask(at, "POST", kind, multipart(blob, "right.mp4"))
    assert found.status == 200 and len(found.json["scores"]) == 6
    too_large = served.ask(at, "POST", kind | {"Content-Length": str(2 << 30)})
    assert too_large.status == 413


def test_one_search_by_timing_at_a_time(folder: Path) -> None:
    state = AppState(folder, UploadLimits())
    with state._timing, pytest.raises(BusyError, match="Another search by timing"):
        state.search(Query(text="a wall", rhythm=True))
    assert state.search(Query(text="a wall")) is not None
    state.close()

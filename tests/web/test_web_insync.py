"""Whether the sound of a clip is in step, and its repaired copy, as the server gives them."""

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from _folders import QUICK
from _server import Served, multipart, serving
from _strokes import make_strokes
from earsight.alignment.clip_offset import align
from earsight.errors import BusyError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.client import Library
from earsight.library.indexing.pipeline import index
from earsight.web.app_state import Home
from earsight.web.media import NotServedError
from earsight.web.offset_worker import Found, OffsetReader
from earsight.web.sync_repair import Bounds, InSync
from earsight.web.temporary_folder import StoppedError
from earsight.web.uploads import Limits


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
    assert refused.status == 409 and "no offset to repair" in refused.error and why in refused.error


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
    shutil.rmtree(kept.parent.parent)  # as a cleaner of old temporary files does
    assert served.get(at).body == whole.body


class Counted(OffsetReader):
    """Counts what is asked of it, and looks at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found = self.copied = 0
        self.gate = threading.Event()
        self.gate.set()

    def find(self, clip: Path) -> Found:
        self.found += 1
        assert self.gate.wait(60)
        return Found(0.1, 9, 10, "")

    def repair(self, clip: Path, found: Found, folder: Path) -> Path:
        self.copied += 1
        return Path(shutil.copy(clip, folder / "repaired.mp4"))


@pytest.fixture
def clips(folder: Path, tmp_path: Path) -> Any:
    copied = Path(shutil.copytree(folder, tmp_path / "clips"))
    with Library(copied) as library:
        yield library.root, {clip.path: clip for clip in library.clips()}


def repaired(insync: InSync, clip: LibraryClip, root: Path) -> Path:
    with insync.repaired(clip, root) as file:
        return Path(file.name)


def test_what_was_found_is_kept_until_the_file_changes(clips: Any) -> None:
    root, by_path = clips
    reader = Counted()
    insync = InSync(reader=reader)
    clip = by_path["late.mp4"]
    first = insync.offset(clip, root)
    copy = repaired(insync, clip, root)
    assert insync.offset(clip, root) == first and repaired(insync, clip, root) == copy
    assert (reader.found, reader.copied) == (1, 1)
    make_strokes(clip.file, 0.3)
    insync.offset(clip, root)
    assert repaired(insync, clip, root) != copy
    assert (reader.found, reader.copied) == (2, 2)
    insync.close()
    assert not copy.exists()


class Slow(Counted):
    """Takes too long, the first time."""

    def find(self, clip: Path) -> Found:
        found = super().find(clip)
        return found if self.found > 1 else Found(None, 0, 0, "It took too long.", lasting=False)


def test_what_took_too_long_is_looked_at_again_later(clips: Any) -> None:
    root, by_path = clips
    clip = by_path["late.mp4"]
    for again, asked, told in ((1e9, 1, None), (0.0, 2, 100)):
        reader = Slow()
        insync = InSync(Bounds(again=again), reader)
        assert insync.offset(clip, root)["offset_ms"] is None
        assert insync.offset(clip, root)["offset_ms"] == told
        insync.offset(clip, root)  # an offset that was found stays
        assert reader.found == asked
        insync.close()


def test_copies_are_few(clips: Any) -> None:
    root, by_path = clips
    late, right, other = (by_path[f"{name}.mp4"] for name in ("late", "right", "other"))
    insync = InSync(Bounds(copies=2, held=0.0), Counted())
    first, second = repaired(insync, late, root), repaired(insync, right, root)
    repaired(insync, late, root)  # asked for again: the other one makes room
    repaired(insync, other, root)
    assert first.exists() and not second.parent.exists()
    insync.close()
    insync = InSync(Bounds(copies=1, held=1e9), Counted())
    repaired(insync, late, root)
    with pytest.raises(BusyError, match="try again"):  # that one may just be being opened
        repaired(insync, right, root)
    insync.close()
    size = late.file.stat().st_size
    insync = InSync(Bounds(bytes=size, held=0.0), Counted())
    first = repaired(insync, late, root)
    repaired(insync, by_path["a.mp4"], root)
    assert not first.exists()
    with pytest.raises(NotServedError, match=r"late\.mp4 cannot be repaired here.*align -o"):
        repaired(InSync(Bounds(bytes=size - 1), Counted()), late, root)
    insync.close()


def test_few_are_looked_at_at_once(clips: Any) -> None:
    root, by_path = clips
    reader = Counted()
    reader.gate.clear()
    insync = InSync(Bounds(asking=1), reader)
    at_work = threading.Thread(target=insync.offset, args=(by_path["late.mp4"], root))
    at_work.start()
    while not reader.found:
        pass
    with pytest.raises(BusyError, match="Other clips are being looked at"):
        insync.offset(by_path["right.mp4"], root)
    reader.gate.set()
    at_work.join(60)
    assert insync.offset(by_path["right.mp4"], root)["offset_ms"] == 100
    insync.close()


def test_a_copy_that_is_asked_for_while_the_server_stops_leaves_nothing(
    clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, by_path = clips
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    insync = InSync(reader=Counted())
    insync.offset(by_path["late.mp4"], root)
    insync.close()
    with pytest.raises(StoppedError):
        repaired(insync, by_path["late.mp4"], root)
    assert list(temporary.iterdir()) == []


def test_one_that_takes_too_long_has_no_answer(folder: Path) -> None:
    reader = OffsetReader(patience=0.01)
    found = reader.find(folder / "late.mp4")
    assert found.seconds is None and "longer than 0.01 s" in found.why and not found.lasting
    reader.close()
    reader = OffsetReader()
    assert reader.find(folder / "silent.mp4").lasting
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


def test_one_search_by_rhythm_at_a_time(folder: Path) -> None:
    home = Home(folder, Limits())
    with home._rhythm, pytest.raises(BusyError, match="Another search by rhythm"):
        home.search(text="a wall", rhythm=True)
    assert home.search(text="a wall", rhythm=False) is not None
    home.close()

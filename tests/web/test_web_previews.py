"""Clips that take for ever, or crash what reads them, keep nobody else from being answered."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from _clips import make_clip
from _folders import until
from _server import Served, serving
from _work import crash, never_done
from earsight.errors import BusyError, MediaError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.reports import preview
from earsight.library.reports.preview import PreviewLimits, PreviewReader
from earsight.web import app_state
from earsight.web import previews as previews_module
from earsight.web.previews import Previews


@contextmanager
def reading(**seconds: float) -> Iterator[PreviewReader]:
    reader = PreviewReader(PreviewLimits(**seconds))
    try:
        yield reader
    finally:
        reader.close()


def clip_of(path: Path) -> LibraryClip:
    has = ("audio", "visual")
    return LibraryClip(1, path.name, None, 1.0, has, "ok", "", path.name, path, 1, 1)


@pytest.mark.parametrize(
    ("work", "seconds", "why"), [(never_done, 1.0, "within 1 s"), (crash, 60.0, "crashed")]
)
def test_what_takes_too_long_or_crashes_is_ended_and_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: object, seconds: float, why: str
) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    with reading(frame=seconds, sound=60.0) as reader, monkeypatch.context() as patch:
        patch.setattr(preview, "picture", work)
        with pytest.raises(MediaError, match=why):
            reader.picture(clip, 0.0)
        heights, length = reader.peaks(clip, 10)
    assert len(heights) == 10 and max(heights) == 1 and length == pytest.approx(1, abs=0.1)
    with reading() as reader:
        assert reader.picture(clip, 0.0).startswith(b"\xff\xd8")
        with pytest.raises(MediaError, match="no such file"):
            reader.picture(tmp_path / "gone.mp4", 0.0)


def test_a_sound_that_is_read_for_long_keeps_no_frame_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    monkeypatch.setattr(preview, "peaks", never_done)
    with reading(sound=60.0, waiting=0.2) as reader, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(reader.peaks, clip, 10)
        until(lambda: reader._one_sound.locked())
        with pytest.raises(BusyError, match=r"waited 0\.2 s for the file before it"):
            reader.peaks(clip, 10)
        assert reader.picture(clip, 0.0).startswith(b"\xff\xd8")
        assert not begun.done()
        reader.close()
        with pytest.raises(MediaError):
            begun.result(60)


class Slow(PreviewReader):
    """Takes until it is let go, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.calls = 0

    def picture(self, clip: Path, at: float) -> bytes:
        self.calls += 1
        assert self.go_on.wait(60)
        raise MediaError("Reading it took longer than 10 s.")


def test_who_comes_when_many_wait_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clip_of(make_clip(tmp_path / "a.mp4"))
    slow = Slow()
    monkeypatch.setattr(previews_module, "MAX_ASKING", 3)
    previews = Previews(slow)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(previews.thumbnail, clip, tmp_path, None) for _ in range(3)]
        until(lambda: previews._asking["thumbnail"]._value == 0)
        with pytest.raises(BusyError, match="Try again"):
            previews.thumbnail(clip, tmp_path, None)
        assert len(previews.waveform(clip, tmp_path)["peaks"]) == 200  # has room of its own
        slow.go_on.set()
        for one in waiting:
            with pytest.raises(HTTPException, match="longer than 10 s"):
                one.result(60)
    assert slow.calls == 1  # the others were told what the first had found
    with pytest.raises(HTTPException, match=r"longer than 10 s\. It is tried again"):
        previews.thumbnail(clip, tmp_path, 0.7)  # another second of the same clip
    assert slow.calls == 1
    with pytest.raises(HTTPException):
        previews.thumbnail(replace(clip, content="another"), tmp_path, None)
    assert slow.calls == 2
    monkeypatch.setattr(previews_module, "RETRY", 0.0)
    with pytest.raises(HTTPException):
        previews.thumbnail(clip, tmp_path, None)
    assert slow.calls == 3 and not previews._making
    previews.close()


def test_who_awaits_the_same_for_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clip_of(make_clip(tmp_path / "a.mp4"))
    slow = Slow()
    monkeypatch.setattr(previews_module, "WAITING", 0.1)
    previews = Previews(slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(previews.thumbnail, clip, tmp_path, None)
        until(lambda: slow.calls == 1)
        with pytest.raises(BusyError):
            previews.thumbnail(clip, tmp_path, None)
        slow.go_on.set()
        with pytest.raises(HTTPException):
            first.result(60)
    assert not previews._making and previews._asking["thumbnail"]._value == 14


def test_what_is_kept_has_a_limit_and_what_is_empty_is_made_once_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(previews_module, "MAX_BYTES", 10)
    previews, made = Previews(), []

    def get(name: str, size: int) -> bytes:
        def make() -> tuple[bytes, int]:
            made.append(name)
            return b"", size

        return bytes(previews._get(("thumbnail", name), make))

    for name, size in [("empty", 0), ("empty", 0), ("a", 6), ("empty", 0), ("b", 6), ("a", 6)]:
        assert get(name, size) == b""
    assert made == ["empty", "a", "b", "a"]


def test_a_server_with_a_clip_that_takes_for_ever_answers_the_others(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty-five ask for it, more than the server has threads."""
    monkeypatch.setattr(preview, "peaks", never_done)
    monkeypatch.setattr(
        app_state, "Previews", lambda: Previews(PreviewReader(PreviewLimits(sound=3.0)))
    )
    with serving(made) as served, ThreadPoolExecutor(45) as pool:
        clips = served.get("/api/clips").json["clips"]
        id = next(clip["id"] for clip in clips if clip["path"] == "red/a.mp4")
        slow = [pool.submit(served.get, f"/api/clips/{id}/waveform") for _ in range(45)]
        until(lambda: sum(one.done() for one in slow) >= 45 - 14)  # refused at once
        assert not all(one.done() for one in slow)
        assert_answers(served, id)
        replies = [one.result(60) for one in slow]
        again = served.get(f"/api/clips/{id}/waveform")
    assert [reply.status for reply in replies].count(429) == 45 - 14
    assert {reply.headers.get("retry-after") for reply in replies if reply.status == 429} == {"10"}
    assert {reply.status for reply in replies} == {404, 429}
    assert again.status == 404 and "within 3 s" in again.error


def assert_answers(served: Served, id: int) -> None:
    for path in ("/api/clips", f"/api/clips/{id}/thumbnail", f"/api/clips/{id}/media"):
        assert served.get(path).status == 200

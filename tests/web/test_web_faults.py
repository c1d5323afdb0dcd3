"""Whose fault it is: a file's or a request's is a 4xx, the machine's or ours a 5xx that is told."""

import errno
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from _folders import until
from _received import set_info
from _server import Served, serving
from earsight.web import app_state

SECRET = "/private/place/of the machine"
MACHINE = {errno.EMFILE: 500, errno.EIO: 500, errno.ENOMEM: 500, errno.ENOSPC: 507}
CALLS = {  # what fails → the request that needs it, and the status where the file is to blame
    "earsight.library.client.Library.clips": ("GET", "/api/clips", 409),
    "earsight.web.media.open_directory": ("GET", "/api/clips/{id}/media", 404),
    "earsight.library.reports.preview.PreviewReader.picture": (
        "GET",
        "/api/clips/{id}/thumbnail",
        409,
    ),
    "earsight.web.media.show_folder": ("POST", "/api/clips/{id}/open", 409),
}


class Kept(logging.Handler):
    """Keeps what a logger is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[BaseException | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.faults.append(record.exc_info[1] if record.exc_info else None)


@pytest.fixture(scope="module")
def served(made: Path) -> Iterator[Served]:
    with serving(made) as server:
        server.get("/api/map")  # what is loaded in the background is there
        yield server


@pytest.fixture
def printed() -> Iterator[Kept]:
    """What the server prints with a traceback."""
    kept, logger = Kept(), logging.getLogger("uvicorn.error")
    logger.addHandler(kept)
    yield kept
    logger.removeHandler(kept)


def whole_clip(served: Served) -> int:
    clips = served.get("/api/clips").json["clips"]
    return next(int(clip["id"]) for clip in clips if clip["path"] == "red/a.mp4")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.ENAMETOOLONG, *MACHINE])
@pytest.mark.parametrize("call", CALLS)
def test_the_machine_is_at_fault_or_the_file(
    served: Served, printed: Kept, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), f"{SECRET}/a.mp4")

    method, path, status = CALLS[call]
    path = path.format(id=whole_clip(served))
    monkeypatch.setattr(call, fail)
    reply = served.ask(path, method)
    assert reply.status == MACHINE.get(number, status), reply.body
    (told,) = reply.json.values()
    if "show_folder" not in call:  # which tells the person at this machine what was looked for
        assert SECRET not in told
    if number in MACHINE:
        until(lambda: printed.faults)  # the answer is sent first
        assert [getattr(one, "errno", None) for one in printed.faults] == [number]
        assert os.strerror(number) in told and "library" not in told
    else:
        assert not printed.faults


def test_what_is_no_text_is_not_blamed_on_the_library(
    served: Served, printed: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        b"\xff".decode()

    monkeypatch.setattr("earsight.library.client.Library.clips", fail)
    reply = served.get("/api/clips")
    assert reply.status == 500 and "bug in Earsight" in reply.json["error"]
    until(lambda: printed.faults)


@pytest.mark.parametrize("number", MACHINE)
def test_an_upload_that_the_machine_cannot_take(
    served: Served, made: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number), SECRET)

    monkeypatch.setattr("earsight.web.uploads.tempfile.mkstemp", fail)
    reply = served.upload(made / "red/a.mp4", "a.mp4", "?by=audio")
    assert reply.status == MACHINE[number]
    assert os.strerror(number) in reply.json["error"] and SECRET not in reply.json["error"]


# A library whose extractors ask for what nobody agreed to


def test_a_library_that_asks_for_more_answers_as_far_as_it_can(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = "inception:pca=/somewhere/pca.safetensors"
    set_info(library, lambda info: info["sources"].update(visual=spec))
    drawn = threading.Event()
    real = app_state.project_library

    def draw(opened: object) -> object:
        drawn.set()
        return real(opened)  # type: ignore[arg-type]

    monkeypatch.setattr(app_state, "project_library", draw)
    with serving(library, warm=True) as served:
        assert drawn.wait(60)  # it is warmed as far as it goes, before anybody asks
        info = served.get("/api/library")
        assert info.status == 200 and info.json["n_clips"] == 9 and info.json["text"] is False
        assert "--trust-library" in info.json["why_no_text"]
        uploaded = served.upload(library / "red/a.mp4", "a.mp4", "?by=visual")
        assert uploaded.status == 409 and "--trust-library" in uploaded.error
        assert served.get("/api/search?text=red").status == 409
        clip = whole_clip(served)
        assert served.get(f"/api/search?clip={clip}").json["answers"]
        assert served.get("/api/map").json["points"]

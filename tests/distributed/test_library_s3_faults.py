"""A library at s3:// and what goes wrong: each is told in our words, and the library stays."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import earsight
from _far import LIBRARY, answering, believed, opened, quick, sounds  # noqa: F401
from _folders import QUICK
from _s3 import REFUSING, Server, s3_server
from earsight.errors import EarsightError, LibraryError, ModelFileError, StorageError
from earsight.library.catalog.open import open_for_writing
from earsight.library.indexing import pipeline
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import library_status
from earsight.library.search.searcher import search
from earsight.storage import Remote

pytestmark = pytest.mark.usefixtures("s3", "quick")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sounds(tmp_path / "clips", 300, 310)


def everywhere(folder: Path, library: str, *, match: str, kind: type[EarsightError]) -> None:
    """Every way in says the same, within seconds."""
    begun = time.monotonic()
    for way in (
        lambda: index(folder, library=library, **QUICK),
        lambda: search(library, folder / "300.wav"),
        lambda: earsight.Library(library),
    ):
        with pytest.raises(kind, match=match):
            way()
    assert time.monotonic() - begun < 120, "it must not be waited for minutes"


def test_nothing_listens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        everywhere(folder, LIBRARY, match="nothing answers at http", kind=StorageError)


def test_a_wrong_bucket(folder: Path) -> None:
    everywhere(folder, "s3://nowhere/lib", match="no bucket 'nowhere'", kind=StorageError)


def test_an_address_without_a_bucket(folder: Path) -> None:
    everywhere(folder, "s3://", match="must be s3://bucket/key", kind=EarsightError)


def test_refused_credentials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(**REFUSING) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        everywhere(folder, LIBRARY, match=r"refuses it\. Set AWS_ACCESS_KEY_ID", kind=StorageError)


class _Forbidding(BaseHTTPRequestHandler):
    """Answers as S3 does where nobody says who asks; moto stumbles over that."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815 - the names that http.server asks for

    def log_message(self, *_: object) -> None:
        pass


def test_missing_credentials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        everywhere(folder, LIBRARY, match=r"refuses it\. Set AWS_ACCESS_KEY_ID", kind=StorageError)
        server.shutdown()


def test_no_library_there(folder: Path) -> None:
    for way in (lambda: search(LIBRARY, folder / "300.wav"), lambda: library_status(LIBRARY)):
        with pytest.raises(LibraryError, match=f"no library at {LIBRARY}. Make one: earsight"):
            way()


def test_a_folder_with_nothing_makes_no_library(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LibraryError, match="holds nothing playable"):
        index(tmp_path / "empty", library=LIBRARY)
    assert list(Remote.parse(LIBRARY).walk()) == []


def test_an_unmounted_disk_empties_nothing(folder: Path) -> None:
    index(folder, library=LIBRARY, **QUICK)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(LibraryError, match="holds no media now, but its library knows 2 clips"):
        index(folder, library=LIBRARY)
    assert answering() == believed() == {"300.wav", "310.wav"}


def test_a_newer_library_and_an_older_one(folder: Path) -> None:
    index(folder, library=LIBRARY, **QUICK)
    with open_for_writing(LIBRARY) as catalog:
        catalog.set("format", 99)
    everywhere(folder, LIBRARY, match="format 99; .* reads format 3. Update", kind=LibraryError)


def test_a_database_that_says_more_than_ours_is_refused(folder: Path) -> None:
    """As on a disk: SQLite does what a file says."""
    index(folder, library=LIBRARY, **QUICK)
    with open_for_writing(LIBRARY) as catalog, catalog.writing() as db:
        db.execute("CREATE TRIGGER t AFTER DELETE ON clips BEGIN DELETE FROM contents; END")
        db.execute("UPDATE clips SET label = 'a change of a row, which is what is sent'")
    told = "holds 'CREATE TRIGGER t AFTER"
    everywhere(folder, LIBRARY, match=told, kind=LibraryError)
    kept = Remote.parse(LIBRARY) / "library.db"
    kept.write(b"not a database at all, but long enough to be read")
    everywhere(folder, LIBRARY, match="is not a readable library", kind=LibraryError)


def test_the_server_dies_in_the_middle(
    folder: Path, monkeypatch: pytest.MonkeyPatch, s3: Server
) -> None:
    """What answers is what answered; the same command goes on once the server is back."""
    index(folder, library=LIBRARY, **QUICK)
    before = opened().current()
    sounds(folder, 320)
    real = pipeline.write_embedding

    def unplugged(*arguments: Any, **named: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_embedding", unplugged)
        with pytest.raises(StorageError, match="nothing answers"):
            index(folder, library=LIBRARY)
    assert opened().current() == before and answering() == {"300.wav", "310.wav"}
    assert believed() == {"300.wav", "310.wav", "320.wav"}
    report = index(folder, library=LIBRARY)
    assert report.rebuilt and report.changes.added == 0
    assert answering() == believed()


def test_a_model_that_was_changed(folder: Path, tmp_path: Path) -> None:
    index(folder, library=LIBRARY, **QUICK)
    current = opened().current()
    assert current is not None
    space = Remote.parse(f"{LIBRARY}/models/{current.id}/space.json")
    (tmp_path / "other").write_text(json.dumps({"format": 1, "weight": 0.5, "bridge": "words"}))
    space.upload(tmp_path / "other")
    with pytest.raises(ModelFileError, match=r"is not what was written there.*--rebuild"):
        search(LIBRARY, folder / "300.wav")
    space.delete()
    with pytest.raises(ModelFileError, match="The model is missing"):
        search(LIBRARY, folder / "300.wav")
    assert index(folder, library=LIBRARY).rebuilt  # it is noticed, and made anew
    assert search(LIBRARY, folder / "300.wav", for_="audio").results


def test_a_damaged_copy_of_a_model_is_fetched_again(folder: Path, tmp_path: Path) -> None:
    index(folder, library=LIBRARY, **QUICK)
    answer = search(LIBRARY, folder / "300.wav", for_="audio")
    (copy,) = (tmp_path / "home" / "libraries").rglob("space.json")
    copy.write_text("{}")
    assert search(LIBRARY, folder / "300.wav", for_="audio") == answer


def test_paths_that_lead_out_of_a_folder_are_refused(folder: Path) -> None:
    index(folder, library=LIBRARY, **QUICK)
    with open_for_writing(LIBRARY) as catalog:
        catalog.put_clips([(b"../secret.wav", 1, 2, catalog.clips()[0].content)])
    with pytest.raises(LibraryError, match=r"a clip lies at b'\.\./secret\.wav'"):
        search(LIBRARY, folder / "300.wav", for_="audio")


def test_vectors_that_are_gone_are_read_again(folder: Path) -> None:
    index(folder, library=LIBRARY, **QUICK)
    for key, _ in Remote.parse(LIBRARY).walk():
        if key.startswith("vectors/audio-"):
            Remote.parse(f"{LIBRARY}/{key}").delete()
    report = index(folder, library=LIBRARY)
    assert report.changes.again == 2 and answering() == believed() == {"300.wav", "310.wav"}

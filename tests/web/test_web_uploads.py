"""Files that are dropped: large, endless, slow, hostile; and that nothing of them stays."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from _clips import make_clip
from _folders import until
from _server import Reply, Served, multipart, read_all, serving
from _work import crash, fail, nothing_that_travels, sleep
from earsight import engine
from earsight.library.search.sandbox import Sandbox, UploadReader
from earsight.web.app_state import AppState
from earsight.web.temporary_folder import remove_abandoned
from earsight.web.uploads import Upload, UploadLimits

HEAD = (
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=edge\r\n"
)
PART = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
# Generous with time, so that nothing is cut on a busy machine but in the tests of just that.
SMALL = UploadLimits(
    bytes=1_000_000, at_once=2, idle=20, patience=60, slowest=10**9, media_seconds=60
)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """A place for temporary files of this module's own."""
    folder = tmp_path_factory.mktemp("temporary")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    yield folder
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def served(made: Path, temporary: Path):  # type: ignore[no-untyped-def]
    with serving(made, limits=SMALL) as server:
        server.temporary = temporary
        yield server
    assert list(temporary.iterdir()) == []


@pytest.fixture(autouse=True)
def nothing_stays(served: Served):  # type: ignore[no-untyped-def]
    yield
    begun = time.monotonic()
    while left(served.temporary):
        assert time.monotonic() - begun < 60, left(served.temporary)
        time.sleep(0.02)


def left(folder: Path) -> list[Path]:
    uploads = folder.glob("earsight-uploads-*/**/*")
    return [path for path in uploads if path.is_file() and path.name != "lock"]


def status(reply: bytes) -> int:
    return int(reply.split()[1])


# -- how they come -----------------------------------------------------------------------------


def test_two_gigabytes_are_refused_at_once(served: Served) -> None:
    reply = served.raw(HEAD + b"Content-Length: 2147483648\r\n\r\n" + PART)
    assert status(reply) == 413  # nothing was waited for: that would end with 408
    assert b"at most 1,000,000 bytes; got 2147483648" in reply


def test_an_endless_upload_is_cut(served: Served) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        line.sendall(b"%x\r\n%s\r\n" % (len(PART), PART))
        block = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        try:
            while sent < 200_000_000:
                line.sendall(block)
                sent += 0x10000
        except (BrokenPipeError, ConnectionResetError):
            pass
        reply = read_all(line)
    assert sent < 100_000_000  # what the sockets' buffers hold beyond the limit
    assert not reply or status(reply) == 413


def test_one_that_says_nothing_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, limits=replace(SMALL, idle=0.5)) as server:
        reply = server.raw(HEAD + b"Content-Length: 900000\r\n\r\n" + PART)
    assert status(reply) == 408 and b"Nothing came for 0.5 s" in reply


def test_one_that_trickles_is_ended(tmp_path: Path) -> None:
    with (
        serving(tmp_path, limits=replace(SMALL, patience=1.0)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as line,
    ):
        line.sendall(HEAD + b"Content-Length: 900000\r\n\r\n" + PART)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(200):
                line.sendall(b"x")
                time.sleep(0.1)
        reply = read_all(line)
    assert not reply or (status(reply) == 408 and b"slower than" in reply)


def test_one_that_breaks_off(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(HEAD + b"Content-Length: 900000\r\n\r\n" + PART + bytes(1000))
    assert served.get("/api/library").status == 200


def test_too_many_at_once(served: Served) -> None:
    served.upload(b"This is no film.")  # starts the process that reads
    lines = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(2)]
    for line in lines:
        line.sendall(HEAD + b"Content-Length: 900000\r\n\r\n" + PART)
    reply: list[Reply] = []

    def is_refused() -> bool:
        reply[:] = [served.upload(b"This is no film.")]
        return reply[0].status == 429

    until(is_refused)
    assert reply[0].headers["retry-after"] == "10"
    for line in lines:
        line.close()


def test_only_this_user_can_read_it(
    served: Served, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    real = AppState.read_upload

    def look(self: AppState, upload: Upload, **options: Any) -> object:
        modes.extend(
            [upload.path.stat().st_mode & 0o777, upload.path.parent.stat().st_mode & 0o777]
        )
        assert "wav" not in upload.path.name
        return real(self, upload, **options)

    monkeypatch.setattr(AppState, "read_upload", look)
    assert served.upload((made / "sound.wav").read_bytes(), "a.wav").status == 200
    assert modes == [0o600, 0o700]


def test_a_file_waits_for_the_one_before_it_but_not_for_ever(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandboxes: list[Sandbox] = []
    monkeypatch.setattr(UploadReader, "warm", lambda self, _: sandboxes.append(self._sandbox))
    with serving(made, limits=replace(SMALL, waiting=0.2), warm=True) as server:
        server.until("/api/library", lambda _: any(one._waiting == 0.2 for one in sandboxes))
        (sandbox,) = (one for one in sandboxes if one._waiting == 0.2)  # not of a server before
        process = sandbox._idle.get()  # as while another file is being read
        reply = server.upload((made / "sound.wav").read_bytes(), "second.wav")
        sandbox._idle.put(process)
        assert reply.status == 429 and int(reply.headers["retry-after"]) > 0
        assert "second.wav waited 0.2 s for the file before it" in reply.error
    apart = engine.IsolatedWorker()
    first = threading.Thread(target=apart.call, args=(sleep, 0.5, 60))
    first.start()
    while not apart._lock.locked():
        time.sleep(0.01)
    assert apart.call(sleep, 0.0, 60, wait=60) == "done"  # the first one ended meanwhile
    first.join(60)
    apart.close()


# Starlette closes the file of a part that has no end only when it is collected.
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
@pytest.mark.parametrize(
    ("kind", "body", "wanted"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", multipart(b"x"), 400),
        ("multipart/form-data; boundary=other", multipart(b"x"), 400),
        ("multipart/form-data; boundary=edge", b"", 400),
        ("multipart/form-data; boundary=edge", b"--edge--\r\n", 400),
        ("multipart/form-data; boundary=edge", multipart(b"x")[:-9], 400),
        ("multipart/form-data; boundary=edge", PART.replace(b'; filename="a.wav"', b""), 400),
        ("multipart/form-data; boundary=edge", PART + b"x\r\n" + multipart(b"y"), 400),
        ("multipart/form-data; boundary=edge", b"--edge\r\n" + b"a: b\r\n" * 50, 400),
        ("multipart/form-data; boundary=edge", b"--edge\r\n" + b"a" * 100_000, 400),
        ("multipart/form-data; boundary=" + "x" * 500, b"", 400),
        ("multipart/form-data; boundary=edge", os.urandom(5000), 400),
    ],
)
def test_bodies_that_hold_no_file(served: Served, kind: str, body: bytes, wanted: int) -> None:
    reply = served.ask("/api/search", "POST", {"Content-Type": kind}, body)
    assert reply.status == wanted and reply.error


# -- what they are -----------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1 << 16)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    image = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + image + b";"


def test_a_picture_that_claims_a_hundred_thousand_squared(served: Served) -> None:
    for blob in (png(100_000, 100_000), gif(65_535, 65_535)):
        reply = served.upload(blob, "small.png")
        assert reply.status == 422 and "pixels" in reply.error, reply.error
        assert "small.png" in reply.error and "earsight-uploads" not in reply.error


def test_sound_that_claims_a_hundred_hours(served: Served, tmp_path: Path) -> None:
    times = [3000.0 * k for k in range(120)]  # 120 frames over 100 hours
    sparse = make_clip(tmp_path / "sparse.mkv", 1, audio=False, frame_times=times)
    assert sparse.stat().st_size < 200_000
    reply = served.upload(sparse)
    assert reply.status == 422 and "longer than the 60 s" in reply.error
    clip = make_clip(tmp_path / "clip.mp4", 1).read_bytes()
    claims = bytearray(clip)
    for match in re.finditer(rb"stts", clip):  # each frame is to last for 100 hours / 25
        claims[match.end() + 12 : match.end() + 16] = struct.pack(">I", 14_400 * 12_800)
    reply = served.upload(bytes(claims))
    assert reply.status == 422 and "longer than the 60 s" in reply.error, reply.body
    boasts = bytearray(clip)
    for match in re.finditer(rb"mvhd", clip):  # nobody believes this one
        boasts[match.end() + 16 : match.end() + 20] = struct.pack(">I", 360_000_000)
    assert served.upload(bytes(boasts)).status == 200


HOSTILE = {
    "list.m3u8": b"#EXTM3U\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n",
    "list.txt": b"ffconcat version 1.0\nfile '%s'\n",
    "list.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n# %s",
    "list.pls": b"[playlist]\nFile1=%s\n",
    "list.mpd": b"<?xml version='1.0'?><MPD><BaseURL>%s</BaseURL></MPD>",
    "list.smil": b"<smil><body><video src='%s'/></body></smil>",
    "list.asx": b"<asx><entry><ref href='%s'/></entry></asx>",
    "page.html": b"<html><video src='%s'></html>",
    "image.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='%s'/></svg>",
    "words.txt": b"a dog barks %s",
    "words.srt": b"1\n00:00:00,000 --> 00:00:02,000\na dog barks %s\n",
    "empty.wav": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_playlists_and_texts_are_no_media(served: Served, made: Path, name: str) -> None:
    target = os.fsencode(made / "red/a.mp4")
    blob = HOSTILE[name] % target if b"%s" in HOSTILE[name] else HOSTILE[name]
    reply = served.upload(blob, name)
    assert reply.status == 422 and name in reply.error, reply.body


def test_names_are_for_people_alone(served: Served, made: Path) -> None:
    blob = (made / "sound.wav").read_bytes()
    for name, shown in {
        "../../etc/cron.d/x.wav": "x.wav",
        "C:\\\\temp\\\\x.wav": "x.wav",
        "/etc/passwd": "passwd",
        "a\tb.wav": "a�b.wav",
        "x" * 400: "x" * 200,
        "red/a.mp4": "a.mp4",
        "": "the file",
        "%2e%2e/x.srt": "x.srt",
    }.items():
        reply = served.upload(blob, name)
        assert reply.json["query"]["name"] == shown, (name, reply.body)
    assert not (made.parent / "x.wav").exists()


def test_it_is_never_indexed_or_kept(served: Served, made: Path, tmp_path: Path) -> None:
    before = served.get("/api/library").json["state"]
    clip = make_clip(tmp_path / "new.mp4", tone=1700)
    assert served.upload(clip, query="?by=audio").status == 200
    assert served.get("/api/library").json["state"] == before
    assert left(served.temporary) == []


# -- what happens to the process that reads them ------------------------------------------------


def test_a_process_apart_dies_is_ended_and_begins_again() -> None:
    apart = engine.IsolatedWorker()
    assert apart.call(sleep, 0.0, 30) == "done"
    with pytest.raises(engine.WorkerDied):
        apart.call(crash, None, 30)
    assert apart.call(sleep, 0.0, 30) == "done"
    with pytest.raises(engine.TookTooLong, match=r"not done within 0\.2 s"):
        apart.call(sleep, 60, 0.2)
    with pytest.raises(ZeroDivisionError, match="an error of its own"):
        apart.call(fail, None, 30)
    with pytest.raises(RuntimeError, match="cannot pickle"):
        apart.call(nothing_that_travels, None, 30)
    assert apart.call(sleep, 0.0, 30) == "done"
    apart.close()


def test_a_file_that_takes_too_long(made: Path) -> None:
    from earsight.errors import MediaError
    from earsight.library.embedding.extraction import Sources

    reader = UploadReader(max_seconds=600, patience=0.01)
    with pytest.raises(MediaError, match=r"a\.mp4 could not be read within 0\.01 s"):
        reader.read(made / "red/a.mp4", "a.mp4", Sources())
    reader.close()


# -- after a crash -------------------------------------------------------------------------------


def test_a_crash_leaves_nothing_for_long(made: Path, tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "earsight", "serve", "-l", str(made), "--port=0", "--no-token"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:  # type: ignore[call-overload]
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])  # type: ignore[index]
        begun = time.monotonic()
        while True:
            try:
                upload = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                assert time.monotonic() - begun < 60
                time.sleep(0.02)
        upload.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 900000\r\n\r\n" + PART)
        assert upload.recv(100).startswith(b"HTTP/1.1 100")  # it is being received
        os.kill(process.pid, signal.SIGKILL)
        told = process.stderr.read() + process.stdout.read()
        upload.close()
    assert "a.wav" not in told and "search" not in told  # nothing is logged
    assert left(tmp_path) == []  # what is being received has no name
    (folder, *_) = folders = list(tmp_path.glob("earsight-uploads-*"))
    (folder / "query").write_bytes(b"a file that was being read")
    for path in folders:
        os.utime(path, (0, 0))  # a young one may be just being made
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path)
    try:
        remove_abandoned()
        assert not list(tmp_path.glob("earsight-uploads-*"))
        other = tmp_path / "earsight-uploads-of-someone"
        other.symlink_to(made)  # nothing is removed through a link
        remove_abandoned()
        assert made.exists() and other.is_symlink()
    finally:
        tempfile.tempdir = before

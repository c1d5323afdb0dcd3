"""What a hostile page, request or link gets from a running server: nothing."""

import os
import shutil
from pathlib import Path

import pytest

from _server import Served, serving
from earsight.errors import InputError
from earsight.library.catalog.location import FOLDER
from earsight.web import desktop
from earsight.web.security import is_loopback
from earsight.web.server import access_rules
from earsight.web.uploads import UploadLimits

SECRET = b"nobody outside may read this"
TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("guarded")
    clips = Path(shutil.copytree(made, folder / "clips"))
    (folder / "secret.mp4").write_bytes(SECRET)
    with serving(clips) as server:
        server.folder = clips
        yield server


def number(served: Served, path: str) -> int:
    found = served.get("/api/clips?limit=500").json["clips"]
    return next(int(clip["id"]) for clip in found if clip["path"] == path)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:80", "localhost", "LOCALHOST:9", "[::1]:8000"]
)
def test_our_own_names(served: Served, host: str) -> None:
    assert served.get("/api/library", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", "0.0.0.0",
     "127.0.0.1.nip.io", "localhost@evil.example", "", "[::1", "127.0.0.1:80:80"],
)  # fmt: skip
def test_a_foreign_host_is_refused(served: Served, host: str) -> None:
    for path in ("/", "/api/library", "/api/clips/1/media"):
        reply = served.get(path, Host=host)
        assert reply.status == 400 and b"clips" not in reply.body


def test_no_host_and_two_hosts(served: Served) -> None:
    for lines in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        reply = served.raw(b"GET /api/library HTTP/1.0\r\n" + lines + b"\r\n")
        assert reply.split()[1] in (b"400", b"403"), reply


def test_origins(served: Served) -> None:
    own = f"http://127.0.0.1:{served.port}"
    assert served.get("/api/library", Origin=own).status == 200
    for other in ("http://evil.example", "null", own.replace("http", "https"), own + "0", ""):
        for method in ("GET", "POST"):
            reply = served.ask("/api/index", method, {"Origin": other})
            assert reply.status == 403 and "Origin" in reply.error
    assert not served.get("/api/index").json["running"]


def test_other_sites_may_link_to_the_page_and_nothing_else(served: Served) -> None:
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert served.ask("/api/clips/1/thumbnail", headers=cross).status == 403
    navigates = cross | {"Sec-Fetch-Mode": "navigate"}
    assert served.ask("/", headers=navigates).status == 200
    assert served.ask("/api/library", headers=navigates).status == 403
    assert served.ask("/", "POST", headers=navigates).status == 403


def test_every_answer_has_its_headers(served: Served) -> None:
    for reply in (
        served.get("/"),
        served.get("/api/library"),
        served.get("/nothing"),
        served.get("/api/clips/1/media"),
        served.get("/", Host="evil.example"),
        served.ask("/api/search", "POST", {"Content-Length": str(2 << 30)}),
    ):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in reply.headers
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    "id",
    ["../secret.mp4", "..%2fsecret.mp4", "%2e%2e%2fsecret.mp4", "..%5csecret.mp4",
     "%2fetc%2fpasswd", "/etc/passwd", "0", "-1", "1.0", "1e3", "0x1", "99999999999999999999",
     "%00", "1%00", "+1", "red/a.mp4", "red%2fa.mp4", "%E0%A5%A7", "NaN", "*", "1;2", "%201"],
)  # fmt: skip
def test_ids_are_numbers_and_nothing_else(served: Served, id: str) -> None:
    for what in ("", "/media", "/thumbnail", "/waveform", "/offset", "/repaired"):
        head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        asked = f"GET /api/clips/{id}{what} {head}"
        reply = served.raw(asked.encode())
        assert 400 <= int(reply.split()[1]) < 500, reply[:300]
        assert SECRET not in reply and b"root:" not in reply


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/..%2f..%2fpyproject.toml", "/%2e%2e/app.py", "/app.py", "/page/app.py",
     "/.earsight/library.db", "//etc/passwd",
     "/page/../app.py", "/page/%2e%2e/app.py", "/docs/files/../core.py"],
)  # fmt: skip
def test_no_file_but_the_pages_own(served: Served, path: str) -> None:
    reply = served.raw(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert reply.split()[1] == b"404", reply[:300]


def test_links_that_leave_the_folder(served: Served) -> None:
    clip = served.folder / "red/a.mp4"
    id = number(served, "red/a.mp4")
    kept = clip.read_bytes()
    clip.unlink()
    clip.symlink_to(served.folder.parent / "secret.mp4")
    for what in ("media", "thumbnail", "waveform", "offset", "repaired"):
        reply = served.get(f"/api/clips/{id}/{what}")
        assert reply.status == 403 and "link out of the clips folder" in reply.error
    clip.unlink()
    (served.folder / "inside.mp4").write_bytes(kept)
    clip.symlink_to("../inside.mp4")
    assert served.get(f"/api/clips/{id}/media").body == kept
    clip.unlink()
    clip.symlink_to(clip)  # a circle
    assert served.get(f"/api/clips/{id}/media").status == 404
    clip.unlink()
    os.mkfifo(clip)
    assert served.get(f"/api/clips/{id}/media").status == 403
    clip.unlink()
    red = served.folder / "red"
    away = red.rename(served.folder.parent / "red elsewhere")
    (away / "a.mp4").write_bytes(SECRET)
    red.symlink_to(away)
    assert served.get(f"/api/clips/{id}/media").status == 403
    red.unlink()
    (away / "a.mp4").write_bytes(kept)
    away.rename(red)
    assert served.get(f"/api/clips/{id}/media").body == kept


def test_a_library_that_was_made_to_point_elsewhere(made: Path, tmp_path: Path) -> None:
    import sqlite3

    clips = Path(shutil.copytree(made, tmp_path / "clips"))
    (tmp_path / "secret.mp4").write_bytes(SECRET)
    with sqlite3.connect(clips / FOLDER / "library.db") as db:
        db.execute("UPDATE clips SET path = ? WHERE path = ?", (b"../secret.mp4", b"red/a.mp4"))
    with serving(clips) as served:
        found = served.get("/api/clips?limit=500")
        assert found.status == 409 and "inside the clips folder" in found.json["error"]
        assert served.get("/api/clips/1/media").status == 409


def test_a_token_is_asked_for_everywhere() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):
        made = [access_rules(host, None, UploadLimits()).token for _ in range(2)]
        assert made[0] != made[1] and len(str(made[0])) >= 32
    for bad in ("", "short", "with spaces in the token", "semicolon;semicolon;"):
        with pytest.raises(InputError, match="16 to 200 letters"):
            access_rules("127.0.0.1", bad, UploadLimits())
    assert [is_loopback(h) for h in ("127.3.2.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "192.168.1.2", "example.org")] == [False] * 4


def test_none_is_asked_for_on_this_machine_alone() -> None:
    assert access_rules("127.0.0.1", None, UploadLimits(), ask_token=False).token is None
    for host in ("0.0.0.0", "192.168.1.2", "::"):
        with pytest.raises(InputError, match="for this machine alone"):
            access_rules(host, None, UploadLimits(), ask_token=False)
    with pytest.raises(InputError, match="Leave out one of them"):
        access_rules("127.0.0.1", TOKEN, UploadLimits(), ask_token=False)


def test_folders_are_opened_here_by_a_fixed_command(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(desktop, "launch", begun.append)
    id = number(served, "red/b.mp4")
    assert served.get(f"/api/clips/{id}/open").status == 405
    reply = served.ask(f"/api/clips/{id}/open", "POST")
    assert reply.json == {"folder": str((served.folder / "red").resolve())}
    assert begun == [["xdg-open", str((served.folder / "red").resolve())]]


def test_no_file_manager(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    reply = served.ask(f"/api/clips/{number(served, 'red/b.mp4')}/open", "POST")
    assert reply.status == 409 and "No file manager" in reply.error and "xdg-open" in reply.error


def test_bodies_where_none_belongs(served: Served) -> None:
    big = {"Content-Length": str(1 << 20)}
    assert served.ask("/api/index", "POST", big).status == 413
    assert served.ask("/api/library", "GET", big).status == 413
    assert served.ask("/api/quality", "POST", {"Content-Length": "x"}).status == 400

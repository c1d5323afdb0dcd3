"""`earsight serve` as a process: its address, its end, and what it refuses to begin."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from _folders import until
from earsight.errors import EarsightError
from earsight.web.server import serve, url_of

TOKEN = "chosen-by-the-one-who-asks"
HALF = (  # of an upload whose rest never comes
    b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
    b"Expect: 100-continue\r\n"
    b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
)


def earsight(*arguments: object, **more: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "earsight", "serve", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **streams, **more)  # type: ignore[call-overload]


def test_it_says_where_it_is_and_ends_tidily(made: Path, tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "EARSIGHT_TOKEN": TOKEN}
    with earsight("--library", made, "--port", 0, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        address = re.search(
            rf"Earsight is at (http://127\.0\.0\.1:\d+/)\?token={TOKEN}$", process.stdout.readline()
        )
        assert address is not None
        shown = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"{address[1]}api/library", headers=shown)
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert json.load(reply)["n_clips"] == 9
        assert list(tmp_path.glob("earsight-uploads-*"))
        with socket.create_connection(("127.0.0.1", urlsplit(address[1]).port)) as upload:
            upload.sendall(HALF)
            assert upload.recv(100).startswith(b"HTTP/1.1 100")  # it is being received
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)  # the system makes one of two that come at once
            assert process.poll() is None  # the upload has three seconds to end
            process.send_signal(signal.SIGINT)  # the impatient do
            assert process.wait(60) == 130
        told = process.stderr.read()
        assert (
            TOKEN not in told and "Traceback" not in told and told.count("earsight: stopped.") == 1
        )
    assert not list(tmp_path.glob("earsight-uploads-*"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_is_in_the_address(made: Path, host: str) -> None:
    with earsight("--library", made, "--port", 0, "--host", host, "--json", "-q") as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.kill()
    assert len(told["token"]) >= 32
    assert re.fullmatch(rf"http://[^/]+:\d+/\?token={told['token']}", told["url"])


def test_without_a_token(made: Path) -> None:
    environment = os.environ | {"EARSIGHT_TOKEN": TOKEN}  # what is typed goes before it
    asked = ("--library", made, "--port", 0, "--no-token", "--json")
    with earsight(*asked, env=environment) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(told["url"], timeout=60) as reply:
            assert b"Earsight" in reply.read()
        process.terminate()
        process.wait(60)
    assert told["token"] is None and "token" not in told["url"]
    with earsight(*asked, "--token", TOKEN) as process:
        assert process.stderr is not None
        assert "contradict" in process.stderr.read()
    assert process.returncode == 2


def test_the_browser_gets_the_token_in_a_file(made: Path, tmp_path: Path) -> None:
    browser, temporary = tmp_path / "browser", tmp_path / "temporary"
    temporary.mkdir()
    does = f'echo "$1" > {tmp_path}/address; cat "${{1#file://}}" > {tmp_path}/page'
    browser.write_text(f"#!/bin/sh\n{does}\n")
    browser.chmod(0o700)
    environment = os.environ | {"BROWSER": str(browser), "TMPDIR": str(temporary)}
    (tmp_path / "webbrowser.py").write_text("raise SystemExit('a stranger was run')")
    console = [sys.executable, "-P", "-m", "earsight", "serve"]  # -P: as the installed command
    asked = ["--library", str(made), "--port=0", "--open", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pipes |= {"cwd": tmp_path, "env": environment}
    with subprocess.Popen([*console, *asked], **pipes) as process:  # type: ignore[call-overload]
        told = json.loads(process.stdout.readline())
        until(lambda: (tmp_path / "page").exists() and (tmp_path / "page").stat().st_size)
        (page,) = temporary.rglob("open.html")
        assert page.stat().st_mode & 0o77 == page.parent.stat().st_mode & 0o77 == 0
        process.send_signal(signal.SIGINT)
        _, more = process.communicate(timeout=60)
    assert more.count("If the browser shows nothing") == 1 and told["token"] not in more
    assert (tmp_path / "address").read_text().strip() == page.as_uri()
    assert told["url"] in (tmp_path / "page").read_text()
    assert not list(temporary.rglob("*"))


def test_what_it_refuses_to_begin(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder: dict[str, Any] = {"folder": made}
        for arguments, told in (
            (folder | {"port": port}, "cannot listen on"),
            (folder | {"port": 0, "host": "203.0.113.7"}, "cannot listen on"),
            (folder | {"port": 0, "token": "short"}, "16 to 200 letters"),
            (folder | {"port": 0, "ask_token": False, "host": "0.0.0.0"}, "for this machine alone"),
            ({"folder": made / "nowhere"}, "There is no folder"),
        ):
            with pytest.raises(EarsightError, match=told):
                serve(**arguments)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("::1", "http://[::1]:80/"),
        ("0.0.0.0", f"http://{socket.gethostname()}:80/"),
    ],
)
def test_addresses(host: str, url: str) -> None:
    assert url_of(host, 80) == url and url_of(host, 80, "t") == f"{url}?token=t"

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
from urllib.parse import urlsplit

import pytest

from earsight.web.security import url_of

HALF = (  # of an upload whose rest never comes
    b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
    b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
)


def earsight(*arguments: object, **more: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "earsight", "serve", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **streams, **more)  # type: ignore[call-overload]


def test_it_says_where_it_is_and_ends_tidily(made: Path, tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with earsight("--library", made, "--port", 0, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        address = re.search(
            r"Earsight is at (http://127\.0\.0\.1:\d+/)$", process.stdout.readline()
        )
        assert address is not None
        with urllib.request.urlopen(f"{address[1]}api/library", timeout=60) as reply:
            assert json.load(reply)["n_clips"] == 9
        assert list(tmp_path.glob("earsight-uploads-*"))
        with socket.create_connection(("127.0.0.1", urlsplit(address[1]).port)) as upload:
            upload.sendall(HALF)
            while not list(tmp_path.glob("earsight-uploads-*/*")):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)  # the system makes one of two that come at once
            assert process.poll() is None  # the upload has three seconds to end
            process.send_signal(signal.SIGINT)  # the impatient do
            assert process.wait(60) == 130
        told = process.stderr.read()
        assert "Traceback" not in told and told.count("earsight: stopped.") == 1
    assert not list(tmp_path.glob("earsight-uploads-*"))


def test_a_token_is_in_the_address(made: Path) -> None:
    with earsight("--library", made, "--port", 0, "--host", "0.0.0.0", "--json", "-q") as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["url"]
        process.kill()
    assert re.search(r"http://[^/]+:\d+/\?token=[\w-]{32,}$", address)


def test_what_it_refuses_to_begin(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, told in {
            ("--port", port): "cannot be listened on",
            ("--port", 0, "--host", "203.0.113.7"): "cannot be listened on",
            ("--port", 0, "--token", "short"): "16 to 200 letters",
            ("--library", made / "nowhere"): "There is no folder",
        }.items():
            with earsight("--library", made, *arguments) as process:
                assert process.stderr is not None
                assert told in process.stderr.read()
            assert process.returncode == 1


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

"""The real server in a thread, and requests as raw as a test wants them."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from earsight.web.app import create_app
from earsight.web.app_state import AppState
from earsight.web.security import AccessRules
from earsight.web.server import configured, listen
from earsight.web.uploads import UploadLimits

WARM = AppState.warm


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert 400 <= self.status < 500, (self.status, self.body[:300])
        (told,) = self.json.values()
        return str(told)


class Served:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def upload(self, path: Path | bytes, name: str = "query", query: str = "") -> Reply:
        blob = path if isinstance(path, bytes) else path.read_bytes()
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        return self.ask(f"/api/search{query}", "POST", kind, multipart(blob, name))

    def raw(self, blob: bytes, seconds: float = 20) -> bytes:
        """Send bytes and return all that comes until the server closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as line:
            line.sendall(blob)
            return read_all(line)

    def until(self, path: str, done: Any, seconds: float = 60) -> Any:
        begun = time.monotonic()
        while not done(found := self.get(path).json):
            assert time.monotonic() - begun < seconds, found
            time.sleep(0.05)
        return found


def read_all(line: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := line.recv(1 << 16):
            found += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return found


def multipart(blob: bytes, name: str = "query", field: str = "file") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + blob + b"\r\n--edge--\r\n"


@contextmanager
def serving(
    folder: Path,
    *,
    token: str | None = None,
    host: str = "127.0.0.1",
    limits: UploadLimits | None = None,
    warm: bool = False,
) -> Iterator[Served]:
    """Run a server for one library; it always listens on loopback, whatever its rules say.

    Unless it is to be `warm`, it loads what a request needs with the first request.
    """
    limits = limits or UploadLimits()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AppState, "warm", WARM if warm else lambda self: None)
        with _running(create_app(folder, AccessRules(host, token, limits.bytes), limits)) as port:
            yield Served(port)


@contextmanager
def _running(app: ASGIApp) -> Iterator[int]:
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(configured(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()

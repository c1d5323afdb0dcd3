"""Connections that take their time: to begin a request, never; to be answered, as long as it is."""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from _server import read_all
from earsight.web import header_timeout
from earsight.web.server import configured, listen


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body's length; /slow takes longer than a head may."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * header_timeout.HEADER_SECONDS)
    size, more = 0, True
    while more:
        part = await receive()
        size, more = size + len(part.get("body", b"")), part.get("more_body", False)
    told = str(size).encode()
    lengths = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": lengths})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(header_timeout, "HEADER_SECONDS", 0.3)
        listening = listen("127.0.0.1", 0)
        config = configured(app)
        config.lifespan = "off"
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(20)
        listening.close()


def trickle(line: socket.socket, blob: bytes) -> None:
    """Send a byte every 50 ms until the other side has had enough."""
    try:
        for byte in blob * 20:
            line.sendall(bytes([byte]))
            time.sleep(0.05)
    except (BrokenPipeError, ConnectionResetError):
        return
    raise AssertionError("it listened to the end")


def test_one_that_says_nothing(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        assert read_all(line).startswith(b"HTTP/1.1 408 ")


def test_one_that_trickles_its_head(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        trickle(line, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: aaaaaaaaaaaaaaaaa")


def test_one_that_trickles_after_a_whole_request(port: int) -> None:
    whole = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(whole)
        assert line.recv(1000).startswith(b"HTTP/1.1 200 ")
        trickle(line, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: aaaaaaaaaaaaaaaaa")


def test_a_slow_answer_and_a_slow_body_are_not_cut(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path in ("/slow", "/", "/slow"):
        connection.request("GET", path)
        assert connection.getresponse().read() == b"0"
    connection.close()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n")
        for _ in range(15):
            line.sendall(b"x")
            time.sleep(0.05)
        assert line.recv(1000).endswith(b"15")

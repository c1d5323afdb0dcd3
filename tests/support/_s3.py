"""A local S3 server (moto) in a process of its own, on loopback, and its address in AWS_*."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

REFUSING = {"INITIAL_NO_AUTH_ACTION_COUNT": "0"}
"""What makes a server that checks who asks; nobody is known to it."""


@dataclass(frozen=True)
class Server:
    """A server with one bucket, "clips"."""

    url: str
    process: "subprocess.Popen[str]"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ALLOW_HTTP": "true",
        }

    def make(self, bucket: str) -> None:
        """Make a bucket."""
        request = urllib.request.Request(f"{self.url}/{bucket}", method="PUT")
        with urllib.request.urlopen(request, timeout=30):
            pass

    def kill(self) -> None:
        """Let nothing listen there any more."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def s3_server(**more: str) -> Iterator[Server]:
    """Start a server on a free port of loopback; end it with all it holds."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", **more},
    )
    try:
        yield Server(_address(process), process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Relay:
    """A line to a server that counts what comes over it, and can be cut."""

    def __init__(self, server: Server) -> None:
        self._far = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0
        self._is_cut = False
        threading.Thread(target=self._answer, daemon=True).start()

    def cut(self) -> None:
        """Let nothing through any more."""
        self._is_cut = True

    def _answer(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(self._far)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with one, other:
            try:
                while (block := one.recv(1 << 16)) and not self._is_cut:
                    other.sendall(block)
                    self.received += len(block) if one.getpeername() == self._far else 0
                other.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other way ended first
                pass


def _address(process: "subprocess.Popen[str]") -> str:
    """Return where the server says that it listens; then read on, so that it never waits."""
    assert process.stderr is not None
    end, said = time.monotonic() + 60, ""
    while time.monotonic() < end and process.poll() is None:
        if select.select([process.stderr], [], [], 1)[0]:
            said += os.read(process.stderr.fileno(), 4096).decode()
            if found := re.search(r"http://127\.0\.0\.1:\d+", said):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return found[0]
    raise RuntimeError(f"The S3 server did not start: {said}")


@pytest.fixture(scope="session")
def s3_over_all_tests() -> Iterator[Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(s3_over_all_tests: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with an empty bucket "clips", which this process and its children ask."""
    server = s3_over_all_tests
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    reset = urllib.request.Request(f"{server.url}/moto-api/reset", method="POST")
    with urllib.request.urlopen(reset, timeout=30):
        pass
    server.make("clips")
    return server

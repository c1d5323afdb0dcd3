"""A Milvus server on loopback, in a process of its own: milvus-lite's, through the real client."""

import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from earsight.vectors._server import Server


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class MilvusServer:
    """A server that can be killed and started again over the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"milvus://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        return Server.parse(self.address).connect()

    def start(self) -> None:
        command = [sys.executable, "-m", "milvus_lite", "server"]
        # It listens on every interface unless told.
        command += ["--data-dir", str(self.folder / "data"), "--host", "127.0.0.1"]
        command += ["--port", str(self.port)]
        log = self.folder / "log"
        with log.open("wb") as out:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        begun = time.monotonic()
        while b"listening" not in log.read_bytes():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() - begun < 60
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running() -> Iterator[MilvusServer]:
    with tempfile.TemporaryDirectory(prefix="earsight-milvus-") as folder:
        server = MilvusServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """A server that tests share; each leaves its own collections alone."""
    with running() as server:
        yield server


@pytest.fixture
def own_milvus() -> Iterator[MilvusServer]:
    """A server that a test may kill."""
    with running() as server:
        yield server


@contextmanager
def pretending(
    version: str, token: str = "", tls: tuple[bytes, bytes] | None = None
) -> Iterator[int]:
    """Give the port of a server that says it is this version of Milvus, and can nothing else.

    Args:
        version: What it says.
        token: Who asks must send it.
        tls: Key and certificate.
    """
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from pymilvus.grpc_gen import milvus_pb2 as messages
    from pymilvus.grpc_gen import milvus_pb2_grpc as services

    class Pretender(services.MilvusServiceServicer):  # type: ignore[misc]
        def _check(self, context: Any) -> None:
            sent = dict(context.invocation_metadata()).get("authorization", "")
            if base64.b64decode(sent).decode() != token:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure")

        def Connect(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._check(context)
            return messages.ConnectResponse()

        def GetVersion(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._check(context)
            return messages.GetVersionResponse(version=version)

    server = grpc.server(ThreadPoolExecutor(2))
    services.add_MilvusServiceServicer_to_server(Pretender(), server)
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()

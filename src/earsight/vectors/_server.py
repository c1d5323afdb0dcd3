"""A Milvus server: its address, connecting to it, and its errors in Earsight's words."""

import logging
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from earsight import extras
from earsight.errors import EarsightError, InputError, LibraryError
from earsight.vectors._base import REBUILD

T = TypeVar("T")

TOKEN = "EARSIGHT_MILVUS_TOKEN"
"""Environment variable with `user:password` or an API key; kept nowhere else."""

TRUSTED = "EARSIGHT_MILVUS_SERVER"
"""Environment variable with the `host:port` that the token is for.

A library names its server itself, and a library may come from a stranger: without this, whoever
makes one could have the token sent to a server of his own.
"""

_SCHEMES = {"milvus": "http", "milvus+tls": "https"}
_PORT = 19530
_CONNECT = 5.0  # seconds until a server that does not answer is none
_PAUSE = 0.2  # seconds before a server that was lost is asked again
_LINE = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    # A server may hang up on who asks for signs of life more often, which the client would.
    "grpc.keepalive_time_ms": 300_000,
    "grpc.keepalive_permit_without_calls": 0,
}
_CLIENT, _SERVER = (2, 6), (2, 5)  # the oldest that fit
_STRANGE = "something listens there that does not answer as Milvus does. Is the port right?"
_NOT_THERE = 100  # Milvus' code for a collection that is not there
_LOST = re.compile("UNAVAILABLE|DEADLINE_EXCEEDED|Retry|Fail connecting|closed channel")
_REFUSED = re.compile("(?i)unauthenticated|permission ?denied|auth check failure|not authorized")


@dataclass(frozen=True)
class Server:
    """A server at `milvus://host:port`, or `milvus+tls://host:port`.

    >>> str(Server.parse("milvus+tls://vectors.example:443"))
    'milvus+tls://vectors.example:443'
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, address: str) -> "Server":
        """Read an address.

        Raises:
            InputError: It is none, or holds a password.
        """
        form = "An index must be embedded, milvus://host:port or milvus+tls://host:port"
        try:
            parts = urlsplit(address)
            port = parts.port or _PORT
        except ValueError as error:
            raise InputError(f"{form}; {error}.") from error
        if parts.username is not None or parts.password is not None:
            raise InputError(
                "An index's address is remembered, so it must hold no user and no password; set "
                f"{TOKEN} to user:password instead."
            )
        more = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in _SCHEMES or not parts.hostname or more:
            raise InputError(f"{form}; got {address!r}.")
        return cls(parts.scheme, parts.hostname, port)

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self._place}"

    @property
    def _token(self) -> str:
        """The token, if it is for this server."""
        return os.environ.get(TOKEN, "") if os.environ.get(TRUSTED) == self._place else ""

    def connect(self) -> Any:
        """Return a client that has spoken with the server; clients of one server share a line.

        Raises:
            LibraryError: The extra is not installed, nothing listens, what listens is no Milvus,
                it wants another token, or one of both sides is too old.
        """
        pymilvus = _pymilvus()
        until = time.monotonic() + _CONNECT
        while True:
            try:
                client = pymilvus.MilvusClient(
                    f"{_SCHEMES[self.scheme]}://{self._place}",
                    token=self._token,
                    timeout=_CONNECT,
                    grpc_options=_LINE,
                )
                self._check_version(str(client.get_server_version(timeout=_CONNECT)))
                return client
            except EarsightError:
                raise
            except Exception as error:  # whatever a stranger's answer leads the client to
                why = self._why(error)
                if why == _STRANGE and time.monotonic() < until:  # or it is just being started
                    time.sleep(_PAUSE)
                    continue
                raise LibraryError(f"{self} cannot be used as index: {why}") from error

    def _why(self, error: Exception) -> str:
        if _REFUSED.search(_told(error)):
            return self._refused()
        try:
            socket.create_connection((self.host, self.port), timeout=_CONNECT).close()
        except OSError as silence:
            reason = silence.strerror or silence
            return f"nothing answers there ({reason}). Is the server started, and the port right?"
        return _STRANGE

    def _check_version(self, version: str) -> None:
        if version.startswith("milvus_lite"):  # the small server, with numbers of its own
            return
        found = _numbers(version)
        if found < _SERVER:
            raise LibraryError(
                f"{self} runs Milvus {version}; Earsight needs {_dotted(_SERVER)} or newer."
            )

    def ask(self, action: str, name: str, question: Callable[[], T]) -> T:
        """Ask the server something that may be asked twice, for a few seconds if it is lost.

        Args:
            action, name: What is asked of which collection, for people.
            question: Asks.

        Raises:
            LibraryError: What failed, and what to do, in our words.
        """
        until = time.monotonic() + _CONNECT
        while True:
            try:
                return question()
            except (EarsightError, MemoryError):
                raise
            except Exception as error:  # besides its own, the client lets those of gRPC through
                if _LOST.search(_told(error)) and time.monotonic() < until:
                    time.sleep(_PAUSE)
                    continue
                raise LibraryError(
                    f"Cannot {action} collection {name!r} on {self}: {self._advice(error)}"
                ) from error

    def _advice(self, error: Exception) -> str:
        cause = str(getattr(error, "message", "") or error)
        if getattr(error, "code", None) == _NOT_THERE:
            return f"it is not there. {REBUILD}"
        if _REFUSED.search(_told(error)):
            return self._refused()
        if _LOST.search(_told(error)):
            return (
                "the server does not answer any more. What was acknowledged is still there; see "
                "that it runs, and run the same command again."
            )
        return f"{cause}."

    def _refused(self) -> str:
        if self._token:
            return f"it does not let in who is named by {TOKEN}, user:password or an API key."
        return (
            f"it wants to know who asks: {TOKEN}, user:password or an API key, and "
            f"{TRUSTED}={self._place}, the server that it is for."
        )


def _pymilvus() -> Any:
    extras.require("milvus", "An index at milvus://", LibraryError)
    import pymilvus

    if _numbers(pymilvus.__version__) < _CLIENT:
        raise LibraryError(
            f"pymilvus {pymilvus.__version__} is installed; Earsight needs {_dotted(_CLIENT)} or "
            f"newer: {extras.command('milvus')} --upgrade."
        )
    # It writes to stderr what it raises as well.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _told(error: Exception) -> str:
    """Return what an error says, and all that it came from."""
    told: list[BaseException] = [error]
    for one in told:  # grows; the client makes some errors their own cause
        told += [by for by in (one.__cause__, one.__context__) if by and by not in told]
    return " ".join(map(str, told))

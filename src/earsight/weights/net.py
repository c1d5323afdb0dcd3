"""Reading an address: a short patience for connecting, a longer one for the bytes."""

import http.client
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, Request, build_opener

from earsight.weights.network import Timeouts, UnavailableError
from earsight.weights.progress import Progress

_BLOCK = 1 << 18


class _Connection(http.client.HTTPConnection):
    def __init__(self, *args: Any, patience: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self._patience)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, patience: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self._patience)


class _Http(HTTPHandler):
    def __init__(self, patience: float) -> None:
        super().__init__()
        self._patience = patience

    def http_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, patience=self._patience), request)


class _Https(HTTPSHandler):
    def __init__(self, patience: float, context: ssl.SSLContext | None) -> None:
        self._certificates = context or ssl.create_default_context()
        super().__init__(context=self._certificates)
        self._patience = patience

    def https_open(self, request: Request) -> http.client.HTTPResponse:
        connection = partial(_SecureConnection, patience=self._patience)
        return self.do_open(connection, request, context=self._certificates)


def bare(url: str) -> str:
    """Return an address without the user name and password that it may carry.

    >>> bare("https://me:secret@index.example/simple/")
    'https://index.example/simple/'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextmanager
def opened(
    url: str,
    timeouts: Timeouts,
    *,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Open an address for reading; whatever goes wrong on the way is an `UnavailableError`.

    A user name and password in the address go to that host alone, not to one it redirects to.
    """
    parts = urlsplit(url)
    request = Request(bare(url), headers={"User-Agent": "earsight", **(headers or {})})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret = b64encode(pair.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    opener = build_opener(_Http(timeouts.read), _Https(timeouts.read, context))
    try:
        with opener.open(request, timeout=timeouts.connect) as response:
            yield response
    except HTTPError as error:
        raise UnavailableError(f"{bare(url)} answered {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise UnavailableError(f"{bare(url)} sent nothing for {timeouts.read:g} s") from error
    except (URLError, http.client.HTTPException, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            reason = f"no connection within {timeouts.connect:g} s"
        raise UnavailableError(f"{bare(url)}: {reason}") from error


def download(
    url: str,
    target: Path,
    timeouts: Timeouts,
    progress: Progress,
    context: ssl.SSLContext | None = None,
) -> None:
    """Write what an address sends into `target`.

    Raises:
        UnavailableError: No connection, another answer than the file, silence, or an early end.
    """
    with opened(url, timeouts, context=context) as response, target.open("wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        done = 0
        while block := response.read(_BLOCK):
            file.write(block)
            done += len(block)
            progress(target.name, done, total)
        if total is not None and done != total:
            raise UnavailableError(f"{bare(url)} ended after {done:,} of {total:,} bytes")

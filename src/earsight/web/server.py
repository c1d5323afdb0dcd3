"""Runs the application on this machine until it is stopped."""

import asyncio
import logging
import re
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import find, named
from earsight.storage import Remote
from earsight.web.app import create_app
from earsight.web.desktop import opening
from earsight.web.header_timeout import TimedHeads
from earsight.web.security import MIN_TOKEN, Rules, is_loopback, url_of
from earsight.web.uploads import Limits


def rules_for(host: str, token: str | None, limits: Limits, *, asks: bool = True) -> Rules:
    """Return who may ask a server that listens on `host`.

    This machine may have other users, so a token is asked for on loopback too;
    where none is given, one is made.

    Args:
        host: The address.
        token: What a request must show.
        limits: What an upload may take.
        asks: Whether a token is asked for.

    Raises:
        InputError: A token that is too short to be a secret, or holds other characters than
            letters, digits, `-` and `_`; or none is asked for beyond loopback, or beside one.
    """
    if not asks:
        if token is not None:
            raise InputError("A token was given, and none is to be asked for; choose one of both.")
        if not is_loopback(host):
            raise InputError(
                f"Without a token, whoever reaches {host} could see the clips and search by files; "
                "so that is for this machine alone. Leave out --no-token, or --host."
            )
        return Rules(host, None, limits.bytes)
    token = secrets.token_urlsafe(24) if token is None else token
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{{MIN_TOKEN},200}}", token):
        raise InputError(
            f"A token has {MIN_TOKEN} to 200 letters, digits, - or _; got {len(token)} characters. "
            "Leave it out, and one is made."
        )
    return Rules(host, token, limits.bytes)


def serve(
    folder: Path | Remote,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    asks: bool = True,
    browse: bool = False,
    said: Callable[[str, str | None], None] = lambda _, __: None,
) -> None:
    """Serve the page and the API of one library until the process is stopped.

    Args:
        folder: The clips folder, the library folder itself, or an address on S3.
        host: The address to listen on.
        port: 0: any that is free.
        token: What a request must show; None: one is made.
        asks: Whether a token is asked for; only on loopback can it be left out.
        browse: Open the page in a browser once it is there.
        said: Is told the page's address, which shows the token, and the token.

    Raises:
        InputError: The port is taken, the address is none of this machine's, a bad token, or none
            beyond loopback.
        LibraryError: There is no such folder.
    """
    place = named(folder)
    if isinstance(place, Remote):
        find(place)
    elif not place.is_dir():
        raise LibraryError(f"There is no folder {folder}; serve takes the folder of the clips.")
    limits = Limits()
    rules = rules_for(host, token, limits, asks=asks)
    listening = listen(host, port)
    app = create_app(place, rules, limits)
    server = _Server(configured(app))
    url = url_of(host, listening.getsockname()[1], rules.token)
    said(url, rules.token)
    with opening(url, secret=rules.token is not None) if browse else nullcontext():
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that ends tidily however often it is told to: it waits for 3 s at most."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. The second of two would break off the tidying, with a traceback."""
        if not self.should_exit:
            super().handle_exit(sig, frame)


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return how the application is run: it says nothing about itself, and keeps no log."""
    config = uvicorn.Config(
        app,
        http=TimedHeads,
        log_level="error",
        access_log=False,  # questions are nobody else's business
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=1 << 16,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_fault)  # once, however often it is added
    return config


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether something went wrong; that the end of the server cut off a question is no fault."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InputError: The port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio takes it for something else and answers wait 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{host} port {port} cannot be listened on: {error.strerror or error}. Another server "
            "may be there; choose another: --port."
        ) from error
    return listening

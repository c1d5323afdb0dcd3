"""Runs the application on this machine until it is stopped."""

import asyncio
import logging
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from earsight.errors import InputError, LibraryError
from earsight.library.place import find, named
from earsight.storage import Remote
from earsight.web.app import create_app
from earsight.web.heads import TimedHeads
from earsight.web.security import MIN_TOKEN, Rules, is_loopback, url_of
from earsight.web.uploads import Limits


def rules_for(host: str, token: str | None, limits: Limits) -> Rules:
    """Return who may ask a server that listens on `host`.

    Beyond loopback a token is asked for; where none is given, one is made.

    Raises:
        InputError: A token that is too short to be a secret, or holds other characters than
            letters, digits, `-` and `_`.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None and not re.fullmatch(rf"[A-Za-z0-9_-]{{{MIN_TOKEN},200}}", token):
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
    browse: bool = False,
    said: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page and the API of one library until the process is stopped.

    Args:
        folder: The clips folder, the library folder itself, or an address on S3.
        host: The address to listen on; anything but loopback asks for a token.
        port: 0: any that is free.
        token: What a request must show.
        browse: Open the page in a browser once it is there.
        said: Is told the page's address.

    Raises:
        InputError: The port is taken, the address is none of this machine's, or a bad token.
        LibraryError: There is no such folder.
    """
    place = named(folder)
    if isinstance(place, Remote):
        find(place)
    elif not place.is_dir():
        raise LibraryError(f"There is no folder {folder}; serve takes the folder of the clips.")
    limits = Limits()
    rules = rules_for(host, token, limits)
    listening = listen(host, port)
    app = create_app(place, rules, limits)
    server = _Server(configured(app))
    url = url_of(host, listening.getsockname()[1], rules.token)
    said(url)
    if browse:
        threading.Timer(0.5, webbrowser.open, [url]).start()
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

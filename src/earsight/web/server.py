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
from earsight.library.catalog.open import find_library
from earsight.storage import Remote, parse_location
from earsight.web.app import create_app
from earsight.web.desktop import browser_open
from earsight.web.header_timeout import HeaderTimeoutProtocol
from earsight.web.security import AccessRules, is_loopback
from earsight.web.uploads import UploadLimits

MIN_TOKEN = 16  # characters


def access_rules(
    host: str, token: str | None, limits: UploadLimits, *, ask_token: bool = True
) -> AccessRules:
    """Return who may ask a server that listens on `host`.

    A machine may have other users. So a token is asked for on loopback too, and made where none
    is given. Without one, `ask_token` must be false, and `host` a loopback address.
    """
    if not ask_token:
        if token is not None:
            raise InputError("A token was given together with --no-token. Leave out one of them.")
        if not is_loopback(host):
            raise InputError(
                f"--no-token is for this machine alone; got --host {host}, where everybody who "
                "reaches it could see the clips. Leave out --no-token or --host."
            )
        return AccessRules(host, None, limits.bytes)
    token = secrets.token_urlsafe(24) if token is None else token
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{{MIN_TOKEN},200}}", token):
        raise InputError(
            f"A token has {MIN_TOKEN} to 200 letters, digits, - or _; got {len(token)} characters. "
            "Leave it out, and one is made."
        )
    return AccessRules(host, token, limits.bytes)


def serve(
    folder: Path | Remote,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    ask_token: bool = True,
    open_browser: bool = False,
    on_start: Callable[[str, str | None], None] = lambda _, __: None,
) -> None:
    """Serve the page and the API of one library until the process is stopped.

    Args:
        folder: The clips folder, the library folder itself, or an address on S3.
        host: The address to listen on.
        port: 0: any that is free.
        token: What a request must show; None: one is made.
        ask_token: Whether a token is asked for; it can be left out only on loopback.
        open_browser: Open the page in a browser.
        on_start: Called with the page's address, which contains the token, and the token.

    Raises:
        InputError: The address cannot be listened on, or see `access_rules`.
        LibraryError: There is no such folder.
    """
    location = parse_location(folder)
    if not isinstance(location, Path):
        find_library(location)
    elif not location.is_dir():
        raise LibraryError(f"There is no folder {folder}. serve takes the folder of the clips.")
    limits = UploadLimits()
    rules = access_rules(host, token, limits, ask_token=ask_token)
    listening = listen(host, port)
    server = _Server(configured(create_app(location, rules, limits)))
    url = url_of(host, listening.getsockname()[1], rules.token)
    on_start(url, rules.token)
    opened = browser_open(url, secret=rules.token is not None) if open_browser else nullcontext()
    with opened:
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that takes at most 3 s to end, however often it is told to."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. A second signal would break that off, with a traceback."""
        if not self.should_exit:
            super().handle_exit(sig, frame)


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return how the application is run: without a log of requests, as they may be private."""
    config = uvicorn.Config(
        app,
        http=HeaderTimeoutProtocol,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # stops a request from claiming that it comes from this machine
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=1 << 16,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_fault)  # once, however often it is added
    return config


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether something went wrong; a request that the server's end cut off is no fault."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio does not set TCP_NODELAY and responses wait 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(
            f"The server cannot listen on {host} port {port}: {error.strerror or error}. Another "
            "server may use that port; choose another one with --port."
        ) from error
    return listening


def url_of(host: str, port: int, token: str | None = None) -> str:
    """Return the address of the page."""
    shown = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        shown = socket.gethostname()
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")

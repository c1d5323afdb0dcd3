"""Who may ask: the Host and Origin of a request, a token, and the headers of every answer."""

import hmac
import ipaddress
import json
import re
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earsight.web import token_page

MIN_TOKEN = 16  # characters
SMALL_BODY = 1 << 16  # bytes that a request may have which uploads nothing

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")
_TAKES_A_FILE = re.compile(r"/api/search|/api/clips/\d+/timeline")


@dataclass(frozen=True)
class Rules:
    """Who may ask.

    Attributes:
        host: The address that is listened on.
        token: What a request must show; None: whoever uses this machine may ask.
        upload_bytes: The longest body of a file to search by.
    """

    host: str
    token: str | None
    upload_bytes: int

    def knows(self, name: str) -> bool:
        """Whether a Host header's name is ours. A name of someone else's domain is not.

        An address cannot be rebound, so beyond loopback any address will do.
        """
        name = name.strip("[]").rstrip(".").lower()
        if name in ("localhost", self.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            here = socket.gethostname().lower()
            return not is_loopback(self.host) and name in (here, f"{here}.local")
        return address.is_loopback or not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address is heard by this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses what is not for us, before anything else sees it."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._foreign(headers, scope) or self._too_large(headers, scope)
        if refusal is not None:
            await _refuse(send_with_headers, *refusal)
            return
        shown = _take_token(scope)
        if self._rules.token is None:
            await self._app(scope, receive, send_with_headers)
        elif scope["method"] == "GET" and self._is(shown):
            await self._remember(headers, scope, send_with_headers)
        elif self._has_shown(headers, scope):
            await self._app(scope, receive, send_with_headers)
        elif scope["method"] == "GET" and token_page.is_for_a_person(headers):
            await _answer(send_with_headers, 401, *token_page.asking(wrong=shown is not None))
        else:
            told = "This server asks for its token: open the address that it printed, with ?token=…"
            await _refuse(send_with_headers, 401, f"{told}, or send Authorization: Bearer TOKEN.")

    def _foreign(self, headers: Headers, scope: Scope) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None or not self._rules.knows(match["name"]):
            return 403, "The Host header must name this machine; another site led here."
        origins = headers.getlist("origin")
        own = f"{scope.get('scheme', 'http')}://{hosts[0]}".lower()
        if any(origin.lower() != own for origin in origins):
            return 403, "The Origin header must be this page's own; another site asked."
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            navigates = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
            if scope["method"] != "GET" or not navigates:
                return 403, "Another site asked for this; open the page itself."
        return None

    def _too_large(self, headers: Headers, scope: Scope) -> tuple[int, str] | None:
        stated = headers.get("content-length")
        if stated is None:
            return None
        uploads = scope["method"] == "POST" and _TAKES_A_FILE.fullmatch(scope["path"])
        limit = self._rules.upload_bytes if uploads else SMALL_BODY
        if not stated.isdecimal() or int(stated[:20]) > limit:
            return (
                413,
                f"A body of at most {limit:,} bytes is taken here; {stated[:20]} were stated.",
            )
        return None

    def _is(self, shown: str | None) -> bool:
        token = self._rules.token or ""
        return shown is not None and hmac.compare_digest(shown.encode(), token.encode())

    def _has_shown(self, headers: Headers, scope: Scope) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is(bearer.strip()):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        kept = cookies.get(_cookie_name(scope))
        return kept is not None and self._is(kept.value)

    async def _remember(self, headers: Headers, scope: Scope, send: Send) -> None:
        """Keep the token in a cookie and lead on without it in the address."""
        cookie = f"{_cookie_name(scope)}={self._rules.token}; Path=/; HttpOnly; SameSite=Strict"
        path = scope["path"] if re.fullmatch(r"/[A-Za-z0-9_/.-]*", scope["path"]) else "/"
        path = re.sub("/+", "/", path)
        kept = (b"set-cookie", cookie.encode())
        if token_page.is_for_a_person(headers):
            given, body = token_page.leading_to(path)
            await _answer(send, 200, [*given, kept], body)
        else:
            await _answer(send, 303, [(b"location", path.encode()), kept], b"")


def _take_token(scope: Scope) -> str | None:
    """Return the token of a request's address, which nothing after this sees any more."""
    asked = scope["query_string"].decode("latin-1").split("&")
    kept = [part for part in asked if part.partition("=")[0] != "token"]
    scope["query_string"] = "&".join(kept).encode("latin-1")
    values = [value for name, value in parse_qsl("&".join(asked)) if name == "token"]
    return values[0] if values else None


def _cookie_name(scope: Scope) -> str:
    port = (scope.get("server") or (None, 0))[1]
    return f"earsight_{port}"  # browsers keep one jar for all ports


async def _refuse(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    await _answer(send, status, headers, body)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def url_of(host: str, port: int, token: str | None = None) -> str:
    """Return the address of the page."""
    shown = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        shown = socket.gethostname()
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")

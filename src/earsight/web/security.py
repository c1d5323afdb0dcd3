"""Who may ask: the Host and Origin of a request, a token, and the headers of every response.

Starlette checks the Host. What it does not offer is here, each with the attack that it stops.
"""

import hmac
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earsight.web import token_page

MAX_SMALL_BODY = 1 << 16  # bytes of a request that uploads nothing

_HEADERS = {
    "Content-Security-Policy": (  # stops injected markup from running or sending anything
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",  # stops a clip from being read as a page
    "X-Frame-Options": "DENY",  # stops clicks on a page that is laid under another one
    "Referrer-Policy": "no-referrer",  # stops addresses from reaching other sites
    "Cross-Origin-Resource-Policy": "same-origin",  # stops other sites from embedding clips
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
_TAKES_A_FILE = re.compile(r"/api/search|/api/clips/\d+/timeline")


@dataclass(frozen=True)
class AccessRules:
    """Who may ask."""

    host: str  # the address that is listened on
    token: str | None  # what a request must show; None: whoever uses this machine may ask
    upload_bytes: int  # the largest body of a file to search by


def is_loopback(host: str) -> bool:
    """Whether an address is heard by this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guarded(app: ASGIApp, rules: AccessRules) -> ASGIApp:
    """Return the application behind all checks.

    The check of the Host stops DNS rebinding, where a name of another site leads to this machine.
    Beyond loopback any name may lead here. There the token is always asked for, and stops it: a
    browser keeps the cookie for the name under which it was given.
    """
    hosts = ["*"]
    if is_loopback(rules.host):
        own = f"[{rules.host}]" if ":" in rules.host else rules.host
        hosts = [own, "localhost", "127.0.0.1", "[::1]"]
    checked = TrustedHostMiddleware(AccessGuard(app, rules), hosts, www_redirect=False)
    return SecurityHeaders(checked)


class SecurityHeaders:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                own_file = scope["path"] == "/" or scope["path"].startswith("/page/")
                headers.setdefault("Cache-Control", "no-cache" if own_file else "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class AccessGuard:
    """Refuses what is not for us, before anything else sees it."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        response = None
        if scope["type"] == "http":
            shown = _take_token(scope)
            request = Request(scope)
            response = (
                _refuse_other_sites(request)
                or self._refuse_large_body(request)
                or self._ask_for_token(request, shown)
            )
        await (response or self._app)(scope, receive, send)

    def _refuse_large_body(self, request: Request) -> Response | None:
        """Stop a body that fills memory or disk; one of unstated size is cut as it comes."""
        stated = request.headers.get("content-length")
        if stated is None:
            return None
        uploads = request.method == "POST" and _TAKES_A_FILE.fullmatch(request.scope["path"])
        limit = self._rules.upload_bytes if uploads else MAX_SMALL_BODY
        if stated.isdecimal() and int(stated[:20]) <= limit:
            return None
        return _refusal(413, f"A body here may have at most {limit:,} bytes; got {stated[:20]}.")

    def _ask_for_token(self, request: Request, shown: str | None) -> Response | None:
        """Stop other users and machines, and pages of other sites, that do not have the token."""
        if self._rules.token is None:
            return None
        by_person = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if request.method == "GET" and self._is_token(shown):
            return self._keep_in_cookie(request, by_person)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        if self._is_token(request.cookies.get(_cookie_name(request))):
            return None
        if by_person:
            return token_page.asking(wrong=shown is not None)
        told = "This server asks for its token. Open the address that it printed, with ?token=…"
        return _refusal(401, f"{told}, or send Authorization: Bearer TOKEN.")

    def _is_token(self, shown: str | None) -> bool:
        token = self._rules.token or ""
        return shown is not None and hmac.compare_digest(shown.encode(), token.encode())

    def _keep_in_cookie(self, request: Request, by_person: bool) -> Response:
        """Return a response that sets the cookie, and leads on without the token in the address."""
        path = request.scope["path"]
        path = re.sub("/+", "/", path) if re.fullmatch(r"/[A-Za-z0-9_/.-]*", path) else "/"
        response = token_page.leading_to(path) if by_person else RedirectResponse(path, 303)
        response.set_cookie(
            _cookie_name(request), str(self._rules.token), httponly=True, samesite="strict"
        )
        return response


def _refuse_other_sites(request: Request) -> Response | None:
    """Stop requests that a page of another site makes (CSRF); it may only link to the page."""
    headers = request.headers
    own = f"{request.scope['scheme']}://{headers.get('host', '')}".lower()
    if any(origin.lower() != own for origin in headers.getlist("origin")):
        return _refusal(403, "The Origin header must be this page's own; another site asked.")
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        follows = headers.get("sec-fetch-mode") == "navigate" and request.scope["path"] == "/"
        if request.method != "GET" or not follows:
            return _refusal(403, "Another site asked for this. Open the page itself.")
    return None


def _take_token(scope: Scope) -> str | None:
    """Return the token of a request's address, and remove it: nothing later can repeat it."""
    asked = scope["query_string"].decode("latin-1").split("&")
    kept = [part for part in asked if part.partition("=")[0] != "token"]
    scope["query_string"] = "&".join(kept).encode("latin-1")
    values = [value for name, value in parse_qsl("&".join(asked)) if name == "token"]
    return values[0] if values else None


def _cookie_name(request: Request) -> str:
    port = (request.scope.get("server") or (None, 0))[1]
    return f"earsight_{port}"  # browsers keep one jar for all ports


def _refusal(status: int, error: str) -> JSONResponse:
    return JSONResponse({"error": error}, status, {"Connection": "close"})

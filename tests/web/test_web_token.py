"""The token: without it nothing is given, with it a cookie is, and nobody else hears of it."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from _server import Served, serving

TOKEN = "a-token-of-some-length"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture(scope="module")
def locked(made: Path) -> Iterator[Served]:
    with serving(made, token=TOKEN, host="0.0.0.0") as server:
        yield server


@pytest.mark.parametrize(
    "path",
    ["/", "/page/index.html", "/page/page.js", "/page/page.css", "/docs/files/swagger-ui.css",
     "/api/library", "/api/clips/1/media",
     "/docs", "/openapi.json", "/nothing", "/?token=", f"/?token={TOKEN}x", f"/?tokens={TOKEN}"],
)  # fmt: skip
def test_without_the_token_nothing_is_given(locked: Served, path: str) -> None:
    program, person = locked.get(path), locked.get(path, Accept=BROWSER)
    assert program.status == person.status == 401
    assert "Open the address that it printed" in program.error
    assert b"<form" in person.body and b"earsight serve" in person.body
    assert (b"was not the token" in person.body) == ("token=a" in path)
    for reply in (program, person):
        assert TOKEN.encode() not in reply.body and TOKEN not in str(reply.headers)
    policy = person.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "form-action 'self'" in policy
    assert "unsafe" not in policy and "script-src" not in policy
    assert locked.ask(path, "POST").status == 401


@pytest.mark.parametrize(
    "wrong", ["Bearer nonsense", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer é"]
)
def test_what_is_not_the_token(locked: Served, wrong: str) -> None:
    assert locked.get("/api/library", Authorization=wrong).status == 401
    assert locked.ask("/api/index", "POST", {"Authorization": wrong}).status == 401


def test_a_program_shows_the_token(locked: Served) -> None:
    assert locked.ask("/api/library", headers=SHOWN).status == 200
    assert locked.ask(f"/api/index?token={TOKEN}", "POST").status == 401  # a link changes nothing
    named = locked.ask(f"/api/search?token={TOKEN}", "POST", SHOWN)
    assert named.status == 415 and TOKEN not in named.error


def test_the_link_leaves_a_cookie(locked: Served) -> None:
    entered = locked.get(f"/?token={TOKEN}")
    assert entered.status == 303 and entered.headers["location"] == "/"
    led = locked.get(f"/docs?a=b&token={TOKEN}", Accept=BROWSER)
    assert led.status == 200 and b'content="0; url=/docs"' in led.body
    assert TOKEN.encode() not in led.body and led.headers["cache-control"] == "no-store"
    assert led.headers["set-cookie"] == entered.headers["set-cookie"]
    cookie, *how = entered.headers["set-cookie"].split("; ")
    assert cookie == f"earsight_{locked.port}={TOKEN}"
    assert {"HttpOnly", "SameSite=strict", "Path=/"} == set(how)
    assert locked.get("/api/library", Cookie=cookie).status == 200
    assert locked.get("/api/library", Cookie=cookie + "x").status == 401
    assert locked.ask("/api/index", "POST", {"Cookie": "earsight=" + TOKEN}).status == 401
    again = locked.get(f"/api/clips?token={TOKEN}", Cookie=cookie)  # not left in the address
    assert again.status == 303 and again.headers["location"] == "/api/clips"
    for host in ("192.168.7.7:8000", "[fe80::1]", "localhost", socket.gethostname()):
        assert locked.get("/", Host=host, Cookie=cookie).status == 200, host


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
@pytest.mark.parametrize(
    "path",
    ["//evil.example/", "/%22%3E%3Cscript%3E", "/%0d%0aX:%20y", "/%C3%A9", "/%2f%2fa.example"],
)
def test_the_link_leads_nowhere_else(locked: Served, path: str, accept: str) -> None:
    reply = locked.raw(
        f"GET {path}?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    led = re.findall(rb"(?:location: |url=)([^\r\"]*)", reply)
    assert led and all(re.fullmatch(rb"/([\w.-][\w./-]*)?", told) for told in led)
    assert b"<script" not in reply and b"X: y" not in reply


def test_the_guards_stand_before_the_token(locked: Served) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        reply = locked.ask(f"/?token={TOKEN}", headers=headers)
        assert reply.status == 403 and "set-cookie" not in reply.headers
    from_elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert locked.ask(f"/?token={TOKEN}", headers=from_elsewhere).status == 303


def test_no_answer_holds_the_token(locked: Served) -> None:
    paths = ["/", "/docs", "/openapi.json", "/api/library", "/api/clips?colour=red", "/nothing",
             "/api/search", "/api/clips/1", "/api/index", "/api/clips/x"]  # fmt: skip
    for path in paths:
        reply = locked.get(f"{path}{'&' if '?' in path else '?'}token={TOKEN}&a=b", **SHOWN)
        follows = locked.get(path, **SHOWN)
        for one in (reply, follows):
            one.headers.pop("set-cookie", None)
            assert TOKEN.encode() not in one.body and TOKEN not in str(one.headers), path
            assert one.headers["referrer-policy"] == "no-referrer"

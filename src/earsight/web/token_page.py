"""What a person sees who has not shown the token: a page that asks for it, and one that leads in.

Nothing of the library is on them, no file and no script: without the token nothing else is given.
"""

import base64
import hashlib

from starlette.datastructures import Headers

Page = tuple[list[tuple[bytes, bytes]], bytes]

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f4ef; --card: #fffefb; --edge: #8d8a83;
  --ink: #20232a; --soft: #5c606a; --seen: #1a5f9e; --bad: #a3202c; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161d; --card: #1c1f29; --edge: #747988;
  --ink: #ecebe6; --soft: #a9adb8; --seen: #84bbf5; --bad: #ff9a95; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--paper); color: var(--ink);
  font: 400 15px/1.5 Inter, ui-sans-serif, system-ui, "Segoe UI", Roboto, sans-serif; }
main { width: min(100%, 30rem); padding-bottom: 12vh; }
svg { display: block; width: 44px; height: 44px; margin-bottom: 18px; }
h1 { margin: 0 0 8px; font-size: 1.5rem; font-weight: 620; letter-spacing: -.018em;
  line-height: 1.25; }
p { margin: 0 0 12px; color: var(--soft); text-wrap: pretty; }
.wrong { color: var(--bad); }
code { color: var(--ink); font: .9em ui-monospace, Menlo, monospace; white-space: nowrap; }
label { display: block; margin: 20px 0 6px; font-weight: 560; }
form div { display: flex; flex-wrap: wrap; gap: 8px; }
input, button { min-height: 42px; border: 1px solid var(--edge); border-radius: 10px; font: inherit;
  color: inherit; background: var(--card); padding: 0 14px; }
input { flex: 1 1 14rem; min-width: 0; }
button { background: var(--ink); border-color: var(--ink); color: var(--paper); font-weight: 560;
  cursor: pointer; }
:focus-visible { outline: 2.5px solid var(--seen); outline-offset: 2px; }
"""
_MARK = """<svg viewBox="0 0 64 64" aria-hidden="true"><rect width="64" height="64" rx="14"
 fill="#181b24"/><path d="M5 32Q32 2 59 32Q32 62 5 32Z" fill="none" stroke="#f6f4ef"
 stroke-width="3.4" stroke-linejoin="round"/><g stroke-width="4.4" stroke-linecap="round"><path
 d="M18 30v4" stroke="#ff8a5c"/><path d="M25 26v12" stroke="#fac86a"/><path d="M32 22v20"
 stroke="#f6f4ef"/><path d="M39 26v12" stroke="#7acdb0"/><path d="M46 30v4" stroke="#5ca0ff"/></g>
</svg>"""
_ASKING = """<main>{mark}<h1>This page is for who has its token</h1>
<p>Open the whole address that <code>earsight serve</code> printed, with
<code>?token=…</code> in it, or paste the token here.</p>{wrong}
<form method="get" autocomplete="off"><label for="token">Token</label>
<div><input id="token" name="token" type="password" required autofocus
autocomplete="off" spellcheck="false">
<button>Open</button></div></form></main>"""
_WRONG = """<p class="wrong" role="alert">That was not the token of this server. Each start makes a
new one, unless you chose it.</p>"""
_LEADING = """<meta http-equiv="refresh" content="0; url={path}"><main>{mark}
<h1>Opening Earsight</h1><p><a href="{path}">To the page</a></p></main>"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def is_for_a_person(headers: Headers) -> bool:
    """Whether a browser asks for a page, and not a program or a page's script for data."""
    return "text/html" in headers.get("accept", "")


def asking(*, wrong: bool) -> Page:
    """Return headers and body of the page that asks for the token; `wrong`: another was shown."""
    return _page(_ASKING.format(mark=_MARK, wrong=_WRONG if wrong else ""))


def leading_to(path: str) -> Page:
    """Return headers and body of a page that goes on to a path of letters, digits and `/.-_`.

    A browser that was sent here by another site or program keeps a strict cookie back on a
    redirect, and not on what our own page leads to.
    """
    return _page(_LEADING.format(mark=_MARK, path=path))


def _page(content: str) -> Page:
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><title>Earsight</title>'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>{content}</body>'
        "</html>"
    ).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"content-security-policy", _POLICY.encode()),
    ]
    return headers, body

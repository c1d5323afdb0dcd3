"""What a person sees who has not shown the token: a page that asks for it, and one that leads in.

They hold no script, no other file and nothing of the library.
"""

import base64
import functools
import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse

_ASKING = """<h1>This page needs its token</h1>
<p>Open the whole address that <code>earsight serve</code> printed, with <code>?token=…</code> in
it, or paste the token here.</p>{wrong}
<form method="get" autocomplete="off"><label for="token">Token</label>
<div><input id="token" name="token" type="password" required autofocus
autocomplete="off" spellcheck="false"><button>Open</button></div></form>"""
_WRONG = """<p class="wrong" role="alert">That was not the token of this server. Each start of the
server makes a new token, unless you chose it.</p>"""
_LEADING = """<meta http-equiv="refresh" content="0; url={path}">
<h1>Opening Earsight</h1><p><a href="{path}">Go to the page</a></p>"""


def asking(*, wrong: bool) -> HTMLResponse:
    """Return the page that asks for the token; `wrong`: another one was shown."""
    return _page(_ASKING.format(wrong=_WRONG if wrong else ""), 401)


def leading_to(path: str) -> HTMLResponse:
    """Return a page that goes on to a path of letters, digits and `/.-_`.

    A browser that comes from another site or program keeps a strict cookie back on a redirect,
    but sends it where our own page leads.
    """
    return _page(_LEADING.format(path=path), 200)


def _page(content: str, status: int) -> HTMLResponse:
    template, digest = _template()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    page = template.replace("<!-- content -->", content)
    return HTMLResponse(page, status, {"Content-Security-Policy": policy})


@functools.cache
def _template() -> tuple[str, str]:
    """Return the page without its content, and the SHA-256 of its style."""
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    style = re.search("<style>(.*?)</style>", template, re.DOTALL)
    assert style is not None
    return template, base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()

"""The files of the page, and FastAPI's page about the API, without anything from elsewhere."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "page"


def add_pages(app: FastAPI) -> None:
    """Serve the page at /, its files below /page, and the documentation of the API at /docs.

    FastAPI's own documentation page loads its script from another site. Here it is served from
    the package fastapi-offline, which carries it.
    """
    app.mount("/page", StaticFiles(directory=FOLDER))
    app.mount("/docs/files", StaticFiles(packages=[("fastapi_offline", "static")]))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(FOLDER / "index.html", media_type="text/html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        made = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title} {app.version}: the API",
            swagger_js_url="/docs/files/swagger-ui-bundle.js",
            swagger_css_url="/docs/files/swagger-ui.css",
            swagger_favicon_url="/page/mark.svg",
        )
        made.headers["Content-Security-Policy"] = _policy(bytes(made.body))
        return made


def _policy(page: bytes) -> str:
    """Return a policy that allows the one script within the page, and none that is injected."""
    found = re.search(rb"<script>(.*?)</script>", page, re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )

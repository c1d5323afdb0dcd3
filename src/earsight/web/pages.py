"""The page's files, and the page that documents the API, made from its schema."""

import html
import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import FileResponse, HTMLResponse

FOLDER = Path(__file__).parent
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def add_pages(app: FastAPI) -> None:
    """Serve `page.html` at /, the other files of this folder by name, and /docs."""
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in _TYPES:
            _add_file(app, f"/{path.name}", path, _TYPES[path.suffix])
    _add_file(app, "/", FOLDER / "page.html", "text/html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_documentation(app.openapi()))


def _add_file(app: FastAPI, at: str, path: Path, kind: str) -> None:
    @app.get(at, include_in_schema=False)
    def file() -> FileResponse:
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-cache"})


def _documentation(schema: dict[str, Any]) -> str:
    """Return a page about every operation: what it takes and what it gives."""
    parts = [
        _operation(path, verb, one)
        for path, verbs in schema["paths"].items()
        for verb, one in verbs.items()
    ]
    kinds = [_kind(name, one) for name, one in schema["components"]["schemas"].items()]
    title = html.escape(f"{schema['info']['title']} {schema['info']['version']}: the API")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><link rel='stylesheet' href='/page.css'></head>"
        f"<body class='docs'><main><h1>{title}</h1>"
        "<p>Every answer is JSON but media and thumbnails. A failure is "
        '<code>{"error": "…"}</code> with a 4xx status. '
        "<a href='/openapi.json'>The schema</a>. <a href='/'>The page</a>.</p>"
        f"{''.join(parts)}<h2>What is given</h2>{''.join(kinds)}</main></body></html>"
    )


def _operation(path: str, verb: str, one: dict[str, Any]) -> str:
    name = html.escape(f"{verb.upper()} {path}")
    rows = [
        (p["name"], _shape(p["schema"]), p.get("description") or p["schema"].get("description"))
        for p in one.get("parameters", ())
    ]
    for kind, body in one.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", f"{kind}: {', '.join(body['schema']['properties'])}", None))
    given = one["responses"]["200"].get("content", {}).get("application/json", {}).get("schema")
    gives = f"<p>Gives {html.escape(_shape(given))}.</p>" if given else ""
    return (
        f"<h2><code>{name}</code></h2><p>{html.escape(one['description'])}</p>{_rows(rows)}{gives}"
    )


def _kind(name: str, one: dict[str, Any]) -> str:
    rows = [(key, _shape(s), s.get("description")) for key, s in one.get("properties", {}).items()]
    told = html.escape(one.get("description", ""))
    return f"<h3 id='{html.escape(name)}'>{html.escape(name)}</h3><p>{told}</p>{_rows(rows)}"


def _rows(rows: list[tuple[str, str, str | None]]) -> str:
    cells = [
        f"<tr><th scope='row'><code>{html.escape(name)}</code></th><td>{html.escape(shape)}</td>"
        f"<td>{html.escape(told or '')}</td></tr>"
        for name, shape, told in rows
    ]
    return f"<table class='plain'><tbody>{''.join(cells)}</tbody></table>" if cells else ""


def _shape(schema: dict[str, Any]) -> str:
    """Say in a few words what a schema takes."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_shape(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_shape(schema['items'])}" if "items" in schema else "list"
    limits = {"minimum": "from", "maximum": "to", "maxLength": "at most this long:"}
    told = [f"{word} {schema[key]:,}" for key, word in limits.items() if key in schema]
    if "default" in schema and schema["default"] is not None:
        told.append(f"default {schema['default']}")
    return " ".join(
        [str(schema.get("type", "anything")), *([f"({', '.join(told)})"] if told else [])]
    )

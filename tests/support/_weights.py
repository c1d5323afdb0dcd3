"""A web server on this machine, and stores whose catalogue points to it."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from earsight.weights.entries import Download, Member, Source, Weights
from earsight.weights.store import Store

NET = b"the network's numbers " * 5000
OTHER = b"other numbers altogether " * 5000


def sha(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


class Site:
    """A web server on this machine: pages by path, and how often each was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes] | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.hits: Counter[str] = Counter()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.hits[self.path] += 1
                page = site.pages.get(self.path)
                if page is None:
                    self.send_error(404)
                elif callable(page):
                    page(self)
                else:
                    self.send_response(200)
                    self.send_header("Content-Type", page[0])
                    self.send_header("Content-Length", str(len(page[1])))
                    self.end_headers()
                    self.wfile.write(page[1])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, path: str, blob: bytes, kind: str = "application/octet-stream") -> str:
        self.pages[path] = (kind, blob)
        return self.url + path


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()


def member(site: Site, **changes: object) -> Member:
    whole = Member(name="net.pth", sha256=sha(NET), size=len(NET), url=f"{site.url}/net.pth")
    return replace(whole, **changes)


def download(*members: Member, key: str = "there") -> Download:
    return Download(key=key, members=members, size=len(NET), licence="MIT")


def store(tmp_path: Path, *sources: Source, given: Path | None = None) -> Store:
    entry = Weights(name="net", used_by="net", licence="MIT", about="a net", sources=sources)
    return Store(catalogue={"net": entry}, home=tmp_path / "home", given=given)


def files_in(folder: Path) -> set[str]:
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return found - {"weights/net/.lock"}

"""A model hub on this machine, for tests: one repository, served as the real one serves it."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from earsight.weights.cache import git_blob, sha256

COMMIT = "c0ffee" * 6 + "abcd"


class Hub:
    """The server; `damaged` names a file whose bytes are not what the hub says they are."""

    def __init__(self, name: str, folder: Path, damaged: str = "") -> None:
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.agents.add(self.headers.get("User-Agent", ""))
                files = sorted(file.name for file in folder.iterdir())
                if path.startswith(f"/api/models/{name}/tree/"):
                    listed = [_listed(folder / file) for file in files]
                    self._send(json.dumps(listed).encode(), {}, body=body)
                elif path.startswith(f"/api/models/{name}"):
                    siblings = [{"rfilename": file} for file in files]
                    facts = {"id": name, "sha": COMMIT, "siblings": siblings}
                    self._send(json.dumps(facts).encode(), {}, body=body)
                elif path.startswith(f"/{name}/resolve/{COMMIT}/"):
                    file = folder / path.rpartition("/")[2]
                    hub.asked[file.name] += body
                    large = file.suffix == ".safetensors"
                    stated = sha256(file) if large else git_blob(file)
                    headers = {"ETag": f'"{stated}"', "X-Repo-Commit": COMMIT}
                    blob = file.read_bytes()
                    if file.name == damaged:
                        blob = blob[:-1] + bytes([blob[-1] ^ 1])
                    self._send(blob, headers, body=body)
                else:
                    self.send_error(404)

            def _send(self, blob: bytes, headers: dict[str, str], *, body: bool) -> None:
                self.send_response(200)
                for key, value in (headers | {"Content-Length": str(len(blob))}).items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(blob)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def _listed(file: Path) -> dict[str, object]:
    """Describe a file as the hub's listings do."""
    size = file.stat().st_size
    facts = {"type": "file", "path": file.name, "size": size, "oid": git_blob(file)}
    if file.suffix == ".safetensors":
        facts["lfs"] = {"oid": sha256(file), "size": size, "pointerSize": 134}
    return facts


@contextmanager
def hub(name: str, folder: Path, damaged: str = "") -> Iterator[Hub]:
    """Serve one repository for as long as it is needed."""
    made = Hub(name, folder, damaged)
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()

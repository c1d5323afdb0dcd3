"""Libraries as a stranger may have edited them; for tests."""

import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from earsight.library.catalog.location import FOLDER


@contextmanager
def edited(library: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a library of a clips folder (or of itself) to write anything into it."""
    folder = library if (library / "library.db").exists() else library / FOLDER
    db = sqlite3.connect(folder / "library.db", isolation_level=None)
    try:
        yield db
    finally:
        db.close()


def set_fact(library: Path, key: str, value: Any) -> None:
    """Write a fact, such as the settings."""
    with edited(library) as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))


def set_settings(library: Path, **changes: Any) -> None:
    """Change settings of a library."""
    with edited(library) as db:
        (kept,) = db.execute("SELECT value FROM meta WHERE key = 'settings'").fetchone()
    set_fact(library, "settings", json.loads(kept) | changes)


def set_info(library: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the row of the embedding says."""
    with edited(library) as db:
        (kept,) = db.execute("SELECT info FROM embeddings").fetchone()
        info = json.loads(kept)
        change(info)
        db.execute("UPDATE embeddings SET info = ?", (json.dumps(info),))


class Ear:
    """A server that only counts who connects."""

    def __init__(self) -> None:
        self.heard = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"milvus://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.heard += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def listening() -> Iterator[Ear]:
    """Give a server that counts who connects."""
    ear = Ear()
    try:
        yield ear
    finally:
        ear.close()


SECRET = "do not show this line"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A folder of the receiver's own, which must stay as it is."""
    folder = tmp_path / "precious"
    (folder / "1" / "deep").mkdir(parents=True)
    (folder / "1" / "deep" / "file.txt").write_text(SECRET)
    (folder / "file.txt").write_text(SECRET)
    return folder

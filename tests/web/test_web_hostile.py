"""A library whose rows a stranger changed: no endpoint is at fault, and the server lives."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from _folders import QUICK, fill
from _server import Served, multipart, serving
from earsight.library.catalog.location import FOLDER
from earsight.library.indexing.pipeline import index

OF_A_CLIP = ("", "/media", "/text", "/timeline?clip=2", "/timeline?text=a+wall")
SLOW = (  # they read the clip's file, not more of its row
    "/api/clips/1/thumbnail", "/api/clips/1/waveform", "/api/clips/1/offset",
    "/api/clips/1/repaired", "/api/search?clip=1&by=audio&rhythm=true",
)  # fmt: skip
PATHS = (
    "/api/library", "/api/clips", "/api/clips?label=red&min_seconds=0.1", "/api/clips?name=a",
    "/api/trouble", "/api/map", "/api/index", "/api/quality", "/api/search?text=a+wall",
    "/api/search?clip=1", "/api/search?clip=2&by=audio&moments=true", "/api/search?clip=1&by=text",
    "/", "/docs",
)  # fmt: skip
UPLOADS = ("/api/search", "/api/clips/1/timeline")
NESTED = "[" * 5000 + "]" * 5000
CHANGES: dict[str, tuple[str, Any]] = {
    "a path that climbs": ("UPDATE clips SET path = ? WHERE id = 1", b"../../secret.mp4"),
    "an absolute path": ("UPDATE clips SET path = ? WHERE id = 1", b"/etc/passwd"),
    "a path as text": ("UPDATE clips SET path = ? WHERE id = 1", "red/a.mp4"),
    "a path of nothing": ("UPDATE clips SET path = ? WHERE id = 1", b""),
    "a path with a zero byte": ("UPDATE clips SET path = ? WHERE id = 1", b"red/a\0.mp4"),
    "a path of no characters": ("UPDATE clips SET path = ? WHERE id = 1", b"\xff\xfe/\x80.mp4"),
    "a long path": ("UPDATE clips SET path = ? WHERE id = 1", b"a/" * 5000 + b"a.mp4"),
    "a label of bytes": ("UPDATE clips SET label = ? WHERE id = 1", b"\xff\x00"),
    "a label of half a character": ("UPDATE clips SET label = CAST(? AS TEXT)", b"\xed\xa0\x80"),
    "a label that is a number": ("UPDATE clips SET label = CAST(? AS BLOB)", 7),
    "a negative id": ("UPDATE clips SET id = ? WHERE id = 1", -5),
    "a content of nothing": ("UPDATE clips SET content = ? WHERE id = 1", ""),
    "a content of bytes": ("UPDATE clips SET content = ? WHERE id = 1", b"\x00\xff"),
    "a time beyond dates": ("UPDATE clips SET mtime_ns = ?", 2**62),
    "a size as text": ("UPDATE clips SET size = ?", "large"),
    "another status": ("UPDATE contents SET status = ?", "<script>"),
    "a status of bytes": ("UPDATE contents SET status = ?", b"\xff"),
    "a duration below nothing": ("UPDATE contents SET duration = ?", -1.0),
    "a duration beyond all": ("UPDATE contents SET duration = ?", 1e308),
    "an endless duration": ("UPDATE contents SET duration = ?", float("inf")),
    "a duration in words": ("UPDATE contents SET duration = ?", "long"),
    "a report of nothing": ("UPDATE contents SET report = ?", ""),
    "a report that is no object": ("UPDATE contents SET report = ?", "[1, 2]"),
    "an empty report": ("UPDATE contents SET report = ?", "{}"),
    "a nested report": ("UPDATE contents SET report = ?", NESTED),
    "a report with no number": ("UPDATE contents SET report = ?", '{"rows": NaN, "message": 1}'),
    "a report with odd rows": (
        "UPDATE contents SET report = ?", '{"rows": {"audio": "x"}, "message": ["\\ud800"]}'
    ),
    "a message of half a character": (
        "UPDATE contents SET report = json_set(report, '$.message', ?)", "x"
    ),
    "no info": ("UPDATE embeddings SET info = ?", ""),
    "an empty info": ("UPDATE embeddings SET info = ?", "{}"),
    "a nested info": ("UPDATE embeddings SET info = ?", NESTED),
    "an info with no number": ("UPDATE embeddings SET info = ?", '{"space": NaN, "sources": 1}'),
    "an unknown extractor": (
        "UPDATE embeddings SET info = json_set(info, '$.sources.audio', ?)", "../../x"
    ),
    "a space of half a character": (
        "UPDATE embeddings SET info = replace(info, '\"space\": \"words\"', ?)",
        '"space": "\\ud800"',
    ),
    "another fingerprint": ("UPDATE embeddings SET features = ?", "../../../x"),
    "a broken root": ("UPDATE meta SET value = ? WHERE key = 'root'", "null"),
    "a root elsewhere": ("UPDATE meta SET value = ? WHERE key = 'root'", '"2f657463"'),
    "an odd root": ("UPDATE meta SET value = ? WHERE key = 'root'", '"zz"'),
    "a broken setting": ("UPDATE meta SET value = ?", "{"),
    "settings of bytes": ("UPDATE meta SET value = ?", b"\xff"),
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "clips"
    fill(folder, ["red/a.mp4", "red/b.mp4", "blue/c.mp4", "blue/d.mp4"])
    (folder / "red/a.txt").write_text("A red wall.")
    index(folder, **QUICK)
    (folder.parent / "secret.mp4").write_bytes(b"nobody outside may read this")
    return folder


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    (tmp_path / "secret.mp4").write_bytes((small.parent / "secret.mp4").read_bytes())
    return Path(shutil.copytree(small, tmp_path / "clips"))


def walk(
    served: Served, slow: tuple[str, ...] = (), uploads: tuple[str, ...] = UPLOADS
) -> Iterator[tuple[str, int, bytes]]:
    found = served.get("/api/clips")
    ids = [clip["id"] for clip in found.json.get("clips", ())] if found.status == 200 else [1, 2]
    for path in [
        *PATHS,
        *slow,
        *(f"/api/clips/{id}{what}" for id in ids[:2] for what in OF_A_CLIP),
    ]:
        reply = served.get(path)
        yield path, reply.status, reply.body
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    for path in uploads:
        reply = served.ask(path, "POST", kind, multipart(b"This is no film."))
        yield path, reply.status, reply.body


def check(served: Served, uploads: tuple[str, ...] = UPLOADS) -> None:
    for path, status, body in walk(served, uploads=uploads):
        assert status < 500, (path, status, body[:500])
        assert b"nobody outside" not in body and b"root:" not in body, path
        if path.startswith("/api") and status >= 400:
            assert list(json.loads(body)) == ["error"], (path, body[:500])


def test_a_whole_library_answers(folder: Path) -> None:
    with serving(folder) as served:
        answers = list(walk(served, SLOW))
    fine = [path for path, status, _ in answers if status == 200]
    assert {"/api/map", "/api/search?clip=1", "/api/clips/1/waveform", "/api/clips/1/media"} <= {
        *fine
    }
    assert len(fine) > 20 and all(status < 500 for _, status, _ in answers), [
        (path, status) for path, status, _ in answers if status != 200
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_no_row_is_a_fault_of_the_server(folder: Path, change: str) -> None:
    statement, value = CHANGES[change]
    with sqlite3.connect(folder / FOLDER / "library.db") as db:
        assert db.execute(statement, (value,)).rowcount, "nothing was changed"
    db.close()
    of_clips = statement.startswith(("UPDATE clips", "UPDATE contents"))
    with serving(folder) as served:
        check(served, () if of_clips else UPLOADS)  # an upload does not depend on the clips


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    fill(folder, ["red/a.mp4", os.fsdecode(b"bl\xfce/b\xe9.mp4"), os.fsdecode(b"bl\xfce/c.mp4")])
    (folder / os.fsdecode(b"bl\xfce/torn\xe9.mp4")).write_text("This is no film.")
    index(folder, **QUICK)
    elsewhere = tmp_path / os.fsdecode(b"received\xe9")  # its clips are not known on this machine
    shutil.copytree(folder / FOLDER, elsewhere)
    with serving(folder) as served:
        check(served)
        assert served.get("/api/library").json["name"] == "caf%E9"
        (clip,) = served.get("/api/clips?name=b%25E9").json["clips"]
        assert clip["path"] == "bl%FCe/b%E9.mp4"
        assert served.get(f"/api/clips/{clip['id']}/media").status == 200
    with serving(elsewhere) as served:
        check(served)
        (note,) = served.get(f"/api/search?clip={clip['id']}&by=audio").json["notes"]
        assert "received%E9" in note
        played = served.get(f"/api/clips/{clip['id']}/media")
        assert played.status == 404 and "does not know where" in played.error
        served.ask("/api/index", "POST")
        done = served.until("/api/index", lambda state: not state["running"])
        assert "received%E9" in done["error"]


def test_a_library_that_breaks_while_it_is_served(folder: Path) -> None:
    with serving(folder) as served:
        assert served.get("/api/search?clip=1").status == 200
        (folder / FOLDER / "library.db").write_bytes(b"This is no database." * 1000)
        check(served)
        assert served.get("/api/search?clip=1").error


@pytest.mark.parametrize("what", ["library.db", "models", "vectors"])
def test_a_library_that_lacks_something(folder: Path, what: str) -> None:
    lost = folder / FOLDER / what
    shutil.rmtree(lost) if lost.is_dir() else lost.write_bytes(b"")
    with serving(folder) as served:
        check(served)

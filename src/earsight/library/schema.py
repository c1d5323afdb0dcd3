"""The tables of `library.db`, and how an empty one comes to be."""

import json
import os
import sqlite3
from pathlib import Path

from earsight.errors import LibraryError
from earsight.library.place import unwritten

FORMAT = 3

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE clips (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,   -- relative to the clips folder, the file system's own bytes;
                                 -- the texts beside clips are told apart by the end of their name
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content TEXT NOT NULL,       -- SHA-256 of the file
    label TEXT                   -- NULL: none
);
CREATE INDEX clips_content ON clips (content);
CREATE TABLE contents (
    content TEXT NOT NULL,
    features TEXT NOT NULL,      -- fingerprint of the extractors that read it
    status TEXT NOT NULL,
    duration REAL NOT NULL,
    report TEXT NOT NULL,        -- JSON: seconds read, errors counted, message
    windows INTEGER NOT NULL,
    PRIMARY KEY (content, features)
);
CREATE TABLE embeddings (
    id INTEGER PRIMARY KEY,
    features TEXT NOT NULL,
    digest TEXT NOT NULL,        -- of everything it was made from
    n_rows INTEGER NOT NULL,
    made TEXT NOT NULL,
    info TEXT NOT NULL           -- JSON: extractors, parts, decision and its figures
);
"""


def create_file(folder: Path, root: Path) -> None:
    """Write an empty library.db under a temporary name, then rename it."""
    # Inside its clips folder a library keeps the way relative, so that both can move together.
    kept = os.path.relpath(root, folder) if folder.is_relative_to(root) else str(root)
    temporary = folder / f"library.db.{os.getpid()}.tmp"
    try:
        temporary.unlink(missing_ok=True)
        db = sqlite3.connect(temporary)
        try:
            db.executescript(SCHEMA)
            with db:
                db.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
                db.execute(
                    "INSERT INTO meta VALUES ('root', ?)", (json.dumps(os.fsencode(kept).hex()),)
                )
        finally:
            db.close()
        temporary.rename(folder / "library.db")
    except (sqlite3.Error, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise LibraryError(unwritten(folder, error)) from error

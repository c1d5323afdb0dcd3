"""`library.db`: its tables, how an empty one comes to be, and how one is opened.

The file may be a received one. SQLite does what a file says, so it is opened only where it says
nothing but what ours say: these tables, no trigger, no view, and no journal that names other files.
"""

import json
import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing

from earsight.errors import LibraryError
from earsight.library.catalog.folder_handle import Directory
from earsight.library.catalog.location import refuse_second_name, write_error_message
from earsight.library.catalog.records import Content, damaged, how_to_remake
from earsight.storage import Location

FORMAT = 3
FILE = "library.db"
_LONGEST_VALUE = 256 << 20  # bytes of one value
_HEADER = 20  # bytes; the last two say how the file is read and written
_NAMES_OTHERS = bytes.fromhex("d9d505f920a163d7")
"""How a rollback journal ends that names a journal of several databases, which SQLite would read,
and delete. Ours never do: a library is one database."""

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


def empty_database() -> bytes:
    """Return a `library.db` with our tables and no clips."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        with db:
            db.execute("INSERT INTO meta VALUES ('format', ?)", (json.dumps(FORMAT),))
        return db.serialize()


def open_file(folder: Directory, *, write: bool) -> sqlite3.Connection:
    """Open the library.db of a folder that was looked through for links.

    A reader that may write also finishes what a killed writer left half done.

    Raises:
        LibraryError: It is missing, no library, of another format, may not be written where it must
            be, or says more than a library of ours does.
    """
    path = folder.path / FILE
    try:
        fd = folder.open(FILE)
    except FileNotFoundError as error:
        raise LibraryError(
            f"There is no library in {folder.path}. Make one: earsight index CLIPS."
        ) from error
    names = os.fstat(fd).st_nlink
    os.close(fd)
    writable = os.access(path, os.W_OK) and os.access(folder.path, os.W_OK)
    if write and not writable:
        raise LibraryError(
            write_error_message(folder.path, PermissionError(13, "Permission denied"))
        )
    if write:
        refuse_second_name(path, names)
    _check_beside(folder)
    quoted = "".join(f"%{byte:02x}" for byte in os.fsencode(path))
    try:
        db = sqlite3.connect(
            f"file:{quoted}?mode={'rw' if writable else 'ro'}",
            uri=True,
            timeout=30,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise LibraryError(f"{path} cannot be opened: {error}.") from error
    return _checked(folder.path, db)


def open_bytes(library: Location, data: bytes) -> sqlite3.Connection:
    """Open a `library.db` that was copied into memory.

    Raises:
        LibraryError: It is no library, of another format, or says more than a library of ours does.
    """
    _check_header(library, data[:_HEADER])
    db = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        db.deserialize(data)
    except sqlite3.Error as error:
        db.close()
        raise _unreadable(library, error) from error
    return _checked(library, db)


def _checked(library: Location, db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a database that is safe to read; one that is not is closed."""
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        _check_format(library, db)  # first: others' tables may be other ones
        _check_tables(library, db)
    except (sqlite3.Error, UnicodeError) as error:  # damage may be in what SQLite says of it
        db.close()
        raise _unreadable(library, error) from error
    except LibraryError:
        db.close()
        raise
    return db


def _unreadable(library: Location, error: Exception) -> LibraryError:
    return LibraryError(
        f"{library}/{FILE} is not a readable library: {error}. {how_to_remake(library)}"
    )


def insert_contents(db: sqlite3.Connection, features: str, contents: Iterable[Content]) -> None:
    """Write contents as these extractors read them; one that stands is replaced."""
    db.executemany(
        "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?)",
        [
            (c.content, features, c.status, c.duration, json.dumps(c.report), c.windows)
            for c in contents
        ],
    )


def _check_beside(folder: Directory) -> None:
    """Check the files that SQLite would read and write beside the database by itself."""
    for end in ("-wal", "-shm"):
        if folder.kind(f"{FILE}{end}") is not None:
            raise damaged(folder.path, f"{FILE}{end} lies there, and no library of ours has one")
    with os.fdopen(folder.open(FILE), "rb") as file:
        _check_header(folder.path, file.read(_HEADER))
    try:
        fd = folder.open(f"{FILE}-journal")
    except FileNotFoundError:
        return
    with os.fdopen(fd, "rb") as journal:
        journal.seek(max(0, os.fstat(fd).st_size - len(_NAMES_OTHERS)))
        if journal.read() == _NAMES_OTHERS:
            raise damaged(folder.path, f"{FILE}-journal names another journal")


def _check_header(library: Location, header: bytes) -> None:
    if header.startswith(b"SQLite") and set(header[18:]) - {1}:
        raise damaged(library, f"{FILE} is to be written with a log, as ours never is")


def _check_tables(library: Location, db: sqlite3.Connection) -> None:
    """Check that the file holds our tables and nothing else: SQLite runs what others say."""
    found = {_plain(sql) for (sql,) in db.execute("SELECT sql FROM sqlite_master") if sql}
    if not found:
        raise sqlite3.DatabaseError("it holds no tables")
    strange = sorted(found - _OURS)
    if strange:
        raise damaged(library, f"{FILE} holds {strange[0][:60]!r}, which is none of its tables")


def _check_format(library: Location, db: sqlite3.Connection) -> None:
    ours = db.execute("SELECT sql FROM sqlite_master WHERE name = 'meta'").fetchone()
    if ours is None or _plain(ours[0]) not in _OURS:
        raise damaged(library, f"{FILE} has no table of facts as ours have")
    found = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if found is not None and not re.fullmatch("[0-9]{1,9}", str(found[0])):
        raise damaged(library, "its format is no number")
    version = int(found[0]) if found else 0
    if version != FORMAT:
        advice = "Update Earsight." if version > FORMAT else how_to_remake(library)
        raise LibraryError(
            f"The library {library} has format {version}; this Earsight reads format {FORMAT}. "
            f"{advice}"
        )


def _plain(sql: object) -> str:
    """Return a statement without comments and line ends."""
    return " ".join(re.sub("--[^\n]*", "", str(sql)).split())


_OURS = {sql.strip() for sql in _plain(SCHEMA).split(";")}

"""Libraries on S3 as Earsight 0.1 made them: a LanceDB table of rows in place of `library.db`.

Several machines could feed those, each a folder of clips. They are read as what they are now, a
`library.db`, and the next `index` puts that in their place. One that several folders feed is not
read.
"""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from earsight.errors import LibraryError
from earsight.library.catalog.base import root_fact
from earsight.library.catalog.records import damaged
from earsight.library.catalog.sqlite_schema import empty_database
from earsight.paths import as_text
from earsight.storage import Remote
from earsight.untrusted import parse_json
from earsight.vectors import Records

_FORMAT = 2
_KEPT = ("id", "made:")  # facts: all others were about machines


def has_tables(library: Remote) -> bool:
    """Whether such a library lies at an address."""
    return _records(library).exists


def remove_tables(library: Remote) -> None:
    """Remove them, once `library.db` is there."""
    for name, _ in list((library / "state").walk()):
        (library / "state" / name).delete()


def convert_tables(library: Remote) -> bytes:
    """Return what `library.db` holds in place of the tables; what it says is checked when read.

    Raises:
        LibraryError: Several folders of clips feed it, or it is damaged.
    """
    if not has_tables(library):
        raise LibraryError(
            f"There is no library at {library}. Make one: earsight index CLIPS --library {library}"
        )
    rows = _records(library).read()
    try:
        return _converted(library, rows)
    except (KeyError, TypeError, ValueError, sqlite3.Error) as error:
        raise damaged(library, f"a row of its tables cannot be read ({error})") from error


def _records(library: Remote) -> Records:
    return Records(library / "state", "library")


def _converted(library: Remote, rows: list[dict[str, Any]]) -> bytes:
    facts = {
        row["key"].removeprefix("fact:"): parse_json(row["value"], file_names=True)
        for row in rows
        if row["kind"] == "fact"
    }
    if facts.get("format", _FORMAT) != _FORMAT:
        raise damaged(library, f"its tables have format {facts['format']}")
    own, root = _only_folder(library, facts, rows)
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(empty_database())
        with db:
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [("root", json.dumps(root_fact(library, root))), *_meta(own, facts)],
            )
            for row in rows:
                _insert(db, row)
        return db.serialize()


def _only_folder(
    library: Remote, facts: dict[str, Any], rows: list[dict[str, Any]]
) -> tuple[str, Path]:
    """Return the id and the path of the folder of clips."""
    feeding = {
        key.removeprefix("folder:"): one for key, one in facts.items() if key.startswith("folder:")
    }
    feeding |= {
        row["folder"]: {"machine": "?", "root": ""}
        for row in rows
        if row["kind"] == "clip" and row["folder"] not in feeding
    }
    told = [f"{one['machine']}:{as_text(bytes.fromhex(one['root']))}" for one in feeding.values()]
    if len(feeding) != 1:
        raise LibraryError(
            f"{len(feeding)} folders of clips feed the library {library} ({', '.join(told)}). That "
            "was possible in Earsight 0.1; a library has one folder of clips now. Index each into "
            "a library of its own: earsight index CLIPS --library s3://…"
        )
    ((own, only),) = feeding.items()
    return own, Path(os.fsdecode(bytes.fromhex(only["root"])))


def _meta(own: str, facts: dict[str, Any]) -> list[tuple[str, str]]:
    settings = facts.get("settings", {}) | facts.get(f"settings:{own}", {})
    settings.pop("moved", None)
    forgotten = {
        key.removeprefix("forgotten:"): value
        for key, value in facts.items()
        if key.startswith("forgotten:")
    }
    kept = {key: value for key, value in facts.items() if key.startswith(_KEPT)}
    kept |= {"settings": settings, "forgotten": forgotten}
    return [(key, json.dumps(value)) for key, value in kept.items()]


def _insert(db: sqlite3.Connection, row: dict[str, Any]) -> None:
    """Put a clip, a content or an embedding into its table."""
    if row["kind"] == "clip":
        names = ("number", "path", "size", "mtime_ns", "content", "label")
        db.execute("INSERT INTO clips VALUES (?, ?, ?, ?, ?, ?)", [row[name] for name in names])
    elif row["kind"] == "content":
        one = parse_json(row["value"])
        told = (one["status"], one["duration"], json.dumps(one["report"]), one["windows"])
        db.execute(
            "INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?)",
            (row["content"], row["features"], *told),
        )
    elif row["kind"] == "embedding":
        one = parse_json(row["value"])
        told = (one["digest"], one["n_rows"], one["made"], json.dumps(one["info"]))
        db.execute(
            "INSERT INTO embeddings VALUES (?, ?, ?, ?, ?, ?)",
            (row["number"], row["features"], *told),
        )

"""The state of a library on a disk: a SQLite file that knows the clips and what was made of them.

`index` with nothing to do opens only this.
"""

import json
import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from earsight.errors import LibraryError
from earsight.library.catalog import records
from earsight.library.catalog.base import Store, anew
from earsight.library.catalog.location import FOLDER, open_library, unwritten
from earsight.library.catalog.records import Clip, Content, Embedding, damaged
from earsight.library.catalog.sidecars import is_text, stem
from earsight.library.catalog.sqlite_schema import FILE, create_file, insert_contents, open_file
from earsight.untrusted import parse_json

_FORGOTTEN = "forgotten"
_IDENTITY = "identity"  # not the id on servers, which no two libraries may share

_CONTENTS = "SELECT content, status, duration, report, windows FROM contents"

Kept = TypeVar("Kept")


class LocalStore(Store):
    """A library in a folder: one SQLite file, written by whoever holds the folder."""

    folder: Path

    def __init__(self, folder: Path, connection: sqlite3.Connection, write: bool) -> None:
        self.folder = folder
        self._keeps = write  # a writer asks for all rows many times, a reader once
        self._db = connection
        self._db.row_factory = sqlite3.Row
        self._kept: dict[tuple[str, ...], tuple[Any, Any]] = {}

    # -- opening ---------------------------------------------------------------------------------

    @classmethod
    def made(cls, folder: Path, root: Path) -> "LocalStore":
        """Open the library in `folder` for writing, making an empty one where there is none.

        The caller holds the folder (`place.locked`).
        """
        with open_library(folder) as opened:
            if opened.kind(FILE) is None:
                create_file(opened.path, root.resolve())
        store = cls.at(folder, write=True)
        if not store.identity:
            store.set(_IDENTITY, secrets.token_hex(8))
        return store

    @classmethod
    def at(cls, folder: Path, *, write: bool = False) -> "LocalStore":
        """Open the library that is in `folder`."""
        with open_library(folder) as opened:
            return cls(opened.path, open_file(opened, write=write), write)

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing, with errors of the disk told as such."""
        try:
            with self._db:
                yield self._db
        except sqlite3.Error as error:
            raise LibraryError(unwritten(self.folder, error)) from error

    def _read(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query, with what is wrong with the file told as such."""
        try:
            return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.OperationalError as error:
            raise LibraryError(
                f"The library {self.folder} could not be read: {error}. If another process holds "
                "it, try again; otherwise: earsight doctor --library."
            ) from error
        except (sqlite3.DatabaseError, UnicodeError) as error:
            raise LibraryError(
                f"The library {self.folder} is damaged: {error}. {anew(self.folder)}"
            ) from error

    def _clips(self, rows: Iterable[sqlite3.Row]) -> list[Clip]:
        with self._believing():
            return [records.checked_clip(dict(row)) for row in rows]

    def _by_content(self, rows: Iterable[sqlite3.Row]) -> dict[str, Content]:
        with self._believing():
            return {one.content: one for one in map(records.checked_content, map(dict, rows))}

    # -- settings --------------------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return one setting."""
        rows = self._read("SELECT value FROM meta WHERE key = ?", (key,))
        return self._parsed(key, rows[0][0]) if rows else default

    def _parsed(self, key: str, value: Any) -> Any:
        try:
            return parse_json(value, file_names=True)
        except (TypeError, ValueError) as error:
            raise damaged(self.folder, f"its fact {key!r} cannot be read ({error})") from error

    def set(self, key: str, value: Any) -> None:
        """Keep one setting; nothing is written where it is the same."""
        if self.get(key) == value:
            return
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def facts(self, prefix: str) -> dict[str, Any]:
        """Return the facts whose keys begin so, by the rest of their keys."""
        rows = self._read("SELECT key, value FROM meta")
        return {
            row["key"].removeprefix(prefix): self._parsed(row["key"], row["value"])
            for row in rows
            if isinstance(row["key"], str) and row["key"].startswith(prefix)
        }

    def unset(self, keys: Iterable[str]) -> None:
        """Forget facts, those that are there."""
        with self.writing() as db:
            db.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])

    @property
    def settings(self) -> dict[str, Any]:
        """What `index` was last asked for."""
        with self._believing():
            return records.checked_settings(self.get("settings", {}))

    def keep_settings(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """Remember settings; here those of the library and those of its one folder are one."""
        self.set("settings", shared | own)

    @property
    def identity(self) -> str:
        """The id that it was given when it was first written."""
        found = self.get(_IDENTITY, "")
        return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{16}", found) else ""

    @property
    def root(self) -> Path:
        """The folder of the clips: of `X/.earsight` it is X, else what this machine's user said.

        Raises:
            LibraryError: The user has said nothing yet.
        """
        found = self.folder.parent if self.folder.name == FOLDER else self.trust.clips
        if found is None:
            raise LibraryError(
                f"This machine does not know where the clips of the library {self.folder} are. "
                f"Say so once: {self.index_command}"
            )
        return found

    @property
    def is_fed_here(self) -> bool:
        """Whether the folder of the clips is known."""
        return self.folder.name == FOLDER or self.trust.clips is not None

    def bind(self, clips: Path, *, agree: bool) -> None:
        """Let the library be about a folder of clips, by its user's word."""
        clips = clips.resolve()
        if not self.is_fed_here:
            self.trust.bind(clips, self._said_root(), agree=agree)
        root = self.root
        if not root.exists() or not root.samefile(clips):
            raise LibraryError(
                f"The library {self.folder} belongs to the clips in {root}, not to {clips}. "
                "Keep one library for each folder of clips."
            )

    def _said_root(self) -> Path | None:
        """Return the folder that the library says it was made of; nothing there is looked at."""
        try:
            said = Path(os.fsdecode(bytes.fromhex(self.get("root"))))
        except (TypeError, ValueError):
            return None
        # Inside its clips folder a library says "..", which means nothing once it was taken out.
        return Path(os.path.normpath(said)) if said.is_absolute() else None

    @property
    def version(self) -> int:
        """A number that is another one after another process or connection wrote here."""
        return int(self._read("PRAGMA data_version")[0][0])

    # -- clips and contents ----------------------------------------------------------------------

    def _known(self, made: Callable[[], Kept], *what: str) -> Kept:
        """Return what was made of the rows, made anew after any change, by whomever."""
        if not self._keeps:
            return made()
        now = (self.version, self._db.total_changes)
        if self._kept.get(what, (None, None))[0] != now:
            self._kept[what] = (now, made())
        kept: Kept = self._kept[what][1]
        return kept

    def files(self) -> list[Clip]:
        """Return all clips and the texts beside them, by path."""

        def read() -> list[Clip]:
            rows = self._read("SELECT * FROM clips ORDER BY path")
            return self._clips(rows)

        return list(self._known(read, "files"))

    def everything(self) -> list[Clip]:
        """Return the same: a library on a disk has one folder of clips."""
        return self.files()

    def contents(self, features: str) -> dict[str, Content]:
        """Return what has been read by the extractors with this fingerprint, by content."""

        def read() -> dict[str, Content]:
            return self._by_content(self._read(f"{_CONTENTS} WHERE features = ?", (features,)))

        return dict(self._known(read, "contents", features))

    def around(self, content: str, features: str) -> tuple[list[Clip], dict[str, Content]]:
        """Return the files that hold a content, the texts beside them, and what was read of them.

        What was read is of `features`, by content.
        """
        rows = self._read("SELECT * FROM clips WHERE content = ? ORDER BY path", (content,))
        files = {clip.path: clip for clip in self._clips(rows)}
        for own in {stem(path) for path in files}:  # "/" is the byte after "."
            rows = self._read(
                "SELECT * FROM clips WHERE path >= ? AND path < ? ORDER BY path",
                (own + b".", own + b"/"),
            )
            files |= {one.path: one for one in self._clips(rows) if is_text(one.path)}
        some = sorted({file.content for file in files.values()})
        listed = ", ".join("?" * len(some))
        read = self._read(
            f"{_CONTENTS} WHERE features = ? AND content IN ({listed})", (features, *some)
        )
        return list(files.values()), self._by_content(read)

    def clip_at(self, file: Path) -> Clip | None:
        """Return the clip or text that a file is, None where it is none."""
        if not self.is_fed_here or not file.is_relative_to(self.root):
            return None
        path = os.fsencode(file.relative_to(self.root))
        rows = self._read("SELECT * FROM clips WHERE path = ?", (path,))
        return self._clips(rows)[0] if rows else None

    def put_clips(
        self,
        clips: Iterable[tuple[bytes, int, int, str]],
        features: str = "",
        contents: Iterable[Content] = (),
    ) -> None:
        """Add or renew clips (path, size, mtime_ns, content), with contents read just now."""
        with self.writing() as db:
            insert_contents(db, features, contents)
            db.executemany(
                "INSERT INTO clips (path, size, mtime_ns, content) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (path) DO UPDATE SET size = excluded.size, "
                "mtime_ns = excluded.mtime_ns, content = excluded.content",
                clips,
            )

    def move_and_drop(self, moved: dict[bytes, bytes], gone: Iterable[bytes]) -> None:
        """Let clips follow their files (old path → new path, which has a row), and drop others."""
        with self.writing() as db:
            for old, new in moved.items():
                size, mtime_ns = db.execute(
                    "SELECT size, mtime_ns FROM clips WHERE path = ?", (new,)
                ).fetchone()
                db.execute("DELETE FROM clips WHERE path = ?", (new,))
                db.execute(
                    "UPDATE clips SET path = ?, size = ?, mtime_ns = ? WHERE path = ?",
                    (new, size, mtime_ns, old),
                )
            db.executemany("DELETE FROM clips WHERE path = ?", [(path,) for path in gone])

    def drop(self, clips: Iterable[Clip]) -> None:
        """Drop clips, and what is beside them."""
        self.move_and_drop({}, [clip.path for clip in clips])

    def set_labels(self, labels: Mapping[bytes, str | None]) -> bool:
        """Give each clip its label, or none; return whether any changed."""
        changed = [
            (labels.get(clip.path), clip.path)
            for clip in self.files()
            if not is_text(clip.path) and labels.get(clip.path) != clip.label
        ]
        if changed:
            with self.writing() as db:
                db.executemany("UPDATE clips SET label = ? WHERE path = ?", changed)
        return bool(changed)

    def unused_contents(self, features: str) -> list[str]:
        """Return contents read by these extractors that no clip holds any more."""
        rows = self._read(
            "SELECT content FROM contents WHERE features = ? "
            "AND content NOT IN (SELECT content FROM clips)",
            (features,),
        )
        with self._believing():
            return [records.checked_name(row[0], "a content") for row in rows]

    def drop_contents(self, features: str, contents: Iterable[str]) -> None:
        """Forget contents; their vectors are dropped after this."""
        with self.writing() as db:
            db.executemany(
                "DELETE FROM contents WHERE features = ? AND content = ?",
                [(features, content) for content in contents],
            )

    def forgotten(self) -> dict[str, list[tuple[bytes, int, int]]]:
        """Return content → (path, size, mtime_ns) of its files, of what was forgotten."""
        with self._believing():
            return records.checked_forgotten(self.get(_FORGOTTEN, {}))

    def forget(self, files: Mapping[str, Any]) -> None:
        """Note contents as forgotten, each with the files that held it."""
        self.set(_FORGOTTEN, self.get(_FORGOTTEN, {}) | dict(files))

    def take_back(self, contents: Iterable[str]) -> None:
        """Note that contents are forgotten no more."""
        gone = set(contents)
        kept = self.get(_FORGOTTEN, {})
        self.set(_FORGOTTEN, {c: held for c, held in kept.items() if c not in gone})

    def problems(self) -> list[str]:
        """Return what SQLite finds wrong with its file; nothing where it is whole."""
        found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    # -- embeddings ------------------------------------------------------------------------------

    def current(self) -> Embedding | None:
        """Return the embedding that answers, None where nothing has been embedded yet."""
        rows = self._read("SELECT * FROM embeddings ORDER BY id DESC LIMIT 1")
        with self._believing():
            return records.checked_embedding(dict(rows[0])) if rows else None

    def next_embedding(self) -> int:
        """Return the number that the next embedding will have."""
        last = self._read("SELECT MAX(id) FROM embeddings")[0][0]
        if last is not None and last >= records.LAST:
            raise damaged(self.folder, f"the number of an embedding is {last}")
        return int(last or 0) + 1

    def switch(self, embedding: Embedding) -> None:
        """Let `embedding` answer from now on, in one step; the others' rows go."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO embeddings VALUES (?, ?, ?, ?, ?, ?)",
                (
                    embedding.id,
                    embedding.features,
                    embedding.digest,
                    embedding.n_rows,
                    embedding.made,
                    json.dumps(embedding.info),
                ),
            )
            db.execute("DELETE FROM embeddings WHERE id < ?", (embedding.id,))

    def relocate(self, embedding: Embedding, _before: Embedding) -> None:
        """Let the vectors of `embedding` be read from where it says, and later ones be put there.

        Both in one step.
        """
        settings = self.settings | {"index": embedding.index}
        with self.writing() as db:
            db.execute(
                "UPDATE embeddings SET info = ? WHERE id = ?",
                (json.dumps(embedding.info), embedding.id),
            )
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('settings', ?)", (json.dumps(settings),)
            )

    def keep_features(self, features: str) -> frozenset[str]:
        """Forget what other extractors read: their vectors are dropped after this."""
        if self._read("SELECT 1 FROM contents WHERE features != ? LIMIT 1", (features,)):
            with self.writing() as db:
                db.execute("DELETE FROM contents WHERE features != ?", (features,))
        return frozenset([features])

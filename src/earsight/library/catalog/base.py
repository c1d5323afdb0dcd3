"""What a library says of itself as a whole: facts, settings, the folder of its clips.

They are rows of `library.db`, a SQLite file, as the clips are (`sqlite`). The large tables
(vectors, sequences) lie beside it and are keyed by a clip's content, so that a moved or copied file
costs nothing. A clip is acknowledged by its row, which is written after its vectors.
"""

import json
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

from earsight.errors import LibraryError
from earsight.library.catalog import records
from earsight.library.catalog.location import FOLDER, write_error_message
from earsight.library.catalog.records import BadRowError, damaged, how_to_remake
from earsight.library.catalog.trust import Trust
from earsight.storage import Location
from earsight.untrusted import parse_json

_IDENTITY = "identity"  # not the id on servers, which no two libraries may share


class LibraryFacts:
    """The facts of one library, wherever its `library.db` lies.

    Attributes:
        folder: Where the library is.
    """

    def __init__(self, folder: Location, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        self._db.row_factory = sqlite3.Row

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing, with errors of the disk told as such."""
        try:
            with self._db:
                yield self._db
        except sqlite3.Error as error:
            raise LibraryError(write_error_message(self.folder, error)) from error

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
                f"The library {self.folder} is damaged: {error}. {how_to_remake(self.folder)}"
            ) from error

    @contextmanager
    def _naming_the_library(self) -> Iterator[None]:
        """Tell of a row that breaks a rule which library it is in."""
        try:
            yield
        except BadRowError as error:
            raise damaged(self.folder, error) from error

    @property
    def version(self) -> int:
        """A number that is another one after another process or connection wrote here."""
        return int(self._read("PRAGMA data_version")[0][0])

    def problems(self) -> list[str]:
        """Return what SQLite finds wrong with its file; nothing where it is whole."""
        found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    # -- facts and settings ----------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return one fact about the library."""
        rows = self._read("SELECT value FROM meta WHERE key = ?", (key,))
        return self._parsed(key, rows[0][0]) if rows else default

    def _parsed(self, key: str, value: Any) -> Any:
        try:
            return parse_json(value, file_names=True)
        except (TypeError, ValueError) as error:
            raise damaged(self.folder, f"its fact {key!r} cannot be read ({error})") from error

    def set(self, key: str, value: Any) -> None:
        """Keep one fact; nothing is written where it is the same."""
        if self.get(key) == json.loads(json.dumps(value)):  # as it is read: a tuple is a list
            return
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def facts(self, prefix: str) -> dict[str, Any]:
        """Return the facts whose keys begin with `prefix`, by the rest of their keys."""
        rows = self._read("SELECT key, value FROM meta")
        return {
            row["key"].removeprefix(prefix): self._parsed(row["key"], row["value"])
            for row in rows
            if isinstance(row["key"], str) and row["key"].startswith(prefix)
        }

    def unset(self, keys: Iterable[str]) -> None:
        """Remove facts, those that are there."""
        with self.writing() as db:
            db.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])

    @property
    def settings(self) -> dict[str, Any]:
        """What `index` was last asked for."""
        with self._naming_the_library():
            return records.checked_settings(self.get("settings", {}))

    def keep_settings(self, settings: dict[str, Any]) -> None:
        """Remember what `index` was asked for."""
        self.set("settings", settings)

    @property
    def identity(self) -> str:
        """The id that tells this library from another one in its place; "" where it has none."""
        found = self.get(_IDENTITY, "")
        return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{16}", found) else ""

    def _identify(self) -> None:
        """Give the library an id, where it has none."""
        if not self.identity:
            self.set(_IDENTITY, secrets.token_hex(8))

    @cached_property
    def trust(self) -> Trust:
        """What the user of this machine agreed to."""
        return Trust(self.folder, self.identity)

    # -- the folder of clips ---------------------------------------------------------------------

    @property
    def _known_root(self) -> Path | None:
        """The folder of the clips: of `X/.earsight` it is X, else what this machine's user said."""
        if isinstance(self.folder, Path) and self.folder.name == FOLDER:
            return self.folder.parent
        return self.trust.clips

    @property
    def knows_root(self) -> bool:
        """Whether this machine knows where the clips are, so that there is a `root`."""
        return self._known_root is not None

    @property
    def root(self) -> Path:
        """The folder of the clips.

        Raises:
            LibraryError: The user of this machine has not said yet where it is.
        """
        if (found := self._known_root) is None:
            raise LibraryError(
                f"This machine does not know where the clips of the library {self.folder} are. "
                f"Say so once: {self.index_command}"
            )
        return found

    @property
    def root_name(self) -> str:
        """What the folder of clips is called; where it is not known, LIBRARY: in its place."""
        return str(self._known_root or f"{self.folder.name or self.folder}:")

    def bind(self, clips: Path, *, agree: bool) -> None:
        """Let the library be about a folder of clips, by its user's word.

        Args:
            clips: The folder.
            agree: Also where the library says that it was made of another one.

        Raises:
            LibraryError: It is about another folder.
        """
        clips = clips.resolve()
        if not self.knows_root:
            self.trust.bind(clips, self._said_root(), agree=agree)
        root = self.root
        if not root.exists() or not root.samefile(clips):
            raise LibraryError(
                f"The library {self.folder} belongs to the clips in {root}, not to {clips}. "
                "Keep one library for each folder of clips."
            )
        if self.get("root") is None:  # it was made just now
            self.set("root", root_fact(self.folder, clips))

    def _said_root(self) -> Path | None:
        """Return the folder that the library says it was made of; nothing there is looked at."""
        try:
            said = Path(os.fsdecode(bytes.fromhex(self.get("root"))))
        except (TypeError, ValueError):
            return None
        # Inside its clips folder a library says "..", which means nothing once it was taken out.
        return Path(os.path.normpath(said)) if said.is_absolute() else None

    @property
    def index_command(self) -> str:
        """The command that brings this library up to date."""
        if (root := self._known_root) is None:
            return f"earsight index CLIPS --library {quote(str(self.folder))}"
        index = f"earsight index {quote(str(root))}"
        inside = self.folder == root / FOLDER
        return index if inside else f"{index} --library {quote(str(self.folder))}"


def root_fact(library: Location, clips: Path) -> str:
    """Return what a library notes of its folder of clips.

    Inside that folder it notes the way up, so that both can move together.
    """
    inside = isinstance(library, Path) and library.is_relative_to(clips)
    kept = os.path.relpath(clips, str(library)) if inside else str(clips)
    return os.fsencode(kept).hex()


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

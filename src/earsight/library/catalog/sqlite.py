"""The catalog of a library: which clips it has, what was read of them, and what was made of that.

It is one SQLite file. `index` with nothing to do opens only this.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from earsight.library.catalog import records
from earsight.library.catalog.base import LibraryFacts
from earsight.library.catalog.location import open_library_folder
from earsight.library.catalog.records import Clip, Content, Embedding, damaged, is_text, stem
from earsight.library.catalog.sqlite_schema import (
    FILE,
    empty_database,
    insert_contents,
    open_file,
)
from earsight.paths import as_text
from earsight.storage import Location

_FORGOTTEN = "forgotten"
_CONTENTS = "SELECT content, status, duration, report, windows FROM contents"

Kept = TypeVar("Kept")


class Catalog(LibraryFacts):
    """The clips, contents and embeddings of one library; on a disk, a file in its folder.

    Args:
        folder: Where the library is.
        connection: Its database.
        write: Whether it is written: a writer asks for all rows many times, a reader once.
    """

    def __init__(self, folder: Location, connection: sqlite3.Connection, *, write: bool) -> None:
        super().__init__(folder, connection)
        self._keeps = write
        self._kept: dict[tuple[str, ...], tuple[Any, Any]] = {}

    @classmethod
    def made(cls, folder: Path) -> Self:
        """Open the library in `folder` for writing, making an empty one where there is none.

        The caller holds the folder (`location.locked`).
        """
        with open_library_folder(folder) as opened:
            if opened.kind(FILE) is None:
                opened.write(FILE, empty_database())
        catalog = cls.at(folder, write=True)
        catalog._identify()
        return catalog

    @classmethod
    def at(cls, folder: Path, *, write: bool = False) -> Self:
        """Open the library that is in `folder`."""
        with open_library_folder(folder) as opened:
            return cls(opened.path, open_file(opened, write=write), write=write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        super().close()

    def file_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield the name of each file of the library, relative to it, and its size in bytes."""
        top = Path(str(self.folder))
        for path, _, names in os.walk(top):
            for name in names:
                file = Path(path) / name
                with suppress(OSError):  # removed just now by an index at work
                    yield str(file.relative_to(top)), file.lstat().st_size

    def _clips(self, rows: Iterable[sqlite3.Row]) -> list[Clip]:
        with self._naming_the_library():
            return [records.checked_clip(dict(row)) for row in rows]

    def _by_content(self, rows: Iterable[sqlite3.Row]) -> dict[str, Content]:
        with self._naming_the_library():
            return {one.content: one for one in map(records.checked_content, map(dict, rows))}

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

    def clips_and_texts(self) -> tuple[list[Clip], list[Clip]]:
        """Return all clips, and all texts beside them, by path."""
        clips: list[Clip] = []
        texts: list[Clip] = []
        for file in self.files():
            (texts if is_text(file.path) else clips).append(file)
        return clips, texts

    def clips(self) -> list[Clip]:
        """Return all clips, by path."""
        return self.clips_and_texts()[0]

    def texts(self) -> list[Clip]:
        """Return all texts beside clips, by path."""
        return self.clips_and_texts()[1]

    def clip_at(self, file: Path) -> Clip | None:
        """Return the clip or text that a file is, None where it is none."""
        if not self.knows_root or not file.is_relative_to(self.root):
            return None
        path = os.fsencode(file.relative_to(self.root))
        rows = self._read("SELECT * FROM clips WHERE path = ?", (path,))
        return self._clips(rows)[0] if rows else None

    def file_of(self, clip: Clip) -> Path:
        """Return where the file of a clip is; of one in a folder that is not known, NAME:/PATH."""
        return Path(self.root_name) / os.fsdecode(clip.path)

    def name_of(self, clip: Clip) -> str:
        """Return what a clip is called: its path relative to the clips folder."""
        return as_text(clip.path)

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
        with self._naming_the_library():
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
        with self._naming_the_library():
            return records.checked_forgotten(self.get(_FORGOTTEN, {}))

    def forget(self, files: Mapping[str, Any]) -> None:
        """Note contents as forgotten, each with the files that held it."""
        self.set(_FORGOTTEN, self.get(_FORGOTTEN, {}) | dict(files))

    def take_back(self, contents: Iterable[str]) -> None:
        """Note that contents are forgotten no more."""
        gone = set(contents)
        kept = self.get(_FORGOTTEN, {})
        self.set(_FORGOTTEN, {c: held for c, held in kept.items() if c not in gone})

    # -- embeddings ------------------------------------------------------------------------------

    def current(self) -> Embedding | None:
        """Return the embedding that answers, None where nothing has been embedded yet."""
        rows = self._read("SELECT * FROM embeddings ORDER BY id DESC LIMIT 1")
        with self._naming_the_library():
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

    def relocate(self, embedding: Embedding) -> None:
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

    def drop_other_features(self, features: str) -> None:
        """Forget what other extractors read: their vectors are dropped after this."""
        if self._read("SELECT 1 FROM contents WHERE features != ? LIMIT 1", (features,)):
            with self.writing() as db:
                db.execute("DELETE FROM contents WHERE features != ?", (features,))

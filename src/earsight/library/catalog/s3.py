"""The state of a library on S3: one LanceDB table, which any number of machines may write to.

Each writer works for one folder of clips, whose rows no other writer touches; contents belong to
all. Every change is one commit, a conditional put. Clips and embeddings take their numbers from
that of a commit, which no other commit has, so that nobody needs a lock to count.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from earsight.errors import LibraryError, OvertakenError
from earsight.library.catalog import machines, records
from earsight.library.catalog.base import Store, check_format, now
from earsight.library.catalog.location import own_folders, remember_folder
from earsight.library.catalog.machines import chosen, fact_of, machine
from earsight.library.catalog.records import Clip, Content, Embedding
from earsight.library.catalog.s3_rows import (
    CLIP,
    clip_key,
    clip_row,
    content_key,
    content_row,
    embedding_row,
    fact_row,
    unpacked,
)
from earsight.library.catalog.s3_table import State
from earsight.library.catalog.s3_writer import Lease
from earsight.library.catalog.sidecars import is_text
from earsight.paths import as_text
from earsight.storage import Remote

FORMAT = 2
_MOVED = "moved"  # where an embedding was moved to; and the last such that settings know of
_BLOCK = 4096  # clips that one commit gives numbers to


def is_there(library: Remote) -> bool:
    """Whether there is a library at an address."""
    return State(library).exists


class SharedStore(Store):
    """A library on S3, fed by folders of clips on any number of machines.

    Args:
        library: Its address.
        root: The folder of clips that is worked for; None: that of this machine, if it has one.
    """

    folder: Remote
    shared = True

    def __init__(self, library: Remote, root: Path | None = None) -> None:
        self.folder = library
        self._state = State(library)
        self._here = own_folders(library)  # id → folder of this machine
        self._root = root or chosen(list(self._here.values()))
        self._own: dict[bytes, Clip] | None = None  # of `root`: nobody else writes them
        self._numbers: Iterator[int] = iter(())

    # -- opening ---------------------------------------------------------------------------------

    @classmethod
    def made(cls, library: Remote, root: Path) -> "SharedStore":
        """Open a library to feed it with a folder of clips; an empty one is made if need be."""
        library.check_bucket()
        State(library).rows.create()
        store = cls(library, root.resolve())
        check_format(library, store.get("format", FORMAT), FORMAT)
        if store.get("format") is None:
            store.set("format", FORMAT)
        store.set(f"folder:{store._id}", fact_of(store.root))
        remember_folder(library, store._id, store.root)
        store._here = own_folders(library)
        return store

    @classmethod
    def at(cls, library: Remote, root: Path | None = None) -> "SharedStore":
        """Open the library at an address."""
        store = cls(library, root and root.resolve())
        check_format(library, store.get("format", FORMAT), FORMAT)
        return store

    def close(self) -> None:
        """Let go of what is in memory; nothing else is held."""
        self._state.forget()

    def optimize(self) -> None:
        """Merge what each commit left: reading and writing would take longer with each."""
        self._state.rows.optimize()

    @property
    def version(self) -> int:
        """The number of the last commit, one request."""
        return self._state.version

    # -- facts and settings ----------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return one fact about the library."""
        return self._state.facts().get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep one fact; nothing is written where it is the same."""
        value = json.loads(json.dumps(value))  # as it is read: a tuple is a list
        if self.get(key) != value:
            self._state.put([fact_row(key, value)])

    def facts(self, prefix: str) -> dict[str, Any]:
        """Return the facts whose keys begin so, by the rest of their keys."""
        return self._state.facts(prefix)

    def unset(self, keys: Iterable[str]) -> None:
        """Forget facts, those that are there."""
        self._state.remove([f"fact:{key}" for key in keys])

    @contextmanager
    def alone(self, doing: str) -> Iterator[Callable[[], None]]:
        """Do what one machine at a time may do; give what checks that this one still may."""
        with Lease(self._state.leases, doing, machine()) as lease:
            yield lease.renew

    @property
    def settings(self) -> dict[str, Any]:
        """What `index` was last asked for: what holds for all, and for this folder of clips."""
        own = self.get(f"settings:{self._id}", {}) if self._root else {}
        shared = self.get("settings", {})
        with self._believing():
            own, shared = records.checked_settings(own), records.checked_settings(shared)
        known, current = shared.pop(_MOVED, None), self.current()
        if current is not None and current.info.get(_MOVED) not in (None, known):
            shared["index"] = current.index  # a move was killed before it could tell
        return {**shared, **own}

    def keep_settings(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """Remember settings of the library, and those of this folder of clips."""
        current = self.current()
        known = {_MOVED: current.info[_MOVED]} if current and _MOVED in current.info else {}
        self.set("settings", shared | known)
        self.set(f"settings:{self._id}", own)

    @property
    def root(self) -> Path:
        """The folder of clips that is worked for."""
        if self._root is None:
            raise LibraryError(
                f"{len(self._here)} folders of this machine feed the library {self.folder}, so "
                f"name one: earsight index CLIPS --library {quote(str(self.folder))}"
            )
        return self._root

    @property
    def is_fed_here(self) -> bool:
        """Whether a folder of this machine is worked for, so that there is a `root`."""
        return self._root is not None

    @property
    def roots(self) -> list[Path]:
        """The folders of clips on this machine."""
        return list(self._here.values())

    @property
    def folders(self) -> dict[str, int]:
        """MACHINE:FOLDER → how many clips it has, of all folders that feed the library."""
        counts = dict.fromkeys(self.fed_by, 0)
        for clip in self.clips():
            counts[clip.folder] = counts.get(clip.folder, 0) + 1
        told = self.fed_by
        return {told.get(name, name): count for name, count in counts.items()}

    @property
    def index_command(self) -> str:
        """The command that brings this library up to date."""
        root = quote(str(self._root)) if self._root else "CLIPS"
        return f"earsight index {root} --library {quote(str(self.folder))}"

    @property
    def _id(self) -> str:
        for name, root in self._here.items():
            if root == self.root:
                return name  # also where the machine has another name now
        whole = machine().encode() + b"\0" + os.fsencode(self.root)
        return hashlib.sha256(whole).hexdigest()[:16]

    @property
    def fed_by(self) -> dict[str, str]:
        """Folder → MACHINE:FOLDER, of all that feed the library."""
        with self._believing():
            return machines.told(self.facts("folder:"))

    # -- clips and contents ----------------------------------------------------------------------

    def everything(self) -> list[Clip]:
        """Return all clips and texts of the library, by folder and path."""

        def read() -> list[Clip]:
            rows = self._state.read(CLIP, kind="clip")
            with self._believing():
                clips = [records.checked_clip(row | {"id": row["number"]}) for row in rows]
            return sorted(clips, key=lambda clip: (clip.folder, clip.path))

        return self._state.known("clip", read)

    def files(self) -> list[Clip]:
        """Return all clips and texts beside them that lie in `root`, by path."""
        return [clip for clip in self.everything() if clip.folder == self._id]

    def root_of(self, clip: Clip) -> Path | None:
        """Return the folder that a clip lies in, None where it is on another machine."""
        return self._here.get(clip.folder)

    def file_of(self, clip: Clip) -> Path:
        """Return where the file of a clip is; of one on another machine, MACHINE:PATH."""
        root = self.root_of(clip)
        told = self.fed_by.get(clip.folder, clip.folder)
        return Path(told if root is None else root) / os.fsdecode(clip.path)

    def name_of(self, clip: Clip) -> str:
        """Return MACHINE:FOLDER/PATH: folders may hold clips of one name."""
        told = self.fed_by.get(clip.folder, clip.folder)
        return f"{told}/{as_text(clip.path)}"

    def contents(self, features: str) -> dict[str, Content]:
        """Return what has been read by the extractors with this fingerprint, by content."""

        def read() -> dict[str, Content]:
            rows = self._state.read(["content", "value"], kind="content", features=features)
            with self._believing():
                said = (unpacked(row["value"], content=row["content"]) for row in rows)
                return {one.content: one for one in map(records.checked_content, said)}

        return dict(self._state.known("content", read, features))

    def put_clips(
        self,
        clips: Iterable[tuple[bytes, int, int, str]],
        features: str = "",
        contents: Iterable[Content] = (),
    ) -> None:
        """Add or renew clips of `root` and contents, in one commit."""
        own = self._mine()
        changed: dict[bytes, Clip] = {}
        for path, size, mtime_ns, content in clips:
            before = changed.get(path) or own.get(path)
            number = before.id if before else self._number()
            label = before.label if before else None
            changed[path] = Clip(number, path, size, mtime_ns, content, label, self._id)
        rows = [*map(clip_row, changed.values()), *(content_row(one, features) for one in contents)]
        if rows:
            self._state.put(rows)
            own |= changed

    def _mine(self) -> dict[bytes, Clip]:
        if self._own is None:
            self._own = {clip.path: clip for clip in self.files()}
        return self._own

    def _number(self) -> int:
        """Return a number for a new clip; a commit is had by one writer alone, so is its block."""
        number = next(self._numbers, None)
        if number is None:
            version = self._state.put([fact_row(f"numbers:{self._id}", now())])
            self._numbers = iter(range(version * _BLOCK, (version + 1) * _BLOCK))
            number = next(self._numbers)
        return number

    def move_and_drop(self, moved: dict[bytes, bytes], gone: Iterable[bytes]) -> None:
        """Let clips of `root` follow their files (old → new path, which has a row); drop others."""
        own = self._mine()
        renamed = {}
        for old, new in moved.items():
            before, here = own.pop(old), own[new]
            renamed[new] = Clip(
                before.id, new, here.size, here.mtime_ns, before.content, before.label, self._id
            )
        if renamed:
            self._state.put([clip_row(clip) for clip in renamed.values()])
            own |= renamed
        leaving = [*moved, *gone]
        self._state.remove([clip_key(self._id, path) for path in leaving])
        for path in leaving:
            own.pop(path, None)

    def drop(self, clips: Iterable[Clip]) -> None:
        """Drop clips and texts, whichever folder they are in."""
        self._state.remove([clip_key(clip.folder, clip.path) for clip in clips])
        self._own = None

    def set_labels(self, labels: Mapping[bytes, str | None]) -> bool:
        """Give each clip of `root` its label, or none; return whether any changed."""
        changed = [
            Clip(c.id, c.path, c.size, c.mtime_ns, c.content, labels.get(c.path), c.folder)
            for c in self.files()
            if not is_text(c.path) and labels.get(c.path) != c.label
        ]
        if changed:
            self._state.put([clip_row(clip) for clip in changed])
            self._mine().update({clip.path: clip for clip in changed})
        return bool(changed)

    def unused_contents(self, features: str) -> list[str]:
        """Return contents read by these extractors that no clip of any folder holds."""
        held = {clip.content for clip in self.everything()}
        return [content for content in self.contents(features) if content not in held]

    def drop_contents(self, features: str, contents: Iterable[str]) -> None:
        """Forget contents; their vectors are dropped after this."""
        self._state.remove([content_key(features, content) for content in contents])

    def reads_by(self, features: str) -> None:
        """Note by which extractors `root` is read, before anything is written."""
        self.set(f"reads:{self._id}", features)

    def keep_features(self, features: str) -> frozenset[str]:
        """Forget what extractors read that no folder is read by any more."""
        rows = self._state.read(["key", "features"], kind="content")
        # After what was found: whoever wrote a row had told before by what it reads.
        kept = frozenset([features, *self.facts("reads:").values()])
        self._state.remove([row["key"] for row in rows if row["features"] not in kept])
        return kept

    def forgotten(self) -> dict[str, list[tuple[bytes, int, int]]]:
        """Return content → (path, size, mtime_ns) of its files, of what was forgotten."""
        with self._believing():
            return records.checked_forgotten(self.facts("forgotten:"))

    def forget(self, files: Mapping[str, Any]) -> None:
        """Note contents as forgotten, each with the files that held it."""
        known = self.facts("forgotten:")
        rows = [
            fact_row(f"forgotten:{content}", held)
            for content, held in files.items()
            if known.get(content) != held
        ]
        if rows:
            self._state.put(rows)

    def take_back(self, contents: Iterable[str]) -> None:
        """Note that contents are forgotten no more."""
        self._state.remove([f"fact:forgotten:{content}" for content in contents])

    def problems(self) -> list[str]:
        """Return what is wrong with the state: all of it is read."""
        numbers = [clip.id for clip in self.everything()]
        return [] if len(set(numbers)) == len(numbers) else ["two clips have one number"]

    # -- embeddings ------------------------------------------------------------------------------

    def current(self) -> Embedding | None:
        """Return the embedding that was begun last, of those that are whole."""

        def read() -> Embedding | None:
            rows = self._state.read(["number", "features", "value"], kind="embedding")
            last = max(rows, key=lambda row: row["number"], default=None)
            if last is None:
                return None
            known = {"id": last["number"], "features": last["features"]}
            with self._believing():
                return records.checked_embedding(unpacked(last["value"], **known))

        return self._state.known("embedding", read)

    def next_embedding(self) -> int:
        """Return a number larger than all before; what is read after this, it covers."""
        return self._state.put([fact_row(f"building:{self._id}", now())])

    def switch(self, embedding: Embedding) -> None:
        """Let `embedding` answer from now on, unless a later one does; earlier ones' rows go."""
        self._state.put([embedding_row(embedding)])
        rows = self._state.read(["key", "number"], kind="embedding")
        self._state.remove([row["key"] for row in rows if row["number"] < embedding.id])

    def relocate(self, embedding: Embedding, before: Embedding) -> None:
        """Let vectors be read from where `embedding` says: one commit; and be put there: another.

        Of one alone, `settings` knows that it came after them.
        """
        embedding = replace(embedding, info=embedding.info | {_MOVED: embedding.table})
        known = str(embedding_row(before)["value"])
        renewed = self._state.rows.renew([embedding_row(embedding)], known)
        if not renewed and self.current() != embedding:  # else it came to be, its reply was lost
            raise OvertakenError(
                f"Embedding {embedding.id} of the library {self.folder} answers no more, or was "
                "moved by another machine. Run the same command again."
            )
        settings = {"index": embedding.index, _MOVED: embedding.table}
        self.set("settings", self.get("settings", {}) | settings)

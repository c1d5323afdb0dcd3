"""One embedding of a library, opened: it places a query in the space and ranks the clips."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError, LibraryError, MediaError
from earsight.extractors import extract_text
from earsight.library.catalog.base import Store
from earsight.library.catalog.clips import ByContent, LibraryClip, by, listing
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.scan import content_of
from earsight.library.catalog.sidecars import is_text, text_beside
from earsight.library.catalog.sqlite import LocalStore
from earsight.library.catalog.trust import NotTrustedError, only_trusted_plugins, requests_of
from earsight.library.embedding.extraction import (
    MODALITIES,
    TEXT,
    TYPED,
    Sources,
    bridge_role,
    modality_of,
    read_clip,
    why_nothing,
)
from earsight.library.embedding.feature_tables import embedded_in_memory, stored_tables
from earsight.library.embedding.joint_space import Space
from earsight.library.embedding.model_files import open_space
from earsight.library.embedding.text_rows import read_text
from earsight.library.embedding.vector_location import open_table
from earsight.library.search.sandbox import Stranger
from earsight.library.search.time_points import Seconds
from earsight.paths import as_text
from earsight.vectors import HeldIndex, VectorTable

LOG = logging.getLogger(__name__)

_PERCEIVED = {"audio": "sound", "visual": "sight", "text": "text"}


@dataclass(frozen=True)
class Asked:
    """A query in the space: shown to people as `shown`, asked by "audio", "visual" or "text"."""

    shown: str
    by: str
    vector: FloatArray  # (k,)
    content: str | None
    notes: list[str]


class Opened:
    """One embedding of a library, loaded as far as it has been needed.

    Attributes:
        embedding: What answers.
        left_out: What the library asked for and was not done, for people.
    """

    def __init__(self, store: Store, current: Embedding | None, hold: bool) -> None:
        if current is None:
            raise LibraryError(
                f"The library {store.folder} has nothing that answers yet; its indexing did not "
                f"finish, or is at work just now. Run: {store.index_command}"
            )
        self.embedding = current
        self._store = store
        self._hold = hold
        self._held: dict[str, HeldIndex | VectorTable] = {}
        self.left_out: list[str] = []
        if not (store.is_fed_here or store.shared):
            self.left_out.append(
                f"This machine does not know where the clips of the library {store.folder} are. "
                f"Say so once: {store.index_command}"
            )

    # -- what is loaded once -----------------------------------------------------------------------

    @cached_property
    def space(self) -> Space:
        """The model."""
        with only_trusted_plugins(self._store.trust):
            return open_space(self._store.folder, self.embedding)

    @cached_property
    def _table(self) -> HeldIndex | VectorTable:
        """Its vectors, wherever they are; of a server that is not to be asked, made again here."""
        try:
            return open_table(self._store, self.embedding)
        except NotTrustedError:
            self.left_out.append(
                f"The vectors of this library lie on {self.embedding.index}, which you have not "
                "agreed to (--trust-library) and which was not contacted. They were made again "
                "from the features here."
            )
        read = self._store.contents(self.embedding.features)
        held = {file.content for file in self._store.everything()}
        windows = {c: one.windows for c, one in read.items() if one.windows and c in held}
        tables = stored_tables(self._store, self.embedding)
        return embedded_in_memory(tables, self.space, windows)

    @cached_property
    def clips(self) -> list[LibraryClip]:
        """All clips, by path."""
        return listing(self._store, self.embedding.features)

    @cached_property
    def by_id(self) -> Mapping[int, LibraryClip]:
        """The clips by their number."""
        return {clip.id: clip for clip in self.clips}

    @cached_property
    def by_content(self) -> Mapping[str, list[LibraryClip]]:
        """The clips by their content."""
        if self._hold or not isinstance(self._store, LocalStore):  # all of them are read once
            return by("content", self.clips)
        return ByContent(self._store, self.embedding.features, lambda: self.clips)

    @cached_property
    def seconds(self) -> Seconds:
        """A point for each second of each clip."""
        kept = stored_tables(self._store, self.embedding).sequences
        return Seconds(self.space, kept, self._hold)

    @property
    def index_command(self) -> str:
        """The command that brings the library up to date."""
        return self._store.index_command

    def forget_clips(self) -> None:
        """Read the list of clips again when it is next needed."""
        for name in ("clips", "by_id", "by_content"):
            self.__dict__.pop(name, None)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of sound and sight that the library reads."""
        return Sources(**self.embedding.sources).modalities

    @cached_property
    def sources(self) -> Sources:
        """The extractors that made this embedding, as they are installed now.

        Raises:
            NotTrustedError: They ask for something that nobody agreed to on this machine.
            LibraryError: They are others: two models' embeddings are never mixed.
        """
        asked = requests_of(self.embedding.sources, None)
        self._store.trust.check(asked, "Until then only its own clips can be asked by.")
        sources = Sources(**self.embedding.sources)
        if sources.fingerprint != self.embedding.features:
            raise LibraryError(
                f"The library {self._store.folder} was made with other weights or another version "
                "of the extractors than are installed now; their vectors cannot be compared. "
                f"Run: {self._store.index_command}"
            )
        return sources

    def index(self, modality: str) -> HeldIndex | VectorTable:
        """Return the vectors of one modality, in memory where they are held and fit."""
        if modality not in self._held:
            found = self._table
            if self._hold and not isinstance(found, HeldIndex):
                found = HeldIndex.of(found, {"modality": modality}) or found
            self._held[modality] = found
        return self._held[modality]

    @property
    def takes_words(self) -> bool:
        """Whether words can be typed: the bridge has text, and its network is the same one."""
        try:
            return self.sources.text is not None
        except LibraryError:
            return False

    # -- questions ---------------------------------------------------------------------------------

    def words(self, text: str) -> Asked:
        """Ask by typed words."""
        if not text.strip():
            raise InputError("`text` must hold words; got nothing.")
        if self.sources.text is None:
            raise InputError(
                f"{self.space.bridge_name} has no text, so this library takes no words. "
                "Search it by a file."
            )
        vector = extract_text(text, self.sources.text).mean()
        return Asked(text, TEXT, self._embed_text(TYPED, vector), None, [])

    def clip(self, number: int, by: str | None) -> Asked:
        """Ask by a clip of the library, by its number."""
        if number not in self.by_id:
            raise InputError(f"There is no clip {number} in this library.")
        clip = self.by_id[number]
        if by == TEXT:
            stored = self._stored(clip.text, TEXT) if clip.text else None
            if stored is not None:
                return Asked(clip.path, TEXT, stored, clip.content, [])
            text = None if clip.root is None else text_beside(clip.file)
            return self._ask_text(text, clip.path, clip.content)
        return self._ask(clip.file, clip.path, clip.content, by)

    def file(self, query: str, by: str | None) -> Asked:
        """Ask by a file, here or in the library's folder."""
        path = self.locate(query)
        shown = as_text(os.fsencode(path))
        try:
            content = self._known_content(path) or content_of(path)
        except OSError as error:
            raise MediaError(f"{query} cannot be opened: {error.strerror}.") from error
        if is_text(os.fsencode(path)):
            if by not in (None, TEXT):
                raise InputError(f"{shown} is a text; it has no {_PERCEIVED[by]} to search by.")
            return self._ask_text(path, shown, content)
        if by == TEXT:
            return self._ask_text(text_beside(path), shown, content)
        return self._ask(path, shown, content, by)

    def stranger(self, file: Stranger, by: str | None) -> Asked:
        """Ask by a file that was read in another process."""
        return self._ask(Path(), file.name, file.content, by, dict(file.vectors))

    def _ask_text(self, text: Path | None, shown: str, content: str) -> Asked:
        """Ask by a text file; of subtitles with many windows, by their mean."""
        if text is None:
            raise InputError(
                f"{shown} has no text to search by: a .txt or .srt file of its name beside it."
            )
        sources = self.sources
        try:
            read = read_text(text, sources)
        except OSError as error:
            raise MediaError(f"{text} cannot be opened: {error.strerror}.") from error
        if not read.windows:
            raise MediaError(f"{as_text(os.fsencode(text))}: {read.report.message}")
        vector = np.mean([one.vectors[self._text_role] for one in read.windows], axis=0)
        return Asked(shown, TEXT, self._embed_text(TEXT, vector), content, [])

    @property
    def _text_role(self) -> str:
        return bridge_role(self.space.bridge_name, TEXT)

    def _embed_text(self, modality: str, vector: FloatArray) -> FloatArray:
        return self._embed(modality, {self._text_role: vector[None, :]})

    def _ask(
        self,
        path: Path,
        shown: str,
        content: str,
        by: str | None,
        vectors: dict[str, Any] | None = None,
    ) -> Asked:
        known = self.by_content.get(content)
        have = list(known[0].has) if known else []
        if vectors is None and not have:
            vectors = self._extracted(path, shown)
        if vectors is not None:
            have = [modality for modality in MODALITIES if modality in vectors]
        notes = []
        if by is None:
            by = "visual" if "visual" in have else "audio"
            if len(have) == 2:
                notes.append(
                    f"{os.path.basename(shown)} has both; asking by its sight. "
                    'For its sound: by="audio"'
                )
        elif by not in have:
            raise InputError(
                f"{shown} has no {_PERCEIVED[by]} to search by; "
                f'it has {_PERCEIVED[have[0]]}: by="{have[0]}".'
            )
        stored = self._stored(content, by) if vectors is None else None
        if stored is not None:
            LOG.info("%s is known: its vectors are those of the library.", shown)
            return Asked(shown, by, stored, content, notes)
        if vectors is None:  # a power cut took them: they are in the file
            vectors = self._extracted(path, shown)
        roles = {role: x for role, x in vectors.items() if modality_of(role) == by}
        if not roles:
            raise MediaError(f"{shown} has changed since it was indexed; index again.")
        return Asked(shown, by, self._embed(by, roles), content, notes)

    def locate(self, query: str) -> Path:
        """Return the file of a query, here or in the folder of the clips."""
        roots = self._store.roots
        for path in (Path(query), *(root / query for root in roots)):
            if os.path.isfile(path):  # noqa: PTH113 - False where the name is no possible one
                return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
        why = _why_no_query(query, roots)
        alike = [clip.path for clip in self.clips if clip.file.name == query]
        meant = f" Did you mean {alike[0]}?" if alike else ""
        raise InputError(f'{why}{meant} To search by words: text="{query}"')

    def _known_content(self, path: Path) -> str | None:
        """Return the content of a clip that is as it was indexed, without reading it."""
        here = path.stat()
        known = self._store.clip_at(path)
        same = known and (known.size, known.mtime_ns) == (here.st_size, here.st_mtime_ns)
        return known.content if known and same else None

    def _stored(self, content: str, modality: str) -> FloatArray | None:
        """Return a known content in the space, as one vector (k,); None where it is not here."""
        rows = {"content": content, "modality": modality}
        found = self.index(modality)
        if found.count(rows) == 1:
            held = found if isinstance(found, HeldIndex) else HeldIndex.of(found, rows)
            return None if held is None else np.asarray(held.read(rows)[1][0], dtype=np.float32)
        # A long clip has many windows. As a query it is the mean of its steps, as any other file.
        tables = stored_tables(self._store, self.embedding)
        kept = tables.sequences
        own = [role for role in tables.roles if modality_of(role) == modality]
        roles = {f"{content}:{role}": role for role in own}
        sequences = kept.get(roles)
        if len(sequences) < len(roles):
            return None
        means = {roles[key]: one.sequence.mean()[None, :] for key, one in sequences.items()}
        return self._embed(modality, means)

    def _extracted(self, path: Path, shown: str) -> dict[str, Any]:
        if not path.is_absolute():  # what is asked by is absolute; a clip elsewhere is not
            raise LibraryError(
                f"The file of {shown} is not known on this machine, and its vectors are not in the "
                f"library. Run: {self._store.index_command}"
            )
        LOG.info("%s is decoded, and read by %s.", shown, self.sources)
        extracted = read_clip(path, self.sources, whole=True)
        if not extracted.windows:
            raise MediaError(f"{shown}: {why_nothing(extracted, self.sources)}")
        return {role: x[None, :] for role, x in extracted.windows[0].vectors.items()}

    def _embed(self, modality: str, rows: dict[str, Any]) -> FloatArray:
        return np.asarray(self.space.embed(modality, rows)[0])


def _why_no_query(query: str, roots: list[Path]) -> str:
    """Say why a query names no file; nothing is opened, since it may be a pipe."""
    for path in (Path(query), *(root / query for root in roots)):
        if os.path.isdir(path):  # noqa: PTH112 - False where the name is no possible one
            inside = os.path.lexists(path / FOLDER)
            own = f" To search in it: --library {quote(str(path))}." if inside else ""
            return f"{path} is a folder, and a query is one file.{own}"
        if os.path.exists(path):  # noqa: PTH110 - as above
            return f"{path} is neither file nor folder."
    where = ", ".join(map(str, roots)) or "a folder of this machine that feeds the library"
    return f"There is no file {query}, neither here nor in {where}."

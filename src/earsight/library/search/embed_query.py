"""A query, put into the space of a library: its words, its file, or what is stored of its clip."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError, LibraryError, MediaError
from earsight.extractors import extract_text
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.records import MODALITIES, is_text
from earsight.library.catalog.sidecars import text_file_of
from earsight.library.embedding.extraction import (
    TEXT,
    TYPED,
    modality_of,
    read_clip,
    why_no_vectors,
    zero_shot_role,
)
from earsight.library.embedding.text_rows import read_text
from earsight.library.search.query import EmbeddedQuery, Query, SandboxedFile
from earsight.library.search.snapshot import LibrarySnapshot
from earsight.paths import as_text
from earsight.untrusted import content_hash
from earsight.vectors import InMemoryIndex

LOG = logging.getLogger(__name__)

_STREAMS = {"audio": "sound", "visual": "sight", "text": "text"}
_OTHER = {"audio": "visual", "visual": "audio", "text": "visual"}


@dataclass(frozen=True)
class _Media:
    """A media file to ask by; without `vectors` they are looked up, or extracted from `file`."""

    name: str
    content: str
    file: Path | None = None
    vectors: Mapping[str, Any] | None = None


def embed_query(snapshot: LibrarySnapshot, query: Query) -> EmbeddedQuery:
    """Return a query as a point of the library's space, and what is to be ranked for it.

    Raises:
        InputError: The query lacks what is asked for.
        MediaError: Its file cannot be read.
        LibraryError: The library was made with other extractors than are installed.
    """
    if query.text is not None:
        return _embed_words(snapshot, query, query.text)
    if query.clip is not None:
        return _embed_clip(snapshot, query, query.clip)
    if isinstance(query.file, SandboxedFile):
        media = _Media(query.file.name, query.file.content, vectors=query.file.vectors)
        return _embed_media(snapshot, query, media)
    return _embed_file(snapshot, query, locate(snapshot, str(query.file)))


def locate(snapshot: LibrarySnapshot, query: str) -> Path:
    """Return the file of a query: as it is named, or in the folder of the clips."""
    store = snapshot.store
    roots = [store.root] if store.knows_root else []
    for path in (Path(query), *(root / query for root in roots)):
        if os.path.isfile(path):  # noqa: PTH113 - False where the name is no possible one
            return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
    why = _why_no_file(query, roots)
    alike = [clip.path for clip in snapshot.clips if clip.file.name == query]
    meant = f" Did you mean {alike[0]}?" if alike else ""
    raise InputError(f'{why}{meant} To search by words: text="{query}"')


def _why_no_file(query: str, roots: list[Path]) -> str:
    """Say why a query names no file; nothing is opened, since it may be a pipe."""
    for path in (Path(query), *(root / query for root in roots)):
        if os.path.isdir(path):  # noqa: PTH112 - False where the name is no possible one
            library = os.path.lexists(path / FOLDER)
            how = f" To search in it: --library {quote(str(path))}." if library else ""
            return f"{path} is a folder, and a query is one file.{how}"
        if os.path.exists(path):  # noqa: PTH110 - as above
            return f"{path} is neither file nor folder."
    where = ", ".join(map(str, roots)) or (
        "the folder of the clips, which this machine does not know"
    )
    return f"There is no file {query}, neither in the current folder nor in {where}."


def _embed_words(snapshot: LibrarySnapshot, query: Query, text: str) -> EmbeddedQuery:
    if not text.strip():
        raise InputError("`text` must hold words; got nothing.")
    network = snapshot.sources.text
    if network is None:
        raise InputError(
            f"{snapshot.space.zero_shot_name} has no text, so this library takes no words. "
            "Search it by a file."
        )
    rows = {_text_role(snapshot): extract_text(text, network).mean()[None, :]}
    vector = _embed(snapshot, TYPED, rows)
    return _embedded(snapshot, query, name=text, by=TEXT, vector=vector)


def _embed_clip(snapshot: LibrarySnapshot, query: Query, number: int) -> EmbeddedQuery:
    clip = snapshot.clip(number)
    if query.by != TEXT:
        return _embed_media(snapshot, query, _Media(clip.path, clip.content, clip.file))
    stored = _stored_vector(snapshot, clip.text, TEXT) if clip.text else None
    if stored is None:
        text = None if clip.root is None else text_file_of(clip.file)
        stored = _text_vector(snapshot, text, clip.path)
    return _embedded(snapshot, query, name=clip.path, by=TEXT, vector=stored, content=clip.content)


def _embed_file(snapshot: LibrarySnapshot, query: Query, path: Path) -> EmbeddedQuery:
    name = as_text(os.fsencode(path))
    try:
        content = _indexed_content(snapshot, path) or content_hash(path)
    except OSError as error:
        raise MediaError(f"{query.file} cannot be opened: {error.strerror}.") from error
    is_words = is_text(os.fsencode(path))
    if is_words and query.by not in (None, TEXT):
        raise InputError(f"{name} is a text; it has no {_STREAMS[query.by or TEXT]} to search by.")
    if not is_words and query.by != TEXT:
        return _embed_media(snapshot, query, _Media(name, content, path))
    vector = _text_vector(snapshot, path if is_words else text_file_of(path), name)
    return _embedded(snapshot, query, name=name, by=TEXT, vector=vector, content=content)


def _indexed_content(snapshot: LibrarySnapshot, path: Path) -> str | None:
    """Return the content of a clip that is as it was indexed, without reading it."""
    now = path.stat()
    known = snapshot.store.clip_at(path)
    same = known and (known.size, known.mtime_ns) == (now.st_size, now.st_mtime_ns)
    return known.content if known and same else None


def _embed_media(snapshot: LibrarySnapshot, query: Query, media: _Media) -> EmbeddedQuery:
    """Embed sound or sight: from what is stored of the same content, else from the file."""
    known = snapshot.by_content.get(media.content)
    has = list(known[0].has) if known else []
    vectors = media.vectors
    if vectors is None and not has:
        vectors = _extract(snapshot, media)
    if vectors is not None:
        has = [modality for modality in MODALITIES if modality in vectors]
    notes = []
    by = query.by or ("visual" if "visual" in has else "audio")
    if query.by is None and len(has) == 2:
        notes.append(
            f"{os.path.basename(media.name)} has both; asking by its sight. "
            'For its sound: by="audio"'
        )
    if query.by is not None and by not in has:
        raise InputError(
            f"{media.name} has no {_STREAMS[by]} to search by; "
            f'it has {_STREAMS[has[0]]}: by="{has[0]}".'
        )
    vector = _stored_vector(snapshot, media.content, by) if vectors is None else None
    if vector is not None:
        LOG.info("%s is known: its vectors are those of the library.", media.name)
    else:  # also where a power cut took the stored ones: they are in the file
        vectors = _extract(snapshot, media) if vectors is None else vectors
        rows = {role: x for role, x in vectors.items() if modality_of(role) == by}
        if not rows:
            raise MediaError(f"{media.name} has changed since it was indexed; index again.")
        vector = _embed(snapshot, by, rows)
    return _embedded(
        snapshot, query, name=media.name, by=by, vector=vector, content=media.content, notes=notes
    )


def _stored_vector(snapshot: LibrarySnapshot, content: str, modality: str) -> FloatArray | None:
    """Return a known content in the space, as one vector (k,); None where it is not stored."""
    rows = {"content": content, "modality": modality}
    index = snapshot.index(modality)
    if index.count(rows) == 1:
        loaded = index if isinstance(index, InMemoryIndex) else InMemoryIndex.of(index, rows)
        return None if loaded is None else np.asarray(loaded.read(rows)[1][0], dtype=np.float32)
    # A long clip has many windows. As a query it is the mean of its steps, as any other file.
    tables = snapshot.tables
    roles = {f"{content}:{role}": role for role in tables.roles if modality_of(role) == modality}
    sequences = tables.sequences.get(roles)
    if len(sequences) < len(roles):
        return None
    means = {roles[key]: one.sequence.mean()[None, :] for key, one in sequences.items()}
    return _embed(snapshot, modality, means)


def _extract(snapshot: LibrarySnapshot, media: _Media) -> dict[str, Any]:
    if media.file is None or not media.file.is_absolute():  # a clip on another machine
        raise LibraryError(
            f"The file of {media.name} is not known on this machine, and its vectors are not in "
            f"the library. Run: {snapshot.store.index_command}"
        )
    sources = snapshot.sources
    LOG.info("%s is decoded, and read by %s.", media.name, sources)
    read = read_clip(media.file, sources, whole=True)
    if not read.windows:
        raise MediaError(f"{media.name}: {why_no_vectors(read, sources)}")
    return {role: x[None, :] for role, x in read.windows[0].vectors.items()}


def _text_vector(snapshot: LibrarySnapshot, text: Path | None, name: str) -> FloatArray:
    """Return the point of a text file; of subtitles with many windows, that of their mean."""
    if text is None:
        raise InputError(
            f"{name} has no text to search by: a .txt or .srt file of its name beside it."
        )
    sources = snapshot.sources
    try:
        read = read_text(text, sources)
    except OSError as error:
        raise MediaError(f"{text} cannot be opened: {error.strerror}.") from error
    if not read.windows:
        raise MediaError(f"{as_text(os.fsencode(text))}: {read.report.message}")
    role = _text_role(snapshot)
    mean = np.mean([one.vectors[role] for one in read.windows], axis=0)
    return _embed(snapshot, TEXT, {role: mean[None, :]})


def _text_role(snapshot: LibrarySnapshot) -> str:
    return zero_shot_role(snapshot.space.zero_shot_name, TEXT)


def _embed(snapshot: LibrarySnapshot, modality: str, rows: Mapping[str, Any]) -> FloatArray:
    return np.asarray(snapshot.space.embed(modality, rows)[0])


def _embedded(
    snapshot: LibrarySnapshot,
    query: Query,
    *,
    name: str,
    by: str,
    vector: FloatArray,
    content: str | None = None,
    notes: list[str] | None = None,
) -> EmbeddedQuery:
    """Add what to rank: as asked, or the other one of what the library reads."""
    notes, for_, read = [*(notes or [])], query.for_, snapshot.modalities
    if for_ is None:
        for_ = _OTHER[by] if _OTHER[by] in read else read[0]
    if query.for_ == TEXT and not any(clip.text for clip in snapshot.clips):
        notes.append(
            "No clip of this library has a text beside it (a .txt or .srt file of its name)."
        )
    if for_ in MODALITIES and for_ not in read:
        raise InputError(f"This library was indexed with --{for_} none; it can rank by {read[0]}.")
    return EmbeddedQuery(name=name, by=by, for_=for_, vector=vector, content=content, notes=notes)

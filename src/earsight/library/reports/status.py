"""What is in a library, what made it, and whether it is up to date; nothing is read or changed."""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earsight.errors import LibraryError
from earsight.library.catalog.labels import labels_by_content
from earsight.library.catalog.location import part_sizes
from earsight.library.catalog.open import open_library, writer_of
from earsight.library.catalog.records import Content, Embedding
from earsight.library.catalog.scan import File, scan, without_forgotten
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.extraction import Sources
from earsight.library.embedding.settings import Settings, requests_not_agreed
from earsight.library.embedding.training_rows import training_plan
from earsight.library.embedding.vector_location import open_table
from earsight.library.indexing.forget import forgotten_paths
from earsight.library.indexing.pipeline import list_trouble
from earsight.paths import as_text
from earsight.storage import Location
from earsight.untrusted import content_hash

COMPARED = 256 << 20  # bytes of files with another time that are compared by what they hold


@dataclass(frozen=True, kw_only=True)
class Pending:
    """How the folder differs from its library.

    Attributes:
        new, changed, gone: Relative paths; a moved file is new and gone until it is indexed.
        retimed: Files of the same size and another time, as copying makes them, which are too
            many to compare here; `index` will.
        unfinished: The active embedding was not made from what the library holds now: clips were
            forgotten, or the last `index` did not come to its end.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unfinished: bool = False
    retimed: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether `index` would have nothing to do."""
        return not (self.new or self.changed or self.gone or self.unfinished or self.retimed)


@dataclass(frozen=True, kw_only=True)
class LibraryStatus:
    """A library as it is.

    Attributes:
        library: Its folder.
        clips: The folder of its clips on this machine; without one the library itself.
        n_clips: Files; `n_contents` of them differ.
        n_contents: Different contents; the other files are copies.
        seconds: Playing time of the different contents.
        has: Modality → number of contents that have it.
        labels: Class → number of clips, largest first.
        settings: What `index` was last asked for and will do again.
        space: The active embedding: "words", or "words + NAME"; None before the first `index` has
            ended.
        made: When it was made (UTC).
        why: Why that space was chosen.
        extractors: What reads the clips, by part: "audio", "visual", "ears", "eyes".
        read_by: The same for people.
        n_vectors: Rows that are searched.
        index: Where they are: "embedded", or the address of a server.
        index_trouble: What is wrong with them there, and what to do; empty where nothing is.
        bytes: Part of the library → bytes on disk.
        trouble: (path, status, message) of every clip that is not whole.
        forgotten: Files that stay out until they are taken back.
        pending: What `index` would work on; None where the clips' folder is not there.
        indexing: The process that is indexing just now, or None.
        index_command: The command that brings it up to date.
        asks_for: What it asks for outside of itself and nobody on this machine has agreed to.
        agreed: What was agreed to.
    """

    library: Location
    clips: Location
    n_clips: int
    n_contents: int
    seconds: float
    has: dict[str, int]
    labels: dict[str, int]
    settings: dict[str, Any]
    space: str | None
    made: str | None
    why: str
    extractors: dict[str, str]
    read_by: str
    n_vectors: int
    index: str
    index_trouble: str
    bytes: dict[str, int]
    trouble: list[tuple[str, str, str]]
    forgotten: list[str]
    pending: Pending | None
    indexing: str | None
    index_command: str
    asks_for: list[str]
    agreed: list[str]


def library_status(library: str | Location) -> LibraryStatus:
    """Describe a library; its folder of clips is walked, no clip is decoded.

    Args:
        library: The clips folder, or the library folder itself.

    Raises:
        LibraryError: No library, or one that cannot be read.
    """
    with open_library(library) as store:
        clips, current = store.clips(), store.current()
        settings = Settings.of(store)
        read = store.contents(current.features) if current else {}
        contents = {clip.content: read[clip.content] for clip in clips if clip.content in read}
        info = current.info if current else {}
        sources = Sources(**(current.sources if current else {}))
        return LibraryStatus(
            library=store.folder,
            clips=store.root if store.knows_root else store.folder,
            n_clips=len(clips),
            n_contents=len({clip.content for clip in clips}),
            seconds=sum(content.duration for content in contents.values()),
            has=_modalities(contents),
            labels=dict(Counter(clip.label for clip in clips if clip.label).most_common()),
            settings=asdict(settings),
            space=info.get("space"),
            made=current.made if current else None,
            why=info.get("decision", {}).get("why", ""),
            extractors=asdict(sources) if current else {},
            read_by=sources.description if current else "",
            n_vectors=current.n_rows if current else 0,
            index=current.index if current else settings.index,
            index_trouble=_index_trouble(store, current),
            bytes=part_sizes(store.folder),
            trouble=list_trouble(store, current.features, store.files()) if current else [],
            forgotten=forgotten_paths(store),
            pending=_pending(store, settings, current),
            indexing=writer_of(store.folder),
            index_command=store.index_command,
            asks_for=list(map(str, requests_not_agreed(store))),
            agreed=sorted(map(str, store.trust.allowed)),
        )


def _modalities(contents: dict[str, Content]) -> dict[str, int]:
    """Return modality → how many contents have rows of it."""
    counts: Counter[str] = Counter()
    for content in contents.values():
        counts.update(m for m, rows in content.report["rows"].items() if rows)
    return dict(sorted(counts.items()))


def _pending(store: Catalog, settings: Settings, current: Embedding | None) -> Pending | None:
    if not store.knows_root:
        return None
    try:
        found, _ = without_forgotten(store, scan(store.root, store.files(), settings.exclude))
    except LibraryError:  # the disk of the clips is not there; the library can still tell
        return None
    known = {file.path: file for file in store.files()}
    fresh, missing = found.fresh + found.texts.fresh, found.missing + found.texts.missing
    touched = [file for file in fresh if file.path in known]
    retimed = [file for file in touched if file.size == known[file.path].size]
    if sum(file.size for file in retimed) <= COMPARED:
        same = {f.path for f in retimed if _holds(store.root, f, known[f.path].content)}
        touched, retimed = [file for file in touched if file.path not in same], []
    later = {file.path for file in retimed}
    return Pending(
        new=[as_text(file.path) for file in fresh if file.path not in known],
        changed=[as_text(file.path) for file in touched if file.path not in later],
        gone=[as_text(file.path) for file in missing],
        unfinished=current is None or _stale(store, settings, current),
        retimed=[as_text(file.path) for file in retimed],
    )


def _holds(root: Path, file: File, content: str) -> bool:
    try:
        return content_hash(root / os.fsdecode(file.path)) == content
    except OSError:  # gone just now, or not to be read: index will tell
        return False


def _index_trouble(store: Catalog, current: Embedding | None) -> str:
    if current is not None:
        try:
            open_table(store, current)
        except LibraryError as error:
            return str(error)
    return ""


def _stale(store: Catalog, settings: Settings, current: Embedding) -> bool:
    """Whether the clips, labels and settings in the library would give another embedding."""
    if Sources(**current.sources) != settings.sources or current.index != settings.index:
        return True
    plan = training_plan(store, current.features, settings, labels_by_content(store.clips()))
    return current.digest != plan.digest

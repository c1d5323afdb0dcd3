"""What is in a library, what made it, and whether it is up to date; nothing is read or changed."""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earsight.errors import LibraryError
from earsight.library.catalog.base import Store
from earsight.library.catalog.consent import asked_of
from earsight.library.catalog.labels import agreed_labels
from earsight.library.catalog.location import find, held_by, place_of_lock
from earsight.library.catalog.records import Content, Embedding
from earsight.library.catalog.scan import File, content_of, scan
from earsight.library.embedding.extraction import Sources
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_plan import plan_of
from earsight.library.embedding.vector_location import open_table
from earsight.library.indexing.forget import forgotten_paths, leave_out
from earsight.library.indexing.pipeline import trouble
from earsight.paths import as_text
from earsight.storage import Place, Remote

COMPARED = 256 << 20  # bytes of files with another time that are compared by what they hold


@dataclass(frozen=True)
class Pending:
    """How the folder differs from its library.

    Attributes:
        new, changed, gone: Relative paths; a moved file is new and gone until it is indexed.
        retimed: Files of the same size and another time, as copying makes them, which are too
            many to compare here; `index` will.
        unfinished: What answers was not made from what the library holds now: clips were
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


@dataclass(frozen=True)
class LibraryStatus:
    """A library as it is.

    Attributes:
        library: Its folder.
        clips: The folder of its clips on this machine; without one the library itself.
        folders: Folder → its clips, of all folders that feed it: MACHINE:FOLDER on S3.
        n_clips: Files; `n_contents` of them differ.
        n_contents: Different contents; the other files are copies.
        seconds: Playing time of the different contents.
        has: Modality → number of contents that have it.
        labels: Class → number of clips, largest first.
        settings: What `index` was last asked for and will do again.
        space: What answers: "words", or "words + NAME"; None before the first `index` has ended.
        made: When it was made (UTC).
        why: Why that answers.
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

    library: Place
    clips: Place
    folders: dict[str, int]
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


def status(library: str | Place) -> LibraryStatus:
    """Describe a library; its folder of clips is walked, no clip is decoded.

    Args:
        library: The clips folder, or the library folder itself.

    Raises:
        LibraryError: No library, or one that cannot be read.
    """
    with Store.open(find(library)) as store:
        clips, current = store.clips(), store.current()
        settings = Settings.of(store)
        contents = store.contents(current.features) if current else {}
        held = {clip.content: contents[clip.content] for clip in clips if clip.content in contents}
        info = current.info if current else {}
        sources = Sources(**(current.sources if current else {}))
        return LibraryStatus(
            library=store.folder,
            clips=store.root if store.is_fed_here else store.folder,
            folders=store.folders,
            n_clips=len(clips),
            n_contents=len({clip.content for clip in clips}),
            seconds=sum(content.duration for content in held.values()),
            has=_modalities(held),
            labels=dict(Counter(clip.label for clip in clips if clip.label).most_common()),
            settings=asdict(settings),
            space=info.get("space"),
            made=current.made if current else None,
            why=info.get("decision", {}).get("why", ""),
            extractors=asdict(sources) if current else {},
            read_by=sources.told if current else "",
            n_vectors=current.n_rows if current else 0,
            index=current.index if current else settings.index,
            index_trouble=_index_trouble(store, current),
            bytes=_sizes(store.folder),
            trouble=trouble(store, current.features, store.everything()) if current else [],
            forgotten=forgotten_paths(store),
            pending=_pending(store, settings, current),
            indexing=_at_work(store),
            index_command=store.index_command,
            asks_for=list(map(str, asked_of(store))),
            agreed=sorted(map(str, store.trust.allowed)),
        )


def _modalities(held: dict[str, Content]) -> dict[str, int]:
    """Return modality → how many contents have rows of it."""
    counts: Counter[str] = Counter()
    for content in held.values():
        counts.update(m for m, rows in content.report["rows"].items() if rows)
    return dict(sorted(counts.items()))


def _at_work(store: Store) -> str | None:
    """Return the process of this machine that indexes just now."""
    if not store.is_fed_here:
        return None
    return held_by(place_of_lock(store.folder, store.root))


def _pending(store: Store, settings: Settings, current: Embedding | None) -> Pending | None:
    if not store.is_fed_here and not store.shared:
        return None
    if not store.is_fed_here:
        return Pending(unfinished=current is None or _stale(store, settings, current))
    try:
        found, _ = leave_out(store, scan(store.root, store.files(), settings.exclude))
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
        return content_of(root / os.fsdecode(file.path)) == content
    except OSError:  # gone just now, or not to be read: index will tell
        return False


def _index_trouble(store: Store, current: Embedding | None) -> str:
    if current is not None:
        try:
            open_table(store, current)
        except LibraryError as error:
            return str(error)
    return ""


def _stale(store: Store, settings: Settings, current: Embedding) -> bool:
    """Whether the clips, labels and settings in the library would give another embedding."""
    if Sources(**current.sources) != settings.sources or current.index != settings.index:
        return True
    plan = plan_of(store, current.features, settings, agreed_labels(store.clips()))
    return current.digest != plan.digest


def _sizes(folder: Place) -> dict[str, int]:
    """Return part → bytes: "clips" (the small tables), "models", "vectors"."""
    sizes = {"clips": 0, "models": 0, "vectors": 0}
    if isinstance(folder, Remote):
        for key, info in folder.walk():
            part = key.partition("/")[0]
            sizes[part if part in sizes else "clips"] += info.size
        return sizes
    for path, _, files in os.walk(folder):
        parts = Path(path).relative_to(folder).parts
        part = parts[0] if parts and parts[0] in sizes else "clips"
        for name in files:
            try:
                sizes[part] += (Path(path) / name).lstat().st_size
            except OSError:  # removed just now by an index at work
                continue
    return sizes

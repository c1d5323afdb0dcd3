"""Index a folder: find what changed, read it, and make the embedding that answers.

Whatever happens (a kill, a full disk, a broken clip), what was acknowledged stays, and the
embedding that stands answers until the next one stands.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earsight import engine
from earsight.errors import LibraryError
from earsight.library.labels import Labelling, check_labels, label_clips
from earsight.library.learn import LEARN_VERSION, learn
from earsight.library.place import locked, place_for, unwritten
from earsight.library.progress import Progress, Silent
from earsight.library.reading import Changes, read_changes, refuse_empty
from earsight.library.scan import scan
from earsight.library.settings import Settings
from earsight.library.store import Embedding, Store, now
from earsight.library.tables import Tables, drop_others, embedding_table, write_embedding
from earsight.media import Status
from earsight.paths import as_text

_TROUBLE = (Status.PARTIAL, Status.UNREADABLE)


@dataclass
class IndexReport:
    """What `index` did, and the state it left.

    Attributes:
        library: The library's folder.
        n_clips: Files in it.
        changes: How many were added, read again, moved, gone, unchanged.
        trouble: (path, status, message) of every clip in the library that is not whole.
        labels: Class → number of clips.
        passed_over: Files that are not media by the end of their name.
        rebuilt: Whether a new embedding was made.
        embedding: What answers now; its `info["decision"]` tells why.
        seconds: Wall-clock time.
    """

    library: Path
    n_clips: int = 0
    changes: Changes = field(default_factory=Changes)
    trouble: list[tuple[str, str, str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    passed_over: int = 0
    rebuilt: bool = False
    embedding: Embedding | None = None
    seconds: float = 0.0


def index(
    folder: Path,
    *,
    library: Path | None = None,
    workers: int | None = None,
    rebuild: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> IndexReport:
    """Bring the library of a clips folder up to date.

    Args:
        folder: The clips.
        library: Where the library is kept; default `folder/.earsight`.
        workers: Processes that decode and extract; default: the cores.
        rebuild: Make the embedding anew even if nothing changed.
        progress: Is told what happens.
        changes: Fields of `Settings` to change; the others stay as they were.

    Raises:
        InputError: A setting names something that is not there.
        LibraryError: The folder holds nothing playable, or the library is locked, newer,
            read-only or out of disk.
    """
    begun = time.monotonic()
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file; index takes the folder it lies in" if folder.exists() else "is not there"
        raise LibraryError(f"{folder} {what}.")
    place = place_for(folder, library)
    if place.exists() and not place.is_dir():
        raise LibraryError(f"The library is a folder; {place} is a file. Name another place.")
    settings = Settings().changed(changes)
    if not (place / "library.db").is_file():
        refuse_empty(folder, place, scan(folder, (), settings.exclude), settings.exclude)
    with locked(place), Store.create(place, folder) as store:
        try:
            _check_root(store, folder)
            settings = Settings.of(store).changed(changes)
            report = _update(store, settings, workers, rebuild, progress or Silent())
        except OSError as error:
            raise LibraryError(unwritten(place, error)) from error
    report.seconds = time.monotonic() - begun
    return report


def _check_root(store: Store, folder: Path) -> None:
    if not store.root.exists() or not store.root.samefile(folder):
        raise LibraryError(
            f"The library {store.folder} belongs to the clips in {store.root}, not to {folder}. "
            "Keep one library for each folder of clips."
        )


def _update(
    store: Store,
    settings: Settings,
    workers: int | None,
    rebuild: bool,
    progress: Progress,
    *,
    mended: bool = False,
) -> IndexReport:
    found = scan(store.root, store.clips(), settings.exclude)
    refuse_empty(store.root, store.folder, found, settings.exclude)
    here = [clip.path for clip in found.same] + [file.path for file in found.fresh]
    check_labels(settings.labels, here)
    settings.keep(store)  # nothing is wrong with them; a killed run goes on as it was asked to
    features = settings.sources.fingerprint
    tables = Tables(store.folder, features)
    if store.contents(features) and not tables.complete:
        progress.say("Tables of the library are missing; its clips are read again.")
        store.drop_contents(features, list(store.contents(features)))
    changes = read_changes(
        store,
        found,
        settings.sources,
        workers=workers or engine.default_workers(),
        progress=progress,
    )
    labelling = label_clips(store, settings.labels, progress)
    plan = _plan(store, settings, labelling)
    current = store.current()
    rebuilt = rebuild or current is None or current.digest != plan.digest
    rebuilt = rebuilt or not _stands(store, current)
    if rebuilt:
        if _mend(store, tables, progress):
            if mended:
                raise LibraryError(
                    f"Vectors written to {store.folder} do not stay there. Check the disk, delete "
                    "that folder, and index again."
                )
            return _update(store, settings, workers, rebuild, progress, mended=True)
        current = _embed(store, settings, plan, tables, progress)
    _sweep(store, current)
    told = [(as_text(folder) + "/", "unreadable", why) for folder, why in found.closed.items()]
    return IndexReport(
        store.folder,
        len(store.clips()),
        changes,
        trouble(store, features) + told,
        labelling.counts,
        found.passed_over,
        rebuilt,
        current,
    )


def _stands(store: Store, current: Embedding | None) -> bool:
    """Whether what the embedding is made of is there."""
    return (
        current is not None
        and embedding_table(store.folder, current.table).exists
        and (store.folder / "models" / str(current.id)).is_dir()
    )


def _mend(store: Store, tables: Tables, progress: Progress) -> bool:
    """Make tables and acknowledged contents agree; return whether clips must be read again."""
    contents = store.contents(tables.features)
    unused = set(store.unused_contents(tables.features))
    believed = {c: found.report["rows"] for c, found in contents.items() if c not in unused}
    try:
        lost, strays = tables.faults(believed)
    except LibraryError as error:
        progress.say(f"The clips are read again, because their tables are damaged: {error}")
        store.drop_contents(tables.features, list(contents))
        tables.drop()
        return True
    store.drop_contents(tables.features, [*lost, *unused])
    tables.delete([*lost, *strays])
    if lost:
        progress.say(f"Vectors of {len(lost)} contents are missing; they are read again.")
    return bool(lost)


@dataclass(frozen=True)
class _Plan:
    """What an embedding is made from.

    Attributes:
        windows: Content → its number of windows.
        labels: Content → label.
        digest: Of all that decides the outcome.
    """

    windows: dict[str, int]
    labels: Mapping[str, str]
    digest: str


def _plan(store: Store, settings: Settings, labelling: Labelling) -> _Plan:
    features = settings.sources.fingerprint
    contents = store.contents(features)
    held = {clip.content for clip in store.clips()}
    windows = {c: contents[c].windows for c in held if c in contents and contents[c].windows}
    if not windows:
        first = "; ".join(f"{path}: {why}" for path, _, why in trouble(store, features)[:3])
        raise LibraryError(f"None of the {len(held)} clips in {store.root} could be read. {first}")
    labels = labelling.by_content
    facts = [features, settings.learn, LEARN_VERSION, [(c, labels.get(c)) for c in sorted(windows)]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return _Plan(windows, labels, digest)


def _embed(
    store: Store, settings: Settings, plan: _Plan, tables: Tables, progress: Progress
) -> Embedding:
    """Make a new embedding beside the one that answers, and let it answer."""
    space, decision = learn(tables, plan.windows, plan.labels, settings, progress)
    number = store.next_embedding()
    model = store.folder / "models" / str(number)
    shutil.rmtree(model, ignore_errors=True)  # left by a killed run
    space.save(model)
    table = embedding_table(store.folder, f"embedding-{number}")
    n_rows = write_embedding(tables, table, space, plan.windows)
    info = {
        "space": space.name,
        "decision": asdict(decision),
        "sources": asdict(settings.sources),
    }
    embedding = Embedding(number, tables.features, plan.digest, n_rows, now(), info)
    store.switch(embedding)
    tables.optimize()
    return embedding


def _sweep(store: Store, current: Embedding | None) -> None:
    """Remove what no longer answers. A kill before this costs disk only, until the next run."""
    if current is None:
        return
    store.keep_features(current.features)
    drop_others(store.folder, current.features, current.table)
    for folder in (store.folder / "models").iterdir():
        if folder.name != str(current.id):
            shutil.rmtree(folder, ignore_errors=True)


def trouble(store: Store, features: str) -> list[tuple[str, str, str]]:
    """Return (path, status, message) of the clips that could not be read, or not to their end."""
    contents = store.contents(features)
    return [
        (as_text(clip.path), found.status, found.report["message"])
        for clip in store.clips()
        if (found := contents.get(clip.content)) and found.status in _TROUBLE
    ]

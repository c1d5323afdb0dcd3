"""Index a folder: find what changed, read it, and make the embedding that answers.

Whatever happens (a kill, a full disk, a broken clip), what was acknowledged stays, and the
embedding that stands answers until the next one stands.
"""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earsight import engine
from earsight.errors import LibraryError
from earsight.library.labels import Labelling, label_clips
from earsight.library.learn import LEARN_VERSION, learn
from earsight.library.progress import Progress, Silent
from earsight.library.reading import Changes, read_changes, refuse_empty
from earsight.library.scan import scan
from earsight.library.settings import Settings
from earsight.library.store import FOLDER, Embedding, Store, as_text, now
from earsight.library.tables import Tables, drop_others, embedding_table, write_embedding
from earsight.media import Status

_TROUBLE = (Status.PARTIAL, Status.UNREADABLE)


@dataclass
class IndexReport:
    """What `index` did, and the state it left.

    Attributes:
        library: The library's folder.
        n_clips: Files in it.
        changes: How many were added, moved, gone, unchanged.
        trouble: (path, status, message) of every clip in the library that is not whole.
        labels: Class → number of clips.
        rebuilt: Whether a new embedding was made.
        embedding: What answers now; its `info["decision"]` tells why.
        seconds: Wall-clock time.
    """

    library: Path
    n_clips: int = 0
    changes: Changes = field(default_factory=Changes)
    trouble: list[tuple[str, str, str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
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
    progress = progress or Silent()
    folder = Path(folder)
    if not folder.is_dir():
        raise LibraryError(f"There is no folder {folder}.")
    place = library or folder / FOLDER
    settings = Settings().changed(changes)
    if not (place / "library.db").is_file():
        refuse_empty(folder, place, scan(folder, (), settings.exclude))
    with Store.create(place, folder) as store, store.locked():
        try:
            report = _update(store, folder, changes, workers, rebuild, progress)
        except OSError as error:
            raise LibraryError(store.unwritten(error)) from error
    report.seconds = time.monotonic() - begun
    return report


def _update(
    store: Store,
    folder: Path,
    changes: dict[str, Any],
    workers: int | None,
    rebuild: bool,
    progress: Progress,
) -> IndexReport:
    _check_root(store, folder)
    settings = Settings.of(store).changed(changes)
    settings.keep(store)
    found = scan(store.root, store.clips(), settings.exclude)
    refuse_empty(store.root, store.folder, found)
    report = IndexReport(store.folder)
    report.changes = read_changes(
        store,
        found,
        settings.sources,
        workers=workers or engine.default_workers(),
        progress=progress,
    )
    labelling = label_clips(store, settings.labels, progress)
    report.labels = labelling.counts
    report.rebuilt = _embed(store, settings, labelling, rebuild, progress)
    report.n_clips = len(store.clips())
    report.trouble = trouble(store, settings.sources.fingerprint)
    report.embedding = store.current()
    return report


def _check_root(store: Store, folder: Path) -> None:
    if not store.root.exists() or not store.root.samefile(folder):
        raise LibraryError(
            f"The library {store.folder} belongs to the clips in {store.root}, not to {folder}. "
            "Keep one library for each folder of clips."
        )


def _embed(
    store: Store, settings: Settings, labelling: Labelling, rebuild: bool, progress: Progress
) -> bool:
    """Make and switch to a new embedding if anything it is made from has changed."""
    features = settings.sources.fingerprint
    contents = store.contents(features)
    held = {clip.content for clip in store.clips()}
    usable = {c: contents[c].windows for c in held if c in contents and contents[c].windows}
    if not usable:
        first = "; ".join(f"{path}: {why}" for path, _, why in trouble(store, features)[:3])
        raise LibraryError(f"None of the {len(held)} clips in {store.root} could be read. {first}")
    labels = labelling.by_content
    facts = [features, settings.learn, LEARN_VERSION, [(c, labels.get(c)) for c in sorted(usable)]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    current = store.current()
    if current and current.digest == digest and not rebuild:
        _sweep(store, current)
        return False
    tables = Tables(store.folder, features)
    space, decision = learn(tables, usable, labels, settings, progress)
    number = store.next_embedding()
    model = store.folder / "models" / str(number)
    shutil.rmtree(model, ignore_errors=True)  # left by a killed run
    space.save(model)
    n_rows = write_embedding(
        tables, embedding_table(store.folder, f"embedding-{number}"), space, usable
    )
    info = {
        "space": space.name,
        "decision": asdict(decision),
        "sources": asdict(settings.sources),
    }
    embedding = Embedding(number, features, digest, n_rows, now(), info)
    store.switch(embedding)
    unused = store.unused_contents(features)
    store.drop_contents(features, unused)
    tables.delete(unused)
    tables.optimize()
    _sweep(store, embedding)
    return True


def _sweep(store: Store, embedding: Embedding) -> None:
    """Remove what no longer answers. A kill before this costs disk only, until the next run."""
    drop_others(store.folder, embedding.features, embedding.table)
    for folder in (store.folder / "models").iterdir():
        if folder.name != str(embedding.id):
            shutil.rmtree(folder, ignore_errors=True)


def trouble(store: Store, features: str) -> list[tuple[str, str, str]]:
    """Return (path, status, message) of the clips that could not be read, or not to their end."""
    contents = store.contents(features)
    return [
        (as_text(clip.path), found.status, found.report["message"])
        for clip in store.clips()
        if (found := contents.get(clip.content)) and found.status in _TROUBLE
    ]

"""Index a folder: find what changed, read it, and make the embedding that answers.

Whatever happens (a kill, a full disk, a broken clip), what was acknowledged stays, and the
embedding that stands answers until the next one stands.
"""

import logging
import math
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from earsight import engine
from earsight.errors import LibraryError
from earsight.library.catalog.base import Store, now
from earsight.library.catalog.labels import agreed_labels, check_labels, label_clips
from earsight.library.catalog.location import (
    FOLDER,
    find,
    knows,
    locked,
    named,
    place_for,
    place_of_lock,
    unwritten,
)
from earsight.library.catalog.records import Clip, Embedding
from earsight.library.catalog.scan import Scan, scan
from earsight.library.catalog.sidecars import is_text
from earsight.library.embedding import model_files
from earsight.library.embedding.extraction import look_again
from earsight.library.embedding.feature_tables import Tables, drop_others, write_embedding
from earsight.library.embedding.model_selection import learn
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_plan import Plan, plan_of
from earsight.library.embedding.vector_location import (
    check_reachable,
    drop_left,
    new_place,
    table_of,
)
from earsight.library.indexing.forget import leave_out
from earsight.library.indexing.ingest import Changes, read_changes, refuse_empty
from earsight.library.indexing.sharing import let_go, waits
from earsight.library.progress import Progress, Silent
from earsight.media import Status
from earsight.paths import as_text
from earsight.storage import Place, Remote

LOG = logging.getLogger(__name__)

_TROUBLE = (Status.PARTIAL, Status.UNREADABLE)


@dataclass
class IndexReport:
    """What `index` did, and the state it left.

    Attributes:
        library: The library's folder.
        n_clips: Files of this folder in it.
        changes: How many were added, read again, moved, gone, unchanged.
        trouble: (path, status, message) of every clip in the library that is not whole.
        labels: Class → number of clips that answer.
        passed_over: Files that are neither media by the end of their name nor a clip's text.
        linked: Folders that are links, which are not followed; relative paths.
        odd: (path, what it is) of what is neither file nor folder, such as a pipe or a link to
            nothing; it is not opened.
        unlabelled: Why clips have no class though folders or a file were to name them; empty where
            all have one, or none was asked for.
        n_texts: Texts beside clips.
        forgotten: Files left out because `forget` was asked to.
        rebuilt: Whether a new embedding was made.
        embedding: What answers now; its `info["decision"]` tells why.
        takes_words: Whether it can be searched by typed words.
        example: The path of a clip to ask with, relative to the clips folder.
        seconds: Wall-clock time.
    """

    library: Place
    n_clips: int = 0
    changes: Changes = field(default_factory=Changes)
    trouble: list[tuple[str, str, str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    passed_over: int = 0
    linked: list[str] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)
    unlabelled: str = ""
    n_texts: int = 0
    forgotten: int = 0
    rebuilt: bool = False
    embedding: Embedding | None = None
    takes_words: bool = True
    example: str = ""
    seconds: float = 0.0


def index(
    folder: Path,
    *,
    library: str | Place | None = None,
    workers: int | None = None,
    rebuild: bool = False,
    skip: Collection[bytes] = (),
    progress: Progress | None = None,
    trust: bool = False,
    **changes: Any,
) -> IndexReport:
    """Bring the library of a clips folder up to date.

    Args:
        folder: The clips.
        library: Where the library is kept; default `folder/.earsight`.
        workers: Processes that decode and extract; default: the cores.
        rebuild: Make the embedding anew even if nothing changed.
        skip: New or changed files (paths relative to the clips) to leave for later, because they
            are still being written.
        progress: Is told what happens.
        trust: Agree to what the library asks for outside of itself, now and later on this machine.
        changes: Fields of `Settings` to change; the others stay as they were.

    Raises:
        InputError: A setting names something that is not there.
        NotTrustedError: The library asks for something that nobody agreed to on this machine.
        LibraryError: The folder holds nothing playable, or the library is locked, newer,
            read-only or out of disk.
    """
    begun = time.monotonic()
    look_again()
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file; index takes the folder it lies in" if folder.exists() else "is not there"
        raise LibraryError(f"{folder} {what}.")
    place = place_for(folder, library)
    if isinstance(place, Path) and place.exists() and not place.is_dir():
        raise LibraryError(f"The library is a folder; {place} is a file. Name another place.")
    settings = Settings().changed(changes)
    if not knows(place, folder):
        refuse_empty(folder, place, scan(folder, (), settings.exclude), settings.exclude)
    with locked(place_of_lock(place, folder), place), Store.create(place, folder) as store:
        try:
            store.bind(folder, agree=trust)
            settings = Settings.agreed(store, changes, agree=trust)
            work = _Work(settings, workers or engine.default_workers(), rebuild, frozenset(skip))
            report = _update(store, work, progress or Silent())
        except OSError as error:
            raise LibraryError(unwritten(place, error)) from error
    report.seconds = time.monotonic() - begun
    return report


def refresh(
    place: str | Place, *, progress: Progress | None = None, trust: bool = False
) -> IndexReport:
    """Bring a library up to date by its own settings; a folder that has none gets one.

    Args:
        place: The clips folder, or the library folder itself.
        progress: Is told what happens.
        trust: As for `index`.

    Raises:
        LibraryError: As for `index`.
    """
    try:
        library = find(place)
    except LibraryError:
        if isinstance(named(place), Remote):
            raise
        return index(Path(str(place)), progress=progress, trust=trust)
    with Store.open(library) as store:
        root = store.root
    inside = isinstance(library, Path) and library.resolve() == (root / FOLDER).resolve()
    return index(root, library=None if inside else library, progress=progress, trust=trust)


@dataclass(frozen=True)
class _Work:
    """What one `index` was asked for."""

    settings: Settings
    workers: int
    rebuild: bool
    skip: frozenset[bytes]


def _update(store: Store, work: _Work, progress: Progress, *, mended: bool = False) -> IndexReport:
    settings = work.settings
    whole = scan(store.root, store.files(), settings.exclude)
    refuse_empty(store.root, store.folder, whole, settings.exclude)
    found, forgotten = leave_out(store, whole, keep=True)
    for one in (found, found.texts):
        one.fresh = [file for file in one.fresh if file.path not in work.skip]
    here = [clip.path for clip in found.same] + [file.path for file in found.fresh]
    check_labels(settings.labels, here)
    check_reachable(store, settings.index)
    if settings.sources != Settings.of(store).sources:
        settings.sources.prepare()  # weights that cannot be had are no setting to remember
    settings.keep(store)  # nothing is wrong with them; a killed run goes on as it was asked to
    features = settings.sources.fingerprint
    store.reads_by(features)
    tables = Tables(store.folder, features, settings.sources.roles)
    if store.contents(features) and not tables.complete:
        progress.say("Tables of the library are missing; its clips are read again.")
        store.drop_contents(features, list(store.contents(features)))
    _say_why(store, work, found, features)
    changes = read_changes(store, found, settings.sources, workers=work.workers, progress=progress)
    answering = {name for name, one in store.contents(features).items() if one.windows}
    labelling = label_clips(store, settings.labels, progress, answering)
    plan = plan_of(store, features, settings, labelling.by_content)
    n_clips = sum(not is_text(file.path) for file in store.files())
    if not plan.windows:
        first = "; ".join(
            f"{path}: {why}" for path, _, why in trouble(store, features, store.files())[:3]
        )
        raise LibraryError(f"None of the {n_clips} clips in {store.root} could be read. {first}")
    current = store.current()
    why = _why_anew(store, current, plan, work)
    if why and store.shared and waits(store, current, settings, features, progress):
        why = ""
    if why:
        LOG.info("What answers is made anew: %s.", why)
        if _mend(store, tables, progress):
            if mended:
                raise LibraryError(
                    f"Vectors written to {store.folder} do not stay there. Check the disk, delete "
                    "that folder, and index again."
                )
            return _update(store, work, progress, mended=True)
        current = _embed(store, work, plan, tables, progress)
    if why or not store.shared:  # on S3 looking for what is left costs requests
        _sweep(store, current, progress)
    told = [(as_text(folder) + "/", "unreadable", why) for folder, why in found.closed.items()]
    return IndexReport(
        store.folder,
        n_clips,
        changes,
        trouble(store, features, store.files()) + told,
        labelling.counts,
        found.passed_over,
        [as_text(folder) for folder in found.linked],
        [(as_text(path), what) for path, what in found.odd.items()],
        labelling.missing,
        len(store.files()) - n_clips,
        forgotten,
        bool(why),
        current,
        settings.sources.text is not None,
        next((as_text(c.path) for c in store.clips() if c.content in plan.windows), ""),
    )


def _say_why(store: Store, work: _Work, found: Scan, features: str) -> None:
    """Log what is about to be done, and the reason for each file."""
    if not LOG.isEnabledFor(logging.INFO):
        return
    told, workers = work.settings.sources.told, work.workers
    LOG.info("Features: %s; %d processes; tables %s.", told, workers, features)
    known = {file.path for file in store.files()}
    for file in found.fresh:
        why = "its size or time changed" if file.path in known else "it is new"
        LOG.info("%s is looked at: %s.", as_text(file.path), why)
    for clip in found.missing:
        LOG.info("%s is gone, or has moved.", as_text(clip.path))
    done = store.contents(features)
    for clip in found.same:
        if clip.content not in done:
            LOG.info("%s is read: these extractors have not read it.", as_text(clip.path))
        elif done[clip.content].report["again"]:
            LOG.info("%s is read again: it failed before.", as_text(clip.path))


def _why_anew(store: Store, current: Embedding | None, plan: Plan, work: _Work) -> str:
    """Say why the embedding must be made; empty where it stands."""
    if current is None:
        return "nothing answers yet"
    if current.features != plan.features:
        return "the extractors are others"
    if current.digest != plan.digest:
        return "the clips, their labels or what is to be learned changed"
    if current.index != work.settings.index:
        return "its vectors belong into another index"
    if not _stands(store, current):
        return "its files are missing"
    return "it was asked for" if work.rebuild else ""


def _stands(store: Store, current: Embedding) -> bool:
    """Whether what the embedding is made of is there."""
    table = table_of(store, current)
    return table.exists and model_files.stands(store.folder, current)


def _mend(store: Store, tables: Tables, progress: Progress) -> bool:
    """Make tables and acknowledged contents agree; return whether clips must be read again."""
    contents = store.contents(tables.features)
    unread = {file.content for file in store.files()} - contents.keys()
    unused = set(store.unused_contents(tables.features))
    believed = {c: found.report["rows"] for c, found in contents.items() if c not in unused}
    try:
        lost, strays = tables.faults(believed)
    except LibraryError as error:
        progress.say(f"The clips are read again, because their tables are damaged: {error}")
        store.drop_contents(tables.features, list(contents))
        tables.drop()
        return True
    if store.shared:
        store.drop_contents(tables.features, lost)
        let_go(store, tables, {*unused, *strays})
    else:
        store.drop_contents(tables.features, [*lost, *unused])
        tables.delete([*lost, *strays])
    if lost:
        progress.say(f"Vectors of {len(lost)} contents are missing; they are read again.")
    return bool(lost or unread)


def _embed(store: Store, work: _Work, plan: Plan, tables: Tables, progress: Progress) -> Embedding:
    """Make a new embedding beside the one that answers, and let it answer."""
    number = store.next_embedding()
    if store.shared:  # what others acknowledged before this number was taken is in it
        plan = plan_of(store, plan.features, work.settings, agreed_labels(store.clips()))
    try:
        store.switch(_make(store, work, plan, tables, number, progress))
    except LibraryError:
        later = store.current()
        if not store.shared or later is None or later.id < number:
            raise
        LOG.info("A later embedding of another machine answers; this one was left.")
    tables.optimize()
    store.optimize()
    current = store.current()
    assert current is not None
    return current


def _make(
    store: Store,
    work: _Work,
    plan: Plan,
    tables: Tables,
    number: int,
    progress: Progress,
) -> Embedding:
    """Write the model and the vectors of embedding `number`."""
    settings = work.settings
    space, decision = learn(
        tables,
        plan.windows,
        plan.labels,
        settings,
        progress,
        texts=plan.texts,
        workers=work.workers,
    )
    kept = model_files.save_space(store.folder, number, space)
    place = new_place(store, number, settings.index)
    table = place.open(store)
    n_rows = write_embedding(tables, table, space, plan.windows | plan.texts, progress)
    figures = {name: one for name, one in decision.figures.items() if math.isfinite(one)}
    info = {
        "space": space.name,
        "decision": asdict(replace(decision, figures=figures)),
        "sources": asdict(settings.sources),
        "roles": tables.roles,
        **place.facts(table),
        **kept,
    }
    return Embedding(number, tables.features, plan.digest, n_rows, now(), info)


def _sweep(store: Store, current: Embedding | None, progress: Progress) -> None:
    """Remove what no longer answers. A kill before this costs disk only, until the next run."""
    if current is None:
        return
    drop_others(store, current)
    for left in drop_left(store, current):
        progress.say(left)
    model_files.drop_spaces(store.folder, current.id)


def trouble(store: Store, features: str, files: Iterable[Clip]) -> list[tuple[str, str, str]]:
    """Return (path, status, message) of the files that could not be read, or not to their end."""
    contents = store.contents(features)
    return [
        (store.name_of(clip), found.status, found.report["message"])
        for clip in files
        if (found := contents.get(clip.content)) and found.status in _TROUBLE
    ]

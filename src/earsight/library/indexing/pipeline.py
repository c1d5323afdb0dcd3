"""Bring the library of a folder of clips up to date.

The steps, each in a file of its own: scan the folder; ingest what is new; choose the rows to learn
from; select a model; write the embedding and make it the active one; collect garbage. Whatever
happens (a kill, a full disk, a broken clip), what was acknowledged stays, and the active embedding
stays active until the next one is whole.
"""

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earsight import engine
from earsight.errors import LibraryError
from earsight.library.catalog.labels import Labelling, check_labels, label_clips
from earsight.library.catalog.location import FOLDER, write_error_message
from earsight.library.catalog.open import (
    exists,
    find_library,
    library_of_clips,
    open_for_indexing,
    open_library,
)
from earsight.library.catalog.records import Clip, Embedding, is_text
from earsight.library.catalog.scan import Scan, refuse_empty, scan, without_forgotten
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.active_embedding import why_outdated, write_embedding
from earsight.library.embedding.extraction import forget_extractors
from earsight.library.embedding.feature_tables import FeatureTables
from earsight.library.embedding.garbage import collect_garbage, repair_tables
from earsight.library.embedding.model_selection import select_model
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_rows import TrainingPlan, training_plan
from earsight.library.embedding.vector_location import check_reachable
from earsight.library.indexing.ingest import Changes, ingest
from earsight.library.progress import Progress, Silent
from earsight.media import Status
from earsight.paths import as_text
from earsight.storage import Location

LOG = logging.getLogger(__name__)


@dataclass
class IndexReport:
    """What `index` did, and the state it left.

    Attributes:
        library: The library's folder.
        n_clips: Files of this folder in it.
        changes: How many were added, read again, moved, gone, unchanged.
        trouble: (path, status, message) of every clip in the library that is not whole.
        labels: Class → number of its clips that can be found.
        passed_over: Files that are neither media by the end of their name nor a clip's text.
        linked: Folders that are links, which are not followed; relative paths.
        odd: (path, what it is) of what is neither file nor folder, such as a pipe; not opened.
        unlabelled: Why clips have no class though folders or a file were to name it; else empty.
        n_texts: Texts beside clips.
        forgotten: Files left out because `forget` was asked to.
        rebuilt: Whether a new embedding was made.
        embedding: The active one; its `info["decision"]` tells why it was chosen.
        takes_words: Whether it can be searched by typed words.
        example: The path of a clip to ask with, relative to the clips folder.
        seconds: Wall-clock time.
    """

    library: Location
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
    library: str | Location | None = None,
    workers: int | None = None,
    rebuild: bool = False,
    skip: Collection[bytes] = (),
    progress: Progress | None = None,
    trust: bool = False,
    **changes: Any,
) -> IndexReport:
    """Bring the library of a folder of clips up to date; an empty one is made if there is none.

    Args:
        folder: The clips.
        library: Where the library is kept; default `folder/.earsight`.
        workers: Processes that decode and extract; default: the cores.
        rebuild: Make a new embedding even if nothing changed.
        skip: New or changed files (paths relative to the clips) to leave for later, because they
            are still being written.
        progress: Receives what happens.
        trust: Agree to what the library asks for outside of itself, now and later on this machine.
        changes: Fields of `Settings` to change; the others stay as they were.

    Raises:
        InputError: A setting names something that does not exist.
        NotTrustedError: The library asks for something that nobody agreed to on this machine.
        LibraryError: The folder holds nothing playable, or the library is locked, newer,
            read-only or out of disk.
    """
    begun = time.monotonic()
    forget_extractors()
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file; name the folder it lies in" if folder.exists() else "does not exist"
        raise LibraryError(f"`earsight index` takes a folder of clips; {folder} {what}.")
    location = library_of_clips(folder, library)
    settings = Settings().changed(changes)
    if not exists(location):
        refuse_empty(folder, location, scan(folder, (), settings.exclude), settings.exclude)
    with open_for_indexing(location, folder, agree=trust) as catalog:
        try:
            settings = Settings.agreed(catalog, changes, agree=trust)
            job = _Job(settings, workers or engine.default_workers(), rebuild, frozenset(skip))
            report = _update(catalog, job, progress or Silent())
        except OSError as error:
            raise LibraryError(write_error_message(location, error)) from error
    report.seconds = time.monotonic() - begun
    return report


def refresh(
    location: str | Location, *, progress: Progress | None = None, trust: bool = False
) -> IndexReport:
    """Bring a library up to date by its own settings; a folder that has none gets one.

    Args:
        location: The clips folder, the library folder itself, or its address.
        progress: Receives what happens.
        trust: As for `index`.

    Raises:
        LibraryError: As for `index`.
    """
    try:
        library = find_library(location)
    except LibraryError:
        if not Path(str(location)).is_dir():
            raise
        return index(Path(str(location)), progress=progress, trust=trust)
    with open_library(library) as catalog:
        root, inside = catalog.root, catalog.folder == catalog.root / FOLDER
    return index(root, library=None if inside else library, progress=progress, trust=trust)


@dataclass(frozen=True)
class _Job:
    """What one `index` was asked for."""

    settings: Settings
    workers: int
    rebuild: bool
    skip: frozenset[bytes]


@dataclass(frozen=True)
class _Read:
    """What the first steps gave: the scan, what was read, the labels, and what to learn from."""

    found: Scan
    n_forgotten: int
    changes: Changes
    labelling: Labelling
    plan: TrainingPlan


def _update(catalog: Catalog, job: _Job, progress: Progress) -> IndexReport:
    """Do all steps on an open library."""
    read, tables = _read(catalog, job, progress)
    active = catalog.current()
    reason = why_outdated(catalog, active, read.plan, job.settings)
    if active is None or reason or job.rebuild:
        reason = reason or "as asked"
        LOG.info("A new embedding is made: %s.", reason)
        if repair_tables(catalog, tables, progress):
            read, tables = _read(catalog, job, progress)
            if repair_tables(catalog, tables, progress):
                raise LibraryError(
                    f"Vectors written to {catalog.folder} could not be read back. Check the disk, "
                    "delete that folder, and index again."
                )
        settings = job.settings
        model = select_model(tables, read.plan, settings, workers=job.workers, progress=progress)
        active = write_embedding(
            catalog, tables, read.plan, settings, model=model, progress=progress
        )
        tables.optimize()
    collect_garbage(catalog, active, progress)
    return _report(catalog, job, read, active, rebuilt=bool(reason))


def _read(catalog: Catalog, job: _Job, progress: Progress) -> tuple[_Read, FeatureTables]:
    """Scan the folder, ingest what is new, label the clips, and say what can be learned from."""
    settings = job.settings
    whole = scan(catalog.root, catalog.files(), settings.exclude)
    refuse_empty(catalog.root, catalog.folder, whole, settings.exclude)
    found, n_forgotten = without_forgotten(catalog, whole, remember=True)
    for one in (found, found.texts):
        one.fresh = [file for file in one.fresh if file.path not in job.skip]
    _keep_settings(catalog, settings, found)
    features = settings.sources.fingerprint  # once its weights are here
    tables = FeatureTables(catalog.folder, features, settings.sources.roles)
    if catalog.contents(features) and not tables.complete:
        progress.say("Tables of the library are missing; its clips are read again.")
        catalog.drop_contents(features, list(catalog.contents(features)))
    _log_work(catalog, job, found, features)
    changes = ingest(catalog, found, settings.sources, workers=job.workers, progress=progress)
    readable = {name for name, one in catalog.contents(features).items() if one.windows}
    labelling = label_clips(catalog, settings.labels, progress, readable)
    plan = training_plan(catalog, features, settings, labelling.by_content)
    if not plan.windows:
        trouble = list_trouble(catalog, features, catalog.files())
        first = "; ".join(f"{path}: {why}" for path, _, why in trouble[:3])
        raise LibraryError(
            f"None of the {_n_clips(catalog)} clips in {catalog.root} could be read. {first}"
        )
    return _Read(found, n_forgotten, changes, labelling, plan), tables


def _keep_settings(catalog: Catalog, settings: Settings, found: Scan) -> None:
    """Remember the settings, once nothing is wrong with them; a killed run goes on with them."""
    paths = [clip.path for clip in found.same] + [file.path for file in found.fresh]
    check_labels(settings.labels, paths)
    check_reachable(catalog, settings.index)
    if settings.sources != Settings.of(catalog).sources:
        settings.sources.prepare()  # weights that cannot be had are no setting to remember
    settings.keep(catalog)


def _log_work(catalog: Catalog, job: _Job, found: Scan, features: str) -> None:
    """Log what is about to be done, and the reason for each file."""
    if not LOG.isEnabledFor(logging.INFO):
        return
    description = job.settings.sources.description
    LOG.info("Features: %s; %d processes; tables %s.", description, job.workers, features)
    known = {file.path for file in catalog.files()}
    for file in found.fresh:
        why = "its size or time changed" if file.path in known else "it is new"
        LOG.info("%s is looked at: %s.", as_text(file.path), why)
    for clip in found.missing:
        LOG.info("%s is gone, or has moved.", as_text(clip.path))
    done = catalog.contents(features)
    for clip in found.same:
        if clip.content not in done:
            LOG.info("%s is read: these extractors have not read it.", as_text(clip.path))
        elif done[clip.content].report["again"]:
            LOG.info("%s is read again: it failed before.", as_text(clip.path))


def _report(
    catalog: Catalog, job: _Job, read: _Read, active: Embedding, *, rebuilt: bool
) -> IndexReport:
    found, plan = read.found, read.plan
    closed = [(as_text(folder) + "/", "unreadable", why) for folder, why in found.closed.items()]
    return IndexReport(
        library=catalog.folder,
        n_clips=_n_clips(catalog),
        changes=read.changes,
        trouble=list_trouble(catalog, plan.features, catalog.files()) + closed,
        labels=read.labelling.counts,
        passed_over=found.passed_over,
        linked=[as_text(folder) for folder in found.linked],
        odd=[(as_text(path), what) for path, what in found.odd.items()],
        unlabelled=read.labelling.missing,
        n_texts=len(catalog.files()) - _n_clips(catalog),
        forgotten=read.n_forgotten,
        rebuilt=rebuilt,
        embedding=active,
        takes_words=job.settings.sources.text is not None,
        example=next((as_text(c.path) for c in catalog.clips() if c.content in plan.windows), ""),
    )


def _n_clips(catalog: Catalog) -> int:
    return sum(not is_text(file.path) for file in catalog.files())


def list_trouble(
    catalog: Catalog, features: str, files: Iterable[Clip]
) -> list[tuple[str, str, str]]:
    """Return (path, status, message) of the files that could not be read, or not to their end."""
    contents = catalog.contents(features)
    return [
        (catalog.name_of(clip), found.status, found.report["message"])
        for clip in files
        if (found := contents.get(clip.content))
        and found.status in (Status.PARTIAL, Status.UNREADABLE)
    ]

"""Check that a library and what it is read with are sound, and say what to do where they are not.

Each check is a function that returns findings; none changes anything.
"""

import platform
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from earsight import __version__
from earsight.errors import EarsightError, LibraryError, MediaError
from earsight.library.catalog.base import Store
from earsight.library.catalog.consent import asked_of
from earsight.library.catalog.location import find, held_by, place_of_lock
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.trust import NotTrustedError, only_trusted_plugins, requests_of
from earsight.library.embedding.extraction import Sources, read_clip
from earsight.library.embedding.feature_tables import Tables, stored_tables
from earsight.library.embedding.model_files import open_space
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.vector_location import open_table
from earsight.media import Status
from earsight.storage import Place
from earsight.vectors import LanceIndex, VectorTable, table_names

State = Literal["fine", "warning", "broken"]

_PACKAGES = ("numpy", "av", "lancedb", "pyarrow", "onnxruntime", "tokenizers", "torch")
_LITTLE_ROOM = 1 << 30  # bytes: less is worth a warning …
_NO_ROOM = 100 << 20  # … and less than this is broken


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        state: "fine", "warning" (it works, but look at it), or "broken".
        found: What there is.
        todo: What to do; empty where it is fine.
    """

    check: str
    state: State
    found: str
    todo: str = ""


def check_versions() -> Finding:
    """Tell what runs where."""
    python = f"Python {platform.python_version()} on {platform.platform()}"
    return Finding("versions", "fine", f"Earsight {__version__}, {python}")


def check_packages() -> list[Finding]:
    """Import what Earsight needs, and tell the versions."""
    versions, broken = [], []
    for name in _PACKAGES:
        try:
            import_module(name)
            versions.append(f"{name} {metadata.version(name)}")
        except Exception as error:  # a damaged binary raises anything
            broken.append(
                Finding(
                    f"package {name}",
                    "broken",
                    f"It cannot be imported: {type(error).__name__}: {error}",
                    f"Install it anew: pip install --force-reinstall {name}, with Earsight's "
                    "constraints.txt (-c).",
                )
            )
    return [*broken, Finding("packages", "fine", ", ".join(versions))]


def check_reading(clip: Path, sources: Sources) -> Finding:
    """Decode a clip that is known to be whole, and run the extractors on it.

    Args:
        clip: It has sound and sight.
        sources: The extractors; their weights are on this machine.
    """
    names = ", ".join(sorted({kind.name for kind in sources.extractors().values()}))
    what = f"decoder and extractors ({names})"
    try:
        extracted = read_clip(clip, sources)
        if extracted.report.status != Status.OK:
            raise MediaError(f"{extracted.report.status}: {extracted.report.message}")
        vectors = extracted.windows[0].vectors
        unread = [m for m in sources.modalities if m not in vectors]
        if unread or not all(np.isfinite(vector).all() for vector in vectors.values()):
            raise MediaError(f"No finite vector came of its {' and '.join(unread) or 'content'}.")
    except Exception as error:  # whatever a decoder or a network throws is what is to be told
        return Finding(
            what,
            "broken",
            f"A drawn clip could not be read: {type(error).__name__}: {error}",
            "Install av and onnxruntime anew with Earsight's constraints.txt; then run doctor.",
        )
    found = f"A drawn clip of {extracted.report.duration:.1f} s was decoded and embedded."
    return Finding(what, "fine", found)


def check_room(folder: Path, what: str) -> Finding:
    """Look at the free space of the disk that holds `folder`."""
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free at {folder}"
    if free >= _LITTLE_ROOM:
        return Finding(what, "fine", found)
    state: State = "broken" if free < _NO_ROOM else "warning"
    return Finding(what, state, found, "Make room, or keep it on another disk.")


def check_library(library: str | Place) -> list[Finding]:
    """Open everything in a library and read it to its end."""
    try:
        store = Store.open(find(library))
    except LibraryError as error:
        return [Finding("library", "broken", str(error), "See above.")]
    findings: list[Finding] = []
    with store:
        try:
            for check in (_check_database, _check_requests, _check_surroundings, _check_tables):
                findings.extend(check(store))
        except LibraryError as error:  # the file is so damaged that the other checks find nothing
            findings.append(Finding("library", "broken", str(error), "See above."))
    return findings


def _check_database(store: Store) -> Iterator[Finding]:
    anew = (
        f"Delete {store.folder} and index again ({store.index_command}); the clips themselves are "
        "not touched."
    )
    try:
        problems = store.problems()
    except sqlite3.Error as error:
        problems = [str(error)]
    if problems:
        yield Finding("list of clips", "broken", "; ".join(problems[:3]), anew)
    else:
        who = "All of it was read" if store.shared else "SQLite finds it whole"
        yield Finding("list of clips", "fine", f"{who}: {len(store.clips())} clips")


def _check_requests(store: Store) -> Iterator[Finding]:
    for one in asked_of(store):
        yield Finding(
            "request",
            "warning",
            f"The library asks to {one}, which nobody on this machine has agreed to.",
            "To agree: --trust-library.",
        )


def _check_surroundings(store: Store) -> Iterator[Finding]:
    if not store.is_fed_here and not store.shared:
        yield Finding(
            "folder of clips",
            "warning",
            "This machine does not know where it is; its files cannot be played or asked by.",
            f"Say so once: {store.index_command}",
        )
        return
    if not store.is_fed_here:
        yield Finding("folders of clips", "fine", ", ".join(store.folders))
        return
    if store.root.is_dir():
        yield Finding("folder of clips", "fine", str(store.root))
    else:
        yield Finding(
            "folder of clips",
            "warning",
            f"{store.root} is not there; searching by files of it and indexing wait for it.",
            "Mount its disk. If the clips have moved, index them at their new place.",
        )
    if (holder := held_by(place_of_lock(store.folder, store.root))) is not None:
        yield Finding("at work", "fine", f"Process {holder} is indexing just now.")


def _check_tables(store: Store) -> Iterator[Finding]:
    current = store.current()
    if current is None:
        yield Finding(
            "what answers", "broken", "No index has come to its end.", f"Run: {store.index_command}"
        )
        return
    anew = f"Make it anew: {store.index_command} --rebuild"
    tables = stored_tables(store, current)
    for name in table_names(tables.folder):
        kept = (tables.sequences.name, tables.timing.name)  # of another kind
        if name.endswith(f"-{current.features}") and name not in kept:
            yield _check_table(f"table {name}", LanceIndex(tables.folder, name), anew)
    yield _check_sequences(tables, anew)
    yield _check_rows(store, current, tables, anew)
    yield _check_answers(store, current, anew)
    yield _check_sources(store, current)


def _check_table(what: str, table: VectorTable, todo: str, expected: int | None = None) -> Finding:
    n_rows = 0
    try:
        for rows, vectors in table.read():
            if not np.isfinite(vectors).all():
                raise LibraryError("It holds values that are no numbers.")
            n_rows += len(rows)
    except EarsightError as error:
        return Finding(what, "broken", str(error), todo)
    if expected is not None and n_rows != expected:
        return Finding(what, "broken", f"{n_rows} rows; {expected} were written", todo)
    return Finding(what, "fine", f"{n_rows} rows of width {table.dim}")


def _check_sequences(tables: Tables, todo: str) -> Finding:
    try:
        n_rows = sum(1 for _ in tables.sequences.read())
    except EarsightError as error:
        return Finding("table of sequences", "broken", str(error), todo)
    return Finding("table of sequences", "fine", f"{n_rows} sequences")


def _check_rows(store: Store, current: Embedding, tables: Tables, todo: str) -> Finding:
    """Compare the rows of the tables with what the list of clips says was read."""
    what = "tables against list"
    held = {file.content for file in store.everything()}
    contents = store.contents(current.features)
    believed = {c: found.report["rows"] for c, found in contents.items() if c in held}
    try:
        lost, _ = tables.faults(believed)
    except EarsightError as error:
        return Finding(what, "broken", str(error), todo)
    if lost:
        found = f"The vectors of {len(lost)} of {len(believed)} contents are not all there."
        return Finding(what, "broken", found, todo)
    return Finding(what, "fine", f"All rows of {len(believed)} contents are there")


def _check_answers(store: Store, current: Embedding, todo: str) -> Finding:
    what = "what answers"
    try:
        with only_trusted_plugins(store.trust):
            space = open_space(store.folder, current)
    except NotTrustedError as error:
        return Finding(what, "warning", str(error), "See above.")
    except (EarsightError, OSError) as error:
        return Finding(what, "broken", str(error), todo)
    try:
        table = open_table(store, current)
    except NotTrustedError as error:
        return Finding(what, "warning", str(error), "See above.")
    except LibraryError as error:
        return Finding(what, "broken", str(error), todo)
    finding = _check_table(what, table, todo, current.n_rows)
    if finding.state != "fine":
        return finding
    found = f"{space.name}: {finding.found}, made {current.made}, index {current.index}"
    return Finding(what, "fine", found)


def _check_sources(store: Store, current: Embedding) -> Finding:
    what = "extractors of the library"
    try:
        store.trust.check(requests_of(current.sources, None))
        now: Any = Sources(**current.sources)
        same = now.fingerprint == current.features
        asked = Settings.of(store).sources
    except NotTrustedError as error:
        return Finding(what, "warning", str(error), "See above.")
    except EarsightError as error:
        return Finding(what, "broken", str(error), "See above.")
    if not same:
        return Finding(
            what,
            "warning",
            "The weights or extractors installed now are others than those that read the clips. "
            "Clips of the library still answer; new files and words are refused.",
            f"Read the clips anew: {store.index_command}",
        )
    if asked != now:
        found = f"{now} answer; {asked} were asked for, and that index has not come to its end."
        return Finding(what, "warning", found, f"Run: {store.index_command}")
    return Finding(what, "fine", "Those installed now are those that read the clips")

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
from earsight.library.catalog.open import open_library, writer_of
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import NotTrustedError, only_trusted_plugins, requests_of
from earsight.library.embedding.extraction import Sources, read_clip
from earsight.library.embedding.feature_tables import FeatureTables, stored_tables
from earsight.library.embedding.model_files import open_model
from earsight.library.embedding.settings import Settings, requests_not_agreed
from earsight.library.embedding.vector_location import open_table
from earsight.media import Status
from earsight.storage import Location
from earsight.vectors import LanceIndex, VectorTable, table_names

State = Literal["fine", "warning", "broken"]

_PACKAGES = ("numpy", "av", "lancedb", "pyarrow", "onnxruntime", "tokenizers", "torch")
_ACTIVE = "active embedding"
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
            found = f"It cannot be imported: {type(error).__name__}: {error}"
            todo = (
                f"Install it anew: pip install --force-reinstall {name}, with Earsight's "
                "constraints.txt (-c)."
            )
            broken.append(Finding(f"package {name}", "broken", found, todo))
    return [*broken, Finding("packages", "fine", ", ".join(versions))]


def check_reading(clip: Path, sources: Sources) -> Finding:
    """Decode a clip that is known to be whole, and run the extractors on it.

    Args:
        clip: It has sound and sight.
        sources: The extractors; their weights are on this machine.
    """
    names = ", ".join(sorted({kind.name for kind in sources.extractors().values()}))
    check = f"decoder and extractors ({names})"
    try:
        extracted = read_clip(clip, sources)
        if extracted.report.status != Status.OK:
            raise MediaError(f"{extracted.report.status}: {extracted.report.message}")
        vectors = extracted.windows[0].vectors
        unread = [m for m in sources.modalities if m not in vectors]
        if unread or not all(np.isfinite(vector).all() for vector in vectors.values()):
            raise MediaError(f"No finite vector came of its {' and '.join(unread) or 'content'}.")
    except Exception as error:  # whatever a decoder or a network throws is what is to be told
        found = f"A drawn clip could not be read: {type(error).__name__}: {error}"
        todo = "Install av and onnxruntime anew with Earsight's constraints.txt; then run doctor."
        return Finding(check, "broken", found, todo)
    found = f"A drawn clip of {extracted.report.duration:.1f} s was decoded and embedded."
    return Finding(check, "fine", found)


def check_room(folder: Path, what: str) -> Finding:
    """Look at the free space of the disk that holds `folder`."""
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free at {folder}"
    if free >= _LITTLE_ROOM:
        return Finding(what, "fine", found)
    state: State = "broken" if free < _NO_ROOM else "warning"
    return Finding(what, state, found, "Make room, or keep it on another disk.")


def check_library(library: str | Location) -> list[Finding]:
    """Open everything in a library and read it to its end."""
    findings: list[Finding] = []
    try:
        with open_library(library) as store:
            for check in (_check_database, _check_requests, _check_clips, _check_embedding):
                findings.extend(check(store))
    except LibraryError as error:  # so damaged that no other check finds anything
        findings.append(Finding("library", "broken", str(error), "See above."))
    return findings


def _check_database(store: Catalog) -> Iterator[Finding]:
    check = "list of clips"
    try:
        problems = store.problems()
    except sqlite3.Error as error:
        problems = [str(error)]
    if not problems:
        yield Finding(check, "fine", f"All of it was read: {len(store.clips())} clips")
        return
    todo = (
        f"Delete {store.folder} and index again ({store.index_command}); the clips themselves are "
        "not touched."
    )
    yield Finding(check, "broken", "; ".join(problems[:3]), todo)


def _check_requests(store: Catalog) -> Iterator[Finding]:
    for request in requests_not_agreed(store):
        found = f"The library asks to {request}, which nobody on this machine has agreed to."
        yield Finding("request", "warning", found, "To agree: --trust-library.")


def _check_clips(store: Catalog) -> Iterator[Finding]:
    check = "folder of clips"
    if not store.knows_root:
        found = "This machine does not know where it is; its files cannot be played or asked by."
        yield Finding(check, "warning", found, f"Say so once: {store.index_command}")
    elif store.root.is_dir():
        yield Finding(check, "fine", str(store.root))
    else:
        found = f"{store.root} is not there; searching by files of it and indexing wait for it."
        todo = "Mount its disk. If the clips have moved, index them at their new place."
        yield Finding(check, "warning", found, todo)
    if store.knows_root and (holder := writer_of(store.folder)):
        yield Finding("at work", "fine", f"Process {holder} writes in it just now.")


def _check_embedding(store: Catalog) -> Iterator[Finding]:
    current = store.current()
    if current is None:
        todo = f"Run: {store.index_command}"
        yield Finding(_ACTIVE, "broken", "No index has come to its end.", todo)
        return
    anew = f"Make it anew: {store.index_command} --rebuild"
    tables = stored_tables(store, current)
    for name in table_names(tables.folder):
        sequences = (tables.sequences.name, tables.timing.name)  # tables of another kind
        if name.endswith(f"-{current.features}") and name not in sequences:
            yield _check_table(f"table {name}", LanceIndex(tables.folder, name), anew)
    try:
        n_rows = sum(1 for _ in tables.sequences.read())
        yield Finding("table of sequences", "fine", f"{n_rows} sequences")
    except EarsightError as error:
        yield Finding("table of sequences", "broken", str(error), anew)
    yield _check_rows(store, current, tables, anew)
    yield _check_active(store, current, anew)
    yield _check_extractors(store, current)


def _check_table(check: str, table: VectorTable, todo: str, expected: int | None = None) -> Finding:
    n_rows = 0
    try:
        for rows, vectors in table.read():
            if not np.isfinite(vectors).all():
                raise LibraryError("It holds values that are no numbers.")
            n_rows += len(rows)
    except EarsightError as error:
        return Finding(check, "broken", str(error), todo)
    if expected is not None and n_rows != expected:
        return Finding(check, "broken", f"{n_rows} rows; {expected} were written", todo)
    return Finding(check, "fine", f"{n_rows} rows of width {table.dim}")


def _check_rows(store: Catalog, current: Embedding, tables: FeatureTables, todo: str) -> Finding:
    """Compare the rows of the tables with what the list of clips says was read."""
    check = "tables against list"
    present = {file.content for file in store.files()}
    read = store.contents(current.features)
    expected = {c: found.report["rows"] for c, found in read.items() if c in present}
    try:
        lost, _ = tables.faults(expected)
    except EarsightError as error:
        return Finding(check, "broken", str(error), todo)
    if lost:
        found = f"The vectors of {len(lost)} of {len(expected)} contents are not all there."
        return Finding(check, "broken", found, todo)
    return Finding(check, "fine", f"All rows of {len(expected)} contents are there")


def _check_active(store: Catalog, current: Embedding, todo: str) -> Finding:
    """Open the active embedding: its model, and its vectors wherever they are."""
    try:
        with only_trusted_plugins(store.trust):
            space = open_model(store.folder, current)
        table = open_table(store, current)
    except NotTrustedError as error:
        return Finding(_ACTIVE, "warning", str(error), "See above.")
    except (EarsightError, OSError) as error:
        return Finding(_ACTIVE, "broken", str(error), todo)
    finding = _check_table(_ACTIVE, table, todo, current.n_rows)
    if finding.state != "fine":
        return finding
    found = f"{space.name}: {finding.found}, made {current.made}, index {current.index}"
    return Finding(_ACTIVE, "fine", found)


def _check_extractors(store: Catalog, current: Embedding) -> Finding:
    check = "extractors of the library"
    try:
        store.trust.check(requests_of(current.sources))
        now: Any = Sources(**current.sources)
        same = now.fingerprint == current.features
        wanted = Settings.of(store).sources
    except NotTrustedError as error:
        return Finding(check, "warning", str(error), "See above.")
    except EarsightError as error:
        return Finding(check, "broken", str(error), "See above.")
    if not same:
        found = (
            "The weights or extractors installed now are others than those that read the clips. "
            "Clips of the library can still be searched by; new files and words are refused."
        )
        return Finding(check, "warning", found, f"Read the clips anew: {store.index_command}")
    if wanted != now:
        found = (
            f"The active embedding is of {now}; {wanted} were asked for, and that index has not "
            "come to its end."
        )
        return Finding(check, "warning", found, f"Run: {store.index_command}")
    return Finding(check, "fine", "Those installed now are those that read the clips")

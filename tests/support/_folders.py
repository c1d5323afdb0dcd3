"""Folders of small clips, and what their libraries hold; for tests."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from _clips import make_clip
from earsight import engine
from earsight.errors import LibraryError
from earsight.features import PairedFeatures
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.embedding.feature_tables import FeatureTables, embedding_table
from earsight.library.embedding.model_files import open_model
from earsight.library.embedding.settings import Settings
from earsight.library.search.searcher import search

ODD = os.fsdecode(b'it\'s "so"\n \xff.mp4')


def fill(folder: Path, names: list[str]) -> None:
    """Write clips of a second that all differ."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written = make_clip(
            path.with_name("clip.mp4"), tone=200 + 150 * number, colour=(20 * number % 256, 90, 200)
        )
        written.rename(path)


def rows(folder: Path) -> list[str]:
    """Return the keys of the embedding that answers."""
    with open_library(folder / FOLDER) as store:
        current = store.current()
        assert current is not None
        return [row.key for row in embedding_table(store.folder, current.table).rows()]


def names(folder: Path, query: str, **how: object) -> list[str]:
    answer = search(folder, folder / query, top=100, **how)  # type: ignore[arg-type]
    paths = [path for result in answer.results for path in (result.path, *result.copies)]
    return [Path(path).name for path in paths]


def same(one: PairedFeatures, other: PairedFeatures) -> None:
    """Check that two feature files hold the same, to the last bit."""
    assert np.array_equal(one.ids, other.ids) and np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.group, other.group) and one.provenance == other.provenance
    assert list(one.views) == list(other.views)
    for modality, view in one.views.items():
        a, b = one.steps[modality], other.steps[modality]
        assert np.array_equal(view, other.views[modality])
        assert np.array_equal(a.bounds, b.bounds) and np.array_equal(a.times, b.times)
        assert np.array_equal(a.rows(0, len(a.times)), b.rows(0, len(b.times)))


def run_index(folder: Path, *options: str, **more: object) -> "subprocess.Popen[str]":
    code = "import sys; from earsight.cli import main; main()"
    arguments = [sys.executable, "-c", code, "index", str(folder), "--workers", "1"]
    arguments += options
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def acknowledged(folder: Path) -> int:
    try:
        with open_library(folder / FOLDER) as store:
            return len(store.clips())
    except LibraryError:
        return 0


def until(true: object, seconds: float = 60) -> None:
    begun = time.monotonic()
    while not true():  # type: ignore[operator]
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


QUICK = {"audio": "log_mel", "visual": "colour_edges", "learn": "never"}  # what reads fastest


def in_this_process() -> None:
    """Let whatever indexes from now on read clips here, not in workers that take long to start."""
    engine.run = lambda work, items, **_: ((item, work(item)) for item in items)  # type: ignore[assignment]


def nothing_to_read(work: object, items: Iterable[object], **_: object) -> Iterator[object]:
    """In place of `engine.run`: fails if a clip is to be read."""
    assert list(items) == []
    return iter(())


def believed(folder: Path) -> set[bytes]:
    """Return the acknowledged paths, having checked that all that was read of them is there."""
    try:
        store = open_library(folder / FOLDER)
    except LibraryError:  # killed before there was one
        return set()
    with store:
        files = store.files()
        paths = [file.path for file in files]
        assert len(set(paths)) == len(paths)
        features = Settings(audio=QUICK["audio"], visual=QUICK["visual"]).sources
        tables = FeatureTables(store.folder, features.fingerprint, features.roles)
        contents = store.contents(tables.features)
        assert {file.content for file in files} <= contents.keys()
        if contents:
            lost, _ = tables.faults({c: found.report["rows"] for c, found in contents.items()})
            assert lost == []
            for role in tables.roles:
                keys = [row.key for row in tables._table(role).rows()]
                assert len(set(keys)) == len(keys)
        return set(paths)


def standing(folder: Path) -> int | None:
    """Return the number of what answers, having read all of it; None where nothing does yet."""
    try:
        with open_library(folder / FOLDER) as store:
            current = store.current()
            if current is None:
                return None
            found = embedding_table(store.folder, current.table).rows()
            assert len({row.key for row in found}) == len(found) == current.n_rows
            open_model(store.folder, current)
            return current.id
    except LibraryError:
        return None

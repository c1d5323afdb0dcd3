"""Folders of small clips, and what their libraries hold; for tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

from _clips import make_clip
from earsight.errors import LibraryError
from earsight.library.place import FOLDER
from earsight.library.search import search
from earsight.library.store import Store
from earsight.library.tables import embedding_table

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
    with Store.open(folder / FOLDER) as store:
        current = store.current()
        assert current is not None
        return [row.key for row in embedding_table(store.folder, current.table).rows()]


def names(folder: Path, query: str, **how: object) -> list[str]:
    answer = search(folder, folder / query, top=100, **how)  # type: ignore[arg-type]
    return [Path(result.path).name for result in answer.results]


def run_index(folder: Path, **more: object) -> "subprocess.Popen[str]":
    code = "import sys; from earsight.cli import main; main()"
    arguments = [sys.executable, "-c", code, "index", str(folder), "--workers", "1"]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def acknowledged(folder: Path) -> int:
    try:
        with Store.open(folder / FOLDER) as store:
            return len(store.clips())
    except LibraryError:
        return 0


def until(true: object, seconds: float = 60) -> None:
    begun = time.monotonic()
    while not true():  # type: ignore[operator]
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)

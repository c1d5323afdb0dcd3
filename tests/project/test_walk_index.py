"""The way of a clip through `earsight index`: few rooms, and none is entered again and again.

A room is a file of `earsight.cli` or `earsight.library`. A path enters a room when a function there
is called with it: with the folder of the clips, with the clip, or with a record of the clip.
Somebody who reads the code goes the same way.

Two files are words and not rooms: `catalog/records.py` says what a record is, and `cli/_show.py`
how a name is printed. Nothing is decided there.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from _clips import make_clip
from _twin import register
from earsight.cli import app

ROOMS = ("earsight.cli.", "earsight.library.")
WORDS = ("earsight.cli._show", "earsight.library.catalog.records")
MAX_ROOMS = 7
MAX_STAYS = 2  # in each room
FIRST = 4  # bytes of code that the call of a function may have run already


def is_about(value: object, paths: set[str]) -> bool:
    """Whether a value is one of the paths, or a record that has one as a field."""
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value) in paths
    if is_dataclass(value) and not isinstance(value, type):
        values = [getattr(value, one.name, None) for one in fields(value)]
        return any(is_about(one, paths) for one in values)
    return False


@contextmanager
def walk(paths: set[str]) -> Iterator[list[tuple[str, str]]]:
    """Note the room and the name of each function that is called with one of the paths."""
    seen: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        room = frame.f_globals.get("__name__", "")
        if event != "call" or not room.startswith(ROOMS) or room in WORDS:
            return
        code = frame.f_code
        if (
            code.co_name.startswith("<") or frame.f_lasti > FIRST
        ):  # a comprehension; a generator goes on
            return
        n_given = code.co_argcount + code.co_kwonlyargcount
        given = [frame.f_locals.get(name) for name in code.co_varnames[:n_given]]
        if any(is_about(value, paths) for value in given):
            seen.append((room, code.co_name))

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def test_a_clip_passes_few_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    make_clip(folder / "a.mp4")
    register(monkeypatch)  # extractors without networks, in this process
    with walk({str(folder), str(folder / "a.mp4"), "a.mp4"}) as seen, pytest.raises(SystemExit):
        app(["index", str(folder), "--audio", "twin", "--visual", "twin"])
    stays = [room.removeprefix("earsight.") for room, _ in groupby(room for room, _ in seen)]
    way = " -> ".join(stays)
    assert {"cli.library", "library.indexing.pipeline", "library.catalog.scan"} <= set(stays), way
    assert len(set(stays)) <= MAX_ROOMS, way
    assert max(Counter(stays).values()) <= MAX_STAYS, way

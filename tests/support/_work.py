"""What worker processes do in tests; a module that they can import."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from earsight import engine
from earsight.errors import UnknownNameError


def double(x: int) -> int:
    return 2 * x


def die_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def refuse_three(x: int) -> int:
    if x == 3:
        raise ValueError("three is refused")
    return x


def crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def never_done(*_: object) -> None:
    time.sleep(600)


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


def fail(_: object) -> None:
    raise ZeroDivisionError("an error of its own")


def nothing_that_travels(_: object) -> object:
    return threading.Lock()


@dataclass
class Listed:
    """What can be merged: what it was made of, in order."""

    items: list[int]

    def merge(self, other: "Listed") -> None:
        self.items += other.items


@dataclass(frozen=True)
class Slowly:
    """Lists an item, and leaves a mark that it began."""

    marks: Path

    def __call__(self, item: int) -> Listed:
        self.marks.joinpath(f"{item}-{os.getpid()}").touch()
        time.sleep(0.5)
        return Listed([item])


@dataclass(frozen=True)
class SlowPart:
    """A part of a fit that takes its time, and leaves a mark that it began."""

    part: Callable[[], Iterator[object]]
    marks: Path

    def __call__(self) -> Iterator[object]:
        self.marks.joinpath(f"{uuid4().hex}").touch()
        time.sleep(0.5)
        yield from self.part()


def in_a_process_apart(x: int) -> str:
    ((_, result),) = engine.run(die_at_three, [x], workers=1)
    return type(result).__name__


def refuse_by_name(_: object) -> None:
    raise UnknownNameError("method", "cka", ["cca"])


def hold_a_folder(seconds: float) -> str:
    with TemporaryDirectory() as folder:
        if not seconds:
            return folder
        (Path(folder) / "clip").write_bytes(b"sound")
        time.sleep(seconds)
    return folder

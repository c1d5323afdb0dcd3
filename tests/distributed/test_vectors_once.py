"""One of many machines makes a table on S3, and none makes it over the rows of another."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from _far import LIBRARY
from earsight.errors import StorageError
from earsight.library.catalog.s3_rows import fact_row
from earsight.storage import Info, Remote
from earsight.vectors import Records, _create_once
from earsight.vectors._create_once import once
from earsight.vectors._database import connect

pytestmark = pytest.mark.usefixtures("s3")
TICKETS = Remote.parse(f"{LIBRARY}/table.making")


class Made:
    """What `once` makes, and how often."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        self.times, self._during = 0, during

    def is_there(self) -> bool:
        return self.times > 0

    def make(self) -> None:
        self._during()
        self.times += 1


def together(n: int, act: Callable[[int], object]) -> list[object]:
    ready = threading.Barrier(n)

    def acted(number: int) -> object:
        ready.wait(60)
        time.sleep(0.003 * number)
        return act(number)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(acted, range(n)))


def test_rows_written_right_after_the_making_stay() -> None:
    for attempt in range(8):
        folder = Remote.parse(f"{LIBRARY}/{attempt}")

        def first_row(number: int, folder: Remote = folder) -> bool:
            rows = Records(folder, "rows")
            rows.create()
            return rows.add(fact_row(f"machine {number}", {}))

        assert together(4, first_row) == [True] * 4
        assert Records(folder, "rows").count() == 4
        versions = [one["version"] for one in connect(folder).open_table("rows").list_versions()]
        assert versions == [1, 2, 3, 4, 5]  # the making, and one commit each
        assert not list((folder / "rows.making").walk())


def test_only_one_makes_it_however_long_that_takes() -> None:
    made = Made(lambda: time.sleep(0.5))
    together(4, lambda _: once(TICKETS, made.is_there, made.make))
    assert made.times == 1
    assert not list(TICKETS.walk())


def test_the_ticket_of_a_living_machine_is_waited_for() -> None:
    (TICKETS / "another").mark()
    made = Made()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(once, TICKETS, made.is_there, made.make)
        time.sleep(1)
        assert not made.is_there()
        (TICKETS / "another").delete()
        waiting.result(60)
    assert made.times == 1
    assert not list(TICKETS.walk())


def test_the_ticket_of_a_dead_machine_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Remote.walk

    def older(self: Remote) -> Iterator[tuple[str, Info]]:
        for name, info in walk(self):
            age = 301 * 10**9 if name == "another" else 0
            yield name, Info(info.size, info.mtime_ns - age)

    (TICKETS / "another").mark()
    monkeypatch.setattr(Remote, "walk", older)
    made = Made()
    once(TICKETS, made.is_there, made.make)
    assert made.times == 1
    assert not list(TICKETS.walk())


def test_tickets_that_stay_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    (TICKETS / "another").mark()
    monkeypatch.setattr(_create_once, "_PATIENCE", 0.5)
    with pytest.raises(StorageError, match=r"about to make s3://.*/table for .*remove s3://.*/"):
        once(TICKETS, lambda: False, lambda: pytest.fail("another one may be at it"))


def test_a_making_that_fails_leaves_no_ticket() -> None:
    def fail() -> None:
        raise OSError("full")

    with pytest.raises(OSError, match=r"^full$"):
        once(TICKETS, lambda: False, fail)
    assert not list(TICKETS.walk())

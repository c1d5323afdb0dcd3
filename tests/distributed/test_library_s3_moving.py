"""A library at s3:// that several machines move at once, and moves that die or are cut off."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_library_s3_machines import answering_on, collections, names

from _far import LIBRARY, answering, opened, quick, sounds  # noqa: F401 - fixtures
from _folders import QUICK
from _milvus import MilvusServer
from earsight.errors import LibraryError, OvertakenError, StorageError
from earsight.library.catalog.s3 import SharedStore
from earsight.library.catalog.s3_writer import SILENCE, Lease
from earsight.library.embedding import migrate as moving
from earsight.library.embedding.migrate import move
from earsight.library.embedding.settings import Settings
from earsight.library.indexing.pipeline import index
from earsight.storage import Remote
from earsight.vectors import EMBEDDED, Records, table_names

pytestmark = pytest.mark.usefixtures("s3", "quick")


def lease(who: str) -> Lease:
    return Lease(leases(), "moving", who)


def leases() -> Records:
    return Records(Remote.parse(f"{LIBRARY}/state"), "leases")


def test_one_machine_at_a_time_and_a_dead_one_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(n: int) -> tuple[list[Lease], list[str]]:
        together, held, refused = threading.Barrier(n), list[Lease](), list[str]()

        def take(number: int) -> None:
            one = lease(f"machine {number}")
            together.wait(60)
            try:
                held.append(one.__enter__())
            except LibraryError as error:
                refused.append(str(error))

        with ThreadPoolExecutor(n) as pool:
            list(pool.map(take, range(n)))
        return held, refused

    (first,), refused = at_once(3)
    assert len(refused) == 2 and all(f"is moving the library {LIBRARY}. W" in r for r in refused)
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + SILENCE - 5)
        first.renew()
        patch.setattr(time, "time", lambda: now + 2 * SILENCE - 15)
        with pytest.raises(LibraryError, match=r"Machine machine \d .*last sign of life 290 s ago"):
            lease("another").__enter__()
        patch.setattr(time, "time", lambda: now + 2 * SILENCE)
        (second,), refused = at_once(3)
    assert len(refused) == 2
    with pytest.raises(LibraryError, match="another one is moving the library"):
        first.renew()
    first.__exit__()
    second.renew()  # nobody took it from the second
    second.__exit__()
    assert leases().read({}, ["key"]) == []


def test_a_lease_whose_replies_are_lost_is_held_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(name: str) -> Any:
        real = getattr(Records, name)

        def call(*arguments: Any) -> Any:
            real(*arguments)
            return real(*arguments)  # as when a commit is sent again

        return call

    with monkeypatch.context() as patch:
        for name in ("add", "renew"):
            patch.setattr(Records, name, lost(name))
        held = lease("one").__enter__()
        held.renew()
    with monkeypatch.context() as patch, pytest.raises(StorageError):
        real = Records.renew

        def gone(*arguments: Any) -> int:
            real(*arguments)
            raise StorageError

        patch.setattr(Records, "renew", gone)
        held.renew()
    held.renew()
    held.__exit__()
    assert leases().read({}, ["key"]) == []


def test_the_end_of_a_lease_that_cannot_be_told_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*_: Any) -> None:
        raise StorageError

    with (
        monkeypatch.context() as patch,
        pytest.raises(LibraryError, match=r"^what it was$"),
        lease("one"),
    ):
        patch.setattr(Records, "remove", gone)
        raise LibraryError("what it was")
    with pytest.raises(LibraryError, match=r"Machine one .*is moving"):
        lease("another").__enter__()


def test_readers_of_a_library_that_is_being_moved_notice_nothing() -> None:
    Records(Remote.parse(f"{LIBRARY}/state"), "library").create()
    store = opened()
    before = store.version
    with store.alone("moving") as check_alone:
        check_alone()
        assert leases().read({}, ["key"]) == [{"key": "fact:moving"}]
    assert store.version == before


def test_two_that_move_and_one_that_indexes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milvus: MilvusServer
) -> None:
    one, two = sounds(tmp_path / "one", 300, 310), sounds(tmp_path / "two", 400)
    before = collections(milvus)
    index(one, library=LIBRARY, **QUICK)
    real = moving._copy

    def second(*arguments: Any) -> Any:
        with pytest.raises(LibraryError, match=r"Machine .* is moving the library s3://"):
            move(LIBRARY, milvus.address)
        return real(*arguments)

    def anew(*arguments: Any) -> Any:
        done = real(*arguments)
        index(two, library=LIBRARY)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_copy", anew)
        with pytest.raises(LibraryError, match="was embedded anew by another machine meanwhile"):
            move(LIBRARY, milvus.address)
    assert collections(milvus) == before and opened().facts("made:") == {}
    assert opened().settings["index"] == EMBEDDED and answering() == names(300, 310, 400)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "_copy", second)
        move(LIBRARY, milvus.address)
    assert answering_on(milvus) == names(300, 310, 400) and len(collections(milvus) - before) == 1
    move(LIBRARY, EMBEDDED)
    assert collections(milvus) == before and answering() == names(300, 310, 400)
    assert leases().read({}, ["key"]) == []


class StoppedError(BaseException):
    """What Ctrl-C raises."""


@pytest.mark.parametrize(
    ("broken", "came_to_be"),
    [(StoppedError, True), (StorageError, True), (StorageError, False), (OvertakenError, False)],
)
def test_a_switch_that_is_broken_off_never_costs_what_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    milvus: MilvusServer,
    broken: type[BaseException],
    came_to_be: bool,
) -> None:
    """It raises before or after its commit; nobody is told which."""
    before = collections(milvus)
    index(sounds(tmp_path / "one", 300, 310), library=LIBRARY, **QUICK)
    real = SharedStore.relocate

    def breaking(*arguments: Any) -> None:
        if came_to_be:
            real(*arguments)
        raise broken

    with monkeypatch.context() as patch:
        patch.setattr(SharedStore, "relocate", breaking)
        with pytest.raises(broken):
            move(LIBRARY, milvus.address)
    assert len(collections(milvus) - before) == (came_to_be or broken is not OvertakenError)
    assert opened().facts("made:").keys() == collections(milvus) - before, "what is left is known"
    asked = answering_on(milvus) if came_to_be else answering()
    assert asked == names(300, 310)
    assert move(LIBRARY, milvus.address).n_rows == (0 if came_to_be else 2)
    current = opened().current()
    assert current is not None and collections(milvus) - before == {current.table}
    assert answering_on(milvus) == names(300, 310)
    move(LIBRARY, EMBEDDED)


def test_who_lost_the_lease_touches_nothing_of_who_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milvus: MilvusServer
) -> None:
    """One sleeps for too long; another moves the same embedding; then the first wakes."""
    index(sounds(tmp_path / "one", 300, 310), library=LIBRARY, index=milvus.address, **QUICK)
    real, times = moving._copy, list[float]()

    def asleep(*arguments: Any) -> Any:
        done = real(*arguments)
        if not times:
            times.append(time.time() + 2 * SILENCE)
            with monkeypatch.context() as later:
                later.setattr(time, "time", lambda: times[0])
                assert move(LIBRARY, EMBEDDED).n_rows == 2
        return done

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_copy", asleep)
        with pytest.raises(LibraryError, match="another one is moving the library"):
            move(LIBRARY, EMBEDDED)
    assert answering() == names(300, 310)
    current = opened().current()
    assert current is not None
    left = {name for name in table_names(opened().folder / "vectors") if "embedding" in name}
    assert left == {current.table}


def test_a_switch_is_refused_or_whole_though_killed_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(sounds(tmp_path / "one", 300), library=LIBRARY, **QUICK)
    table = "earsight_0123456789abcdef_1_01234567"
    store, far = opened(), {"index": "milvus://here:19530", "table": table, "dim": 3}
    before = store.current()
    assert before is not None
    moved = replace(before, info=before.info | far)
    with pytest.raises(OvertakenError):
        store.relocate(moved, replace(before, n_rows=9))
    assert (store.current(), store.settings["index"]) == (before, EMBEDDED), "nothing was changed"

    def killed(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(SharedStore, "set", killed)
        with pytest.raises(StoppedError):
            store.relocate(moved, before)
    current = opened().current()
    assert current is not None and current.table == table
    assert opened().get("settings")["index"] == EMBEDDED
    assert opened().settings["index"] == Settings.of(store).index == "milvus://here:19530"
    replace(Settings.of(store), index=EMBEDDED).keep(store)
    assert opened().settings["index"] == EMBEDDED, "asked for after it was moved"
    store.relocate(current, current)
    assert opened().settings["index"] == "milvus://here:19530"


def test_a_switch_whose_reply_was_lost_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is sent again, and finds what it wrote itself."""
    index(sounds(tmp_path / "one", 300), library=LIBRARY, **QUICK)
    store, real = opened(), Records.renew
    before = store.current()
    assert before is not None
    moved = replace(before, info=before.info | {"table": "embedding-1-0a1b2c3d"})

    def twice(*arguments: Any) -> int:
        real(*arguments)
        return real(*arguments)

    monkeypatch.setattr(Records, "renew", twice)
    store.relocate(moved, before)
    current = opened().current()
    assert current is not None and current.table == moved.table

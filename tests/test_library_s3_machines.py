"""A library at s3:// with machines that come, go, die and move it at the same moment."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from _far import LIBRARY, answering, believed, opened, quick, sounds  # noqa: F401 - fixtures
from _folders import QUICK
from _milvus import MilvusServer
from earsight.cli import app
from earsight.errors import InputError, LibraryError, OvertakenError, StorageError
from earsight.library import build, elsewhere
from earsight.library import move as moving
from earsight.library.build import index
from earsight.library.elsewhere import drop_left, new_place
from earsight.library.forget import forget_folder
from earsight.library.lease import SILENCE, Lease
from earsight.library.move import move
from earsight.library.settings import Settings
from earsight.library.shared import SharedStore
from earsight.library.status import status
from earsight.storage import Remote
from earsight.vectors import EMBEDDED, Records, table_names
from test_watch import Day

pytestmark = pytest.mark.usefixtures("s3", "quick")


def names(*tones: int) -> set[str]:
    return {f"{tone}.wav" for tone in tones}


def collections(milvus: MilvusServer) -> set[str]:
    return {name for name in milvus.client.list_collections() if name.startswith("earsight_")}


# Collections of a server


def test_what_several_make_at_once_is_all_remembered() -> None:
    Records(Remote.parse(f"{LIBRARY}/state"), "library").create()
    together = threading.Barrier(4)

    def make(number: int) -> str:
        store = opened()
        store.facts("")  # as who began a while ago
        together.wait(60)
        return new_place(store, number, "milvus://here:19530").table

    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(make, range(4)))
    assert opened().facts("made:").keys() == made


class DiedError(BaseException):
    pass


def test_who_is_overtaken_leaves_no_collection_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milvus: MilvusServer
) -> None:
    """One is about to make its collection; another embeds, and removes what does not answer."""
    one, two = sounds(tmp_path / "one", 300), sounds(tmp_path / "two", 400)
    before = collections(milvus)
    index(one, library=LIBRARY, index=milvus.address, **QUICK)
    sounds(one, 310)
    real, overtaken = build.write_embedding, list[Any]()

    def late(*arguments: Any) -> int:
        if not overtaken:
            overtaken.append(None)
            overtaken[0] = index(two, library=LIBRARY).embedding
            real(*arguments)
            raise DiedError
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_embedding", late)
        with pytest.raises(DiedError):
            index(one, library=LIBRARY)
    current = opened().current()
    assert current == overtaken[0]
    left = collections(milvus) - before
    assert left > {current.table} and len(left) == 2, "what the dead one made is still there"
    assert opened().facts("made:").keys() == left, "and is known"
    assert drop_left(opened(), current) == []
    assert collections(milvus) - before == {current.table} == opened().facts("made:").keys()
    assert answering_on(milvus) == names(300, 310, 400)


def answering_on(milvus: MilvusServer) -> set[str]:
    store = opened()
    current = store.current()
    assert current is not None and current.index == milvus.address
    have = {row.content for row in elsewhere.open_table(store, current).rows()}
    return {Path(store.name_of(clip)).name for clip in store.clips() if clip.content in have}


# Moving


def lease(who: str) -> Lease:
    return Lease(Records(Remote.parse(f"{LIBRARY}/state"), "library"), "moving", who)


def test_one_machine_at_a_time_and_a_dead_one_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Records(Remote.parse(f"{LIBRARY}/state"), "library")
    rows.create()

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
    assert rows.read({}, ["key"]) == []


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
    assert not opened().get("moving")


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
    store, far = opened(), {"index": "milvus://here:19530", "table": "earsight_0_1_2", "dim": 3}
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
    assert current is not None and current.table == "earsight_0_1_2"
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


# Folders


def test_what_another_reads_by_new_extractors_during_an_embedding_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sounds(tmp_path / "one", 300), sounds(tmp_path / "two", 400, 410)
    index(two, library=LIBRARY, **QUICK)
    real, others = build.write_embedding, list[Any]()

    def meanwhile(*arguments: Any) -> int:
        if not others:
            others.append(None)
            others[0] = index(two, library=LIBRARY, visual="none")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_embedding", meanwhile)
        assert index(one, library=LIBRARY).rebuilt
    assert others[0].changes.again == 2 and not others[0].rebuilt  # it waits for the other folder
    report = index(one, library=LIBRARY)
    assert (report.changes.again, report.rebuilt) == (1, True), "one's own clip alone is read"
    assert answering() == names(300, 400, 410)
    features = {row["features"] for row in opened()._state.read(["features"], kind="content")}
    assert len(features) == 1, "what nobody reads by any more goes"


def test_a_folder_whose_machine_is_gone_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = sounds(tmp_path / "one", 300), sounds(tmp_path / "two", 300, 400)
    index(one, library=LIBRARY, **QUICK)
    with pytest.raises(LibraryError, match="No other folder feeds the library"):
        forget_folder(LIBRARY, next(iter(status(LIBRARY).folders)))
    monkeypatch.setenv("EARSIGHT_MACHINE", "gone")
    index(two, library=LIBRARY)
    monkeypatch.delenv("EARSIGHT_MACHINE")
    name = f"gone:{two}"
    assert name in status(LIBRARY).folders
    with pytest.raises(InputError, match=rf"No folder gone feeds the library.*{name}"):
        forget_folder(LIBRARY, "gone")
    app(["forget", "--folder", name, "-l", LIBRARY, "--json"], standalone_mode=False)
    said = capfd.readouterr()
    assert len(json.loads(said.out)["paths"]) == 2
    assert f"2 clips of {name} left the library, 1 stay in it" in said.err
    assert list(status(LIBRARY).folders.values()) == [1]
    assert not any(name in repr(value) for value in opened().facts("").values())
    assert answering() == believed() == names(300), "what another folder holds stays"
    monkeypatch.setenv("EARSIGHT_MACHINE", "gone")
    assert index(two, library=LIBRARY).changes.added == 2  # it was not gone after all
    assert answering() == names(300, 400)


def test_a_folder_is_followed_into_a_library_on_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    day = Day(folder, monkeypatch, LIBRARY)
    day.watch(lambda: sounds(folder, 310), None, None, None, None)
    assert [report.changes.added for report in day.reports] == [0, 1]
    assert answering() == believed() == names(300, 310)

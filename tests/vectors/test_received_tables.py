"""Tables in a folder of a stranger's: nothing outside is read, written or removed.

And what was not looked at by one thread is believed by no other one.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from _hostile_tables import make_tables
from _lance import added, edit_manifest, edited, latest, put_together, taken_apart
from _rows import make_rows
from earsight.errors import LibraryError
from earsight.vectors import LanceIndex, _received, table_names


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tables(tmp_path_factory.mktemp("made"))


@pytest.fixture
def received(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "received"))


def listed(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def map_entry(key: bytes, value: bytes) -> bytes:
    return put_together([(1, key), (2, value)])


EDITS = {
    "the root of another table": added(18, put_together([(3, 1), (4, b"/elsewhere/t.lance")])),
    "a folder of files": added(18, put_together([(1, 1), (4, b"file:///elsewhere")])),
    "a server": added(18, put_together([(1, 1), (4, b"s3://bucket/t.lance")])),
    "a branch": added(20, b"main"),
    "a base of a data file": edited(2, edited(2, added(7, 1))),
    "a base of removed rows": edited(2, edited(3, added(7, 0))),
    "row ids elsewhere": edited(2, added(6, put_together([(1, b"../x")]))),
    "an overlay": edited(2, added(11, b"")),
    "a data file above": edited(2, edited(2, edited(1, lambda _: b"../../x.lance"))),
    "a transaction above": edited(12, lambda _: b"../../x.txn"),
    "code that makes vectors": added(5, map_entry(b"embedding_functions", b"[]")),
    "unknown features": added(9, 1 << 8),
    "a blob kept elsewhere": edited(1, edited(5, lambda _: b"blob")),
    "a width of 10^9": edited(1, edited(5, lambda _: b"fixed_size_list:float:1000000000")),
    "a fragment of 2^60 rows": edited(2, added(4, 1 << 60)),
    "another version": added(3, 77),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_manifest_that_names_what_is_elsewhere_is_refused(received: Path, what: str) -> None:
    versions = sorted((received / "t.lance" / "_versions").glob("*.manifest"))
    for file in (versions[0], versions[1]):  # tidying reads older versions too
        again = received.with_name(file.name)
        shutil.copytree(received, again)
        edit_manifest(again / file.relative_to(received), EDITS[what])
        index = LanceIndex(again, "t")
        for call in (index.count, index.rows, index.optimize, partial(index.delete, ["c1"])):
            with pytest.raises(LibraryError, match=rf"'t' in .*{file.name}: .*--rebuild"):
                call()
        index.drop()
        assert table_names(again) == ["s"]
        index.create(5)


def test_a_clone_reads_nothing_of_its_origin(made: Path, received: Path) -> None:
    """Made as LanceDB makes a shallow clone, which reads rows from where the other table lies."""
    root = put_together([(3, 1), (4, os.fsencode(made / "t.lance"))])
    based = edited(2, edited(2, added(7, 0)))
    flagged = edited(2, edited(3, added(7, 0)))
    shutil.rmtree(received / "t.lance" / "data")

    def clone(message: bytes) -> bytes:
        fields = taken_apart(flagged(based(message)))
        kept = [(n, v) for n, v in fields if n not in (9, 10)]
        return put_together([*kept, (9, 17), (10, 17), (18, root)])

    edit_manifest(latest(received / "t.lance"), clone)
    with pytest.raises(LibraryError, match="names files of another folder, as a clone does"):
        LanceIndex(received, "t").rows()


@pytest.mark.parametrize("inside", ["data", "_versions", "_transactions", "_deletions"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_links_in_a_table_are_refused_and_not_followed(
    made: Path, received: Path, inside: str, kind: str
) -> None:
    before = listed(made)
    target = received / "t.lance" / inside
    if kind == "folder":
        shutil.rmtree(target)
        target.symlink_to(made / "t.lance" / inside)
    else:
        target = sorted(target.iterdir())[0]
        target.unlink()
        target.symlink_to(made / target.relative_to(received))
    index = LanceIndex(received, "t")
    for call in (index.rows, index.optimize, lambda: index.delete(["c1"])):
        with pytest.raises(LibraryError, match=rf"{target.name}.* is a link"):
            call()
    assert listed(made) == before
    if target.name != "_versions":
        index.drop()
        assert not (received / "t.lance").exists()
    assert listed(made) == before


@pytest.mark.parametrize("place", ["t.lance", "."])
def test_a_link_in_the_place_of_a_table_or_of_all_is_refused(
    made: Path, tmp_path: Path, place: str
) -> None:
    before = listed(made)
    folder = tmp_path / "vectors"
    if place == ".":
        folder.symlink_to(made)
    else:
        folder.mkdir()
        (folder / place).symlink_to(made / place)
    index = LanceIndex(folder, "t")
    for call in (
        index.count,
        index.drop,
        index.optimize,
        lambda: index.exists,
        lambda: index.create(5),
        lambda: table_names(folder),
    ):
        with pytest.raises(LibraryError, match="is a link, where a library has a folder of its"):
            call()
    assert listed(made) == before


def test_what_is_no_table_of_ours_is_left_alone(received: Path) -> None:
    (received / "a\nb.lance").mkdir()
    (received / "..lance").mkdir()
    (received / "x.lance").write_text("a file")
    with pytest.raises(LibraryError, match=r"x\.lance is no folder"):
        table_names(received)
    (received / "x.lance").unlink()
    assert table_names(received) == ["s", "t"]


def test_tags_branches_and_pipes_are_refused(received: Path) -> None:
    index = LanceIndex(received, "t")
    (received / "t.lance" / "_refs" / "tags").mkdir(parents=True)
    with pytest.raises(LibraryError, match="no table of Earsight's has such a folder"):
        index.count()
    shutil.rmtree(received / "t.lance" / "_refs")
    assert index.count() == 600 - 3 - 240
    os.mkfifo(received / "t.lance" / "data" / "pipe")
    with pytest.raises(LibraryError, match="it is neither a file nor a folder"):
        index.count()


def test_a_damage_that_comes_later_is_seen(received: Path) -> None:
    index = LanceIndex(received, "t")
    assert index.count()
    (file, *_) = sorted((received / "t.lance" / "data").iterdir())
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-50])
    with pytest.raises(LibraryError, match=f"{file.name}: it is none of LanceDB's, or cut off"):
        index.rows()


def test_a_table_that_did_not_change_is_not_looked_at_again(
    received: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LanceIndex(received, "t")
    (received / "t.lance" / "_indices" / "gone").mkdir(parents=True)
    index.count()
    (received / "t.lance" / "_indices" / "gone").rmdir()
    index.count()
    with monkeypatch.context() as patch:
        patch.setattr(_received, "_check_folder", lambda *_: pytest.fail("it was looked at"))
        assert index.count() and index.rows() and index.dim == 5
    index.delete(["c1"])
    (received / "t.lance" / "data" / "link").symlink_to("/")
    with pytest.raises(LibraryError, match="link: it is a link"):
        index.count()


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Callable[[], None]]:
    """Let a part of the check wait until it may go on; yield what waits until it is reached."""
    real = getattr(_received, name)
    reached, may_go_on = threading.Event(), threading.Event()

    def waiting(*what: Any) -> Any:
        reached.set()
        assert may_go_on.wait(60)
        return real(*what)

    def until_reached() -> None:
        assert reached.wait(60)

    monkeypatch.setattr(_received, name, waiting)
    try:
        yield until_reached
    finally:
        may_go_on.set()


def both_checked(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Future[bool]]:
    """Check a table in two threads, the second one while the first is at a part of it."""
    with ThreadPoolExecutor(2) as threads:
        with held_up(monkeypatch, name) as until_reached:
            first = threads.submit(_received.check_table, folder, "t")
            until_reached()
            second = threads.submit(_received.check_table, folder, "t")
            with pytest.raises(TimeoutError):
                second.result(0.3)  # it must not know before the first one does
        return [first, second]


def test_a_table_that_another_thread_opens_for_the_first_time_is_there(
    received: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in both_checked(received, "_check_version", monkeypatch):
        assert one.result() is True


def test_a_file_that_another_thread_still_looks_at_is_not_believed(
    received: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LanceIndex(received, "t")
    assert index.count()
    data = received / "t.lance" / "data"
    before = set(data.iterdir())
    index.upsert(make_rows(3, 900), np.ones((3, 5)))
    (new,) = set(data.iterdir()) - before
    new.write_bytes(new.read_bytes()[:-50])
    for one in both_checked(received, "check_data", monkeypatch):
        with pytest.raises(ValueError, match=f"{new.name}: it is none of LanceDB's, or cut off"):
            one.result()
    with pytest.raises(LibraryError, match=new.name):
        index.count()


def test_many_threads_may_open_a_table_first(received: Path) -> None:
    index, together = LanceIndex(received, "t"), threading.Barrier(4)

    def opened(_: int) -> int:
        together.wait(60)
        return index.count()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(15):
            _received._tables.clear()
            assert set(threads.map(opened, range(4))) == {600 - 3 - 240}

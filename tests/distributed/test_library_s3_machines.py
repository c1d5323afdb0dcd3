"""A library at s3:// with machines that come, go and die at the same moment."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from test_watch import Day

from _far import LIBRARY, answering, believed, opened, quick, sounds  # noqa: F401 - fixtures
from _folders import QUICK
from _milvus import MilvusServer
from earsight.cli import app
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.machines import machine
from earsight.library.catalog.s3 import SharedStore
from earsight.library.embedding import vector_location
from earsight.library.embedding.vector_location import drop_left, new_place
from earsight.library.indexing import pipeline
from earsight.library.indexing.forget import forget_folder
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import status
from earsight.storage import Remote
from earsight.vectors import Records

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
    real, overtaken = pipeline.write_embedding, list[Any]()

    def late(*arguments: Any) -> int:
        if not overtaken:
            overtaken.append(None)
            overtaken[0] = index(two, library=LIBRARY).embedding
            real(*arguments)
            raise DiedError
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_embedding", late)
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
    have = {row.content for row in vector_location.open_table(store, current).rows()}
    return {Path(store.name_of(clip)).name for clip in store.clips() if clip.content in have}


# Folders


def test_what_another_reads_by_new_extractors_during_an_embedding_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sounds(tmp_path / "one", 300), sounds(tmp_path / "two", 400, 410)
    index(two, library=LIBRARY, **QUICK)
    real, others = pipeline.write_embedding, list[Any]()

    def meanwhile(*arguments: Any) -> int:
        if not others:
            others.append(None)
            others[0] = index(two, library=LIBRARY, visual="none")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_embedding", meanwhile)
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


def test_a_folder_that_was_indexed_while_it_left_leaves_by_what_status_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a folder the only one because it alone has clips yet."""
    one, two = sounds(tmp_path / "one", 300), sounds(tmp_path / "two", 400, 410)
    index(one, library=LIBRARY, **QUICK)
    name, real = f"{machine()}:{two}", pipeline.read_changes

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        forget_folder(LIBRARY, name)
        return real(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "read_changes", meanwhile)
        index(two, library=LIBRARY)
    (number,) = set(status(LIBRARY).folders) - {f"{machine()}:{one}"}
    assert name not in status(LIBRARY).folders and believed() == names(300, 400, 410)
    done = forget_folder(LIBRARY, number)
    assert (len(done.paths), done.n_clips) == (2, 1)
    assert list(status(LIBRARY).folders) == [f"{machine()}:{one}"]
    SharedStore.made(Remote.parse(LIBRARY), two)  # and no clip of it yet
    assert forget_folder(LIBRARY, f"{machine()}:{one}").n_clips == 0


def test_a_folder_is_followed_into_a_library_on_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    day = Day(folder, monkeypatch, LIBRARY)
    day.watch(lambda: sounds(folder, 310), None, None, None, None)
    assert [report.changes.added for report in day.reports] == [0, 1]
    assert answering() == believed() == names(300, 310)

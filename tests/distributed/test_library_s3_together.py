"""A library at s3:// with several writers and readers at once: nothing acknowledged is lost."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

import earsight
from _far import LIBRARY, answering, believed, feeder, let_go, opened, quick, sounds, told  # noqa: F401
from _folders import QUICK
from earsight.errors import LibraryError
from earsight.library.catalog.s3 import SharedStore
from earsight.library.embedding.feature_tables import (
    Tables,
    drop_embeddings,
    drop_others,
    embedding_table,
)
from earsight.library.embedding.settings import Settings
from earsight.library.indexing import pipeline, sharing
from earsight.library.indexing.pipeline import index
from earsight.storage import Remote
from earsight.vectors import Records

pytestmark = pytest.mark.usefixtures("s3", "quick")


def names(*tones: int) -> set[str]:
    return {f"{tone}.wav" for tone in tones}


def test_three_writers_at_once_and_one_is_killed(tmp_path: Path) -> None:
    """Each has clips of its own and some that all have; one dies after its first commits."""
    shared = range(300, 330, 10)
    tones = {
        name: range(start, start + 60, 10) for name, start in (("a", 400), ("b", 500), ("c", 600))
    }
    folders = {name: sounds(tmp_path / name, *shared, *own) for name, own in tones.items()}
    writers = {name: feeder(folder) for name, folder in folders.items()}
    let_go(writers["a"], writers["b"])
    let_go(writers["c"], how="4")
    acknowledged = {name: told(process) for name, process in writers.items()}
    assert writers["c"].returncode == -9 and writers["a"].returncode == 0
    assert acknowledged["a"] == names(*shared, *tones["a"])
    assert 4 <= len(acknowledged["c"]) < 9
    assert believed() == set().union(*acknowledged.values())
    # Who finished last has in it what was acknowledged before it began to embed, so both have
    # their own; what a killed one left is found by the next run, wherever that is.
    assert answering() >= names(*shared)
    index(folders["a"], library=LIBRARY)
    assert answering() == believed() == set().union(*acknowledged.values())
    report = index(folders["c"], library=LIBRARY)
    assert report.changes.added == 9 - len(acknowledged["c"])
    everything = names(*shared, *tones["a"], *tones["b"], *tones["c"])
    assert answering() == believed() == everything
    assert len(opened().clips()) == 3 * 9


def test_four_that_bring_one_new_key_at_once_add_one_row() -> None:
    table = Records(Remote.parse(LIBRARY), "rows")
    table.create()
    for turn in range(5):
        together = Barrier(4)

        def bring(number: int, turn: int = turn, together: Barrier = together) -> int:
            rows = [{"key": f"{turn}"}, {"key": f"{turn} {number}"}]
            together.wait(60)
            return table.put(rows)

        with ThreadPoolExecutor(4) as pool:
            commits = list(pool.map(bring, range(4)))
        assert len(set(commits)) == 4, "each commit has a number of its own"
    keys = [row["key"] for row in table.read({}, ["key"])]
    assert len(keys) == len(set(keys)) == 5 * 5


def test_commits_are_merged_so_that_many_do_not_make_it_slow(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    store = opened()
    assert isinstance(store, SharedStore)
    for number in range(20):
        store.set(f"fact {number}", number)
    facts, kept = store._state.facts(), store.everything()
    assert _fragments(store) > 20
    index(folder, library=LIBRARY, rebuild=True)
    assert _fragments(store) < 10
    assert store._state.facts().items() >= {f"fact {n}": n for n in range(20)}.items()
    assert store._state.facts().keys() == facts.keys() and store.everything() == kept


def _fragments(store: SharedStore) -> int:
    return int(store._state.rows._open().stats()["fragment_stats"]["num_fragments"])


def test_the_embedding_that_began_later_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One begins to embed; another comes, acknowledges, embeds and ends; then the first ends."""
    one, two = sounds(tmp_path / "one", 300, 310), sounds(tmp_path / "two", 400, 410)
    index(sounds(tmp_path / "zero", 200), library=LIBRARY, **QUICK)
    real, other = pipeline.write_embedding, []

    def overtaken(*arguments: object) -> int:
        if not other:
            other.append(None)
            other[0] = index(two, library=LIBRARY)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "write_embedding", overtaken)
    report = index(one, library=LIBRARY)
    assert other[0].embedding == report.embedding == opened().current()
    assert answering() == names(200, 300, 310, 400, 410)
    assert not index(one, library=LIBRARY).rebuilt


@pytest.mark.long
def test_what_came_during_an_embedding_is_found_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine acknowledges clips, and dies, while one embeds."""
    one, two = sounds(tmp_path / "one", 300, 310), sounds(tmp_path / "two", 400, 410, 420)
    real = pipeline.write_embedding

    def meanwhile(*arguments: object) -> int:
        process = feeder(two)
        let_go(process, how="3")
        assert told(process) == names(400, 410, 420)
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_embedding", meanwhile)
        index(one, library=LIBRARY, **QUICK)
    assert answering() == names(300, 310) and believed() == names(300, 310, 400, 410, 420)
    assert index(one, library=LIBRARY).rebuilt
    assert answering() == believed()


@pytest.mark.long
def test_readers_during_rebuilds_are_answered_as_before(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "clips", *range(300, 400, 20))
    index(folder, library=LIBRARY, **QUICK)
    with earsight.Library(LIBRARY) as library:
        number = library.clips()[0].id

        def ask() -> list[tuple[float, str]]:
            found = library.search(clip=number, for_="audio")
            return [(one.score, one.path) for one in found]

        expected, begun = ask(), library.opened().embedding.id
        writers = [feeder(folder, "--rebuild") for _ in range(2)]
        for writer in writers:  # one folder has one writer: they take turns
            let_go(writer)
            while writer.poll() is None:
                assert ask() == expected
                with earsight.Library(LIBRARY) as newly:
                    assert len(newly.search(clip=number, for_="audio")) == 5
            told(writer)
        assert ask() == expected and library.opened().embedding.id > begun


def test_one_folder_has_one_writer_on_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "clips", 300)
    index(folder, library=LIBRARY, **QUICK)
    real = pipeline.scan

    def meanwhile(*arguments: object) -> object:
        with pytest.raises(LibraryError, match=f"at work on the library {LIBRARY}"):
            index(folder, library=LIBRARY)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "scan", meanwhile)
    index(folder, library=LIBRARY)


@pytest.mark.long
def test_other_extractors_answer_once_all_folders_were_read(tmp_path: Path) -> None:
    one, two = sounds(tmp_path / "one", 300, 310), sounds(tmp_path / "two", 400)
    index(one, library=LIBRARY, **QUICK)
    index(two, library=LIBRARY)
    before = opened().current()
    report = index(one, library=LIBRARY, visual="none")
    assert report.changes.again == 2 and not report.rebuilt
    assert opened().current() == before and answering() == names(300, 310, 400)
    report = index(two, library=LIBRARY)  # by what the library is set to now
    assert report.rebuilt and report.changes.again == 1
    assert report.embedding is not None and report.embedding.info["sources"]["visual"] == "none"
    assert answering() == names(300, 310, 400)


def test_settings_changed_during_a_run_leave_what_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sounds(tmp_path / "one", 300)
    index(one, library=LIBRARY, **QUICK)
    before = opened().current()
    sounds(one, 310)
    real = pipeline.label_clips

    def meanwhile(*arguments: object) -> object:
        store = opened()
        replace(Settings.of(store), visual="none").keep(store)
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "label_clips", meanwhile)
        with pytest.raises(LibraryError, match=r"changed by another machine.*Run again"):
            index(one, library=LIBRARY)
    assert opened().current() == before
    assert index(one, library=LIBRARY).rebuilt


def _contents() -> tuple[set[str], Tables]:
    store = opened()
    sources = Settings.of(store).sources
    tables = Tables(store.folder, sources.fingerprint, sources.roles)
    kept = {row.content for role in tables.roles for row in tables._table(role).rows()}
    return kept, tables


def test_what_nobody_holds_goes_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds(tmp_path / "one", 300, 310)
    index(folder, library=LIBRARY, **QUICK)
    both, _ = _contents()
    (folder / "310.wav").unlink()
    index(folder, library=LIBRARY)
    assert answering() == names(300) and _contents()[0] == both, "another may be about to hold it"
    now = time.time()
    monkeypatch.setattr(sharing.time, "time", lambda: now + 2 * sharing.GRACE)
    index(folder, library=LIBRARY, rebuild=True)
    kept, tables = _contents()
    assert len(kept) == 1 and len(opened().contents(tables.features)) == 1
    assert not any(
        key.startswith("orphans") and value for key, value in opened()._state.facts().items()
    )


@pytest.mark.long
def test_a_content_that_is_met_again_while_it_goes_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine finds a file of that content between the look and the removal."""
    one, two = sounds(tmp_path / "one", 300, 310), tmp_path / "two"
    index(one, library=LIBRARY, **QUICK)
    two.mkdir()
    shutil.move(one / "310.wav", two / "310.wav")
    index(one, library=LIBRARY)
    now = time.time()
    monkeypatch.setattr(sharing.time, "time", lambda: now + 2 * sharing.GRACE)
    store = type(opened())
    real = store.drop_contents
    process = feeder(two)

    def meanwhile(self: object, features: str, contents: object) -> None:
        if contents:
            let_go(process)
            assert told(process) == names(310)
        real(self, features, contents)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(store, "drop_contents", meanwhile)
        index(one, library=LIBRARY, rebuild=True)
    assert believed() == names(300, 310)
    index(one, library=LIBRARY)
    assert answering() == names(300, 310)


def test_what_another_machine_is_making_stays_wherever_the_vectors_are(tmp_path: Path) -> None:
    index(sounds(tmp_path / "one", 300), library=LIBRARY, **QUICK)
    store = opened()
    current = store.current()
    assert current is not None
    making = embedding_table(store.folder, f"embedding-{store.next_embedding()}")
    making.create(3)
    on_a_server = {"index": "milvus://here:19530", "table": "earsight_0123_5_4567"}
    moved = replace(current, info=current.info | on_a_server)
    mine = embedding_table(store.folder, current.table)
    drop_others(store, moved)
    assert making.exists and mine.exists, "another machine may be moving it back"
    drop_embeddings(store, moved, moved=True)
    assert making.exists and not mine.exists


def test_a_leftover_of_a_killed_embedding_is_no_answer(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "one", 300)
    index(folder, library=LIBRARY, **QUICK)
    store = opened()
    number = store.next_embedding()  # and nothing more: its writer died
    left = embedding_table(store.folder, f"embedding-{number}")
    left.create(3)
    sounds(folder, 310)
    report = index(folder, library=LIBRARY)
    assert report.embedding is not None and report.embedding.id > number
    assert answering() == names(300, 310) and not left.exists

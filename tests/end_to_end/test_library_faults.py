"""What may go wrong while a folder is indexed, each with the real thing where it can be had."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from _clips import make_clip
from _folders import fill, names, rows, run_index
from earsight import engine
from earsight.errors import InputError, LabelError, LibraryError, ModelFileError
from earsight.library.catalog.location import FOLDER, locked
from earsight.library.catalog.open import open_library
from earsight.library.catalog.records import Embedding
from earsight.library.embedding.extraction import Extracted, Sources
from earsight.library.embedding.feature_tables import stored_tables
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.indexing import ingest
from earsight.library.indexing.pipeline import index
from earsight.library.search import snapshot
from earsight.library.search.searcher import search


def test_two_at_once(library: Path) -> None:
    with locked(library / FOLDER):
        process = run_index(library)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Another earsight (process {os.getpid()}) is at work on" in told


def test_two_first_runs_at_once(tmp_path: Path) -> None:
    fill(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
    both = [run_index(tmp_path) for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 1]), told  # one after the other, or one refused
    assert len(rows(tmp_path)) == 6


def test_an_interrupted_change_of_extractors_loses_nothing(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(library)
    real = engine.run

    def interrupted(*what: object, **how: object) -> Iterator[object]:
        yield from list(real(*what, **how))[:3]  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("earsight.library.indexing.ingest._BATCH_CLIPS", 1)
        patch.setattr(engine, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index(library, audio="log_mel", visual="colour_edges")
    assert rows(library) == before
    assert not index(library, audio="yamnet", visual="efficientnet").rebuilt
    index(library, audio="log_mel", visual="colour_edges")
    assert [key.partition(":")[0] for key in rows(library)] == [k.partition(":")[0] for k in before]


@pytest.mark.parametrize("gone", ["vectors", "models", "embedding"])
def test_what_is_missing_is_made_anew(library: Path, gone: str) -> None:
    before = rows(library)
    places = [*(library / FOLDER).glob(gone), *(library / FOLDER / "vectors").glob(f"{gone}-*")]
    assert places
    for place in places:
        shutil.rmtree(place)
    index(library)
    assert index(library, rebuild=True).rebuilt
    assert rows(library) == before and names(library, "sound.wav")


@pytest.mark.parametrize("damaged", ["words.audio", "embedding"])
def test_what_is_damaged_is_made_anew_by_rebuild(library: Path, damaged: str) -> None:
    before = rows(library)
    for path in (library / FOLDER / "vectors").glob(f"{damaged}-*/data/*"):
        path.write_bytes(path.read_bytes()[:40])
    if damaged == "embedding":
        with pytest.raises(LibraryError, match="index again with --rebuild"):
            search(library, text="blue")
    assert index(library, rebuild=True).rebuilt
    assert rows(library) == before and names(library, "sound.wav")


def test_rows_that_were_lost_are_read_again(library: Path) -> None:
    before = rows(library)
    with open_library(library / FOLDER) as store:
        current = store.current()
        assert current is not None
        tables = stored_tables(store, current)
        tables.delete([store.clips()[0].content])
    assert index(library, rebuild=True).rebuilt
    assert rows(library) == before


def test_a_file_that_changes_while_it_is_read_is_read_again(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = library / "red/new.mp4"
    make_clip(changing, tone=3000)
    real = ingest.read_clip

    def changed(path: Path, sources: Sources) -> Extracted:
        found = real(path, sources)
        if path == changing:
            make_clip(changing, 1.5, tone=4000)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(
            engine, "run", lambda work, items, **_: ((item, work(item)) for item in items)
        )
        patch.setattr(ingest, "read_clip", changed)
        report = index(library)
    assert ("red/new.mp4", "unreadable", "It changed while it was being read.") in report.trouble
    assert len(index(library).trouble) == 1
    assert "new.mp4" in names(library, "sound.wav")


def test_a_setting_that_does_not_work_is_not_remembered(library: Path) -> None:
    with pytest.raises(LibraryError, match="left out by --exclude"):
        index(library, exclude=("*",))
    bad = library.parent / "bad.csv"
    bad.write_text("path,label\nred/a.mp4\n")
    with pytest.raises(LabelError, match=r"line 2.* To label otherwise: --labels folders"):
        index(library, labels=str(bad))
    bad.write_text("path,label\nnowhere.mp4,dog\n")
    with pytest.raises(LabelError, match="labels none of the 9 clips"):
        index(library, labels=str(bad))
    with pytest.raises(InputError, match="has no hyper-parameter 'bogus'"):
        index(library, learn="cca:bogus=1")
    assert not index(library).rebuilt


def test_a_worker_that_dies_takes_one_clip(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run", _dying)
    make_clip(library / "red/new.mp4", tone=3000)
    make_clip(library / "red/poison.mp4", tone=3100)
    report = index(library)
    assert ("red/poison.mp4", "unreadable", "It crashed.") in report.trouble
    assert "new.mp4" in names(library, "sound.wav")
    monkeypatch.undo()
    assert len(index(library).trouble) == 1  # tried again, and read


def _dying(work: object, items: Iterator[object], **_: object) -> Iterator[tuple[object, object]]:
    for item in items:
        if "poison" in item.path.name:  # type: ignore[attr-defined]
            yield item, engine.WorkerDied("It crashed.")
        else:
            yield item, work(item)  # type: ignore[operator]


def test_a_failing_build_leaves_the_old_embedding(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(library, "sound.wav")
    make_clip(library / "red/new.mp4", tone=3000)
    monkeypatch.setattr("earsight.library.indexing.pipeline.write_embedding", _no_space)
    with pytest.raises(LibraryError, match="MiB are free"):
        index(library)
    assert names(library, "sound.wav") == before
    monkeypatch.undo()
    assert index(library).rebuilt and "new.mp4" in names(library, "sound.wav")


def _no_space(*_: object, **__: object) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("case", ["full", "read_only"])
def test_faults_of_the_disk(tmp_path: Path, case: str) -> None:
    """In a mount namespace of its own, so that no root is needed (see _disk.py)."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "clips").mkdir()
    script = Path(__file__).parents[1] / "support" / "_disk.py"
    apart = ["unshare", "--map-root-user", "--mount", sys.executable, str(script), case]
    done = subprocess.run(
        [*apart, str(tmp_path / "disk"), str(tmp_path / "clips")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_is_overtaken_takes_the_new_embedding(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(library, "sound.wav")
    real = snapshot.open_model

    def overtaken(place: Path, embedding: Embedding) -> JointSpace:
        monkeypatch.undo()
        index(library, rebuild=True)  # the folder that is to be read is gone
        assert not (place / "models" / str(embedding.id)).exists()
        return real(place, embedding)

    monkeypatch.setattr(snapshot, "open_model", overtaken)
    assert names(library, "sound.wav") == before


def test_a_clip_whose_vectors_are_gone_is_read_for_its_query(library: Path) -> None:
    before = names(library, "red/b.mp4", by="audio")
    with open_library(library / FOLDER) as store:
        current = store.current()
        assert current is not None
        stored_tables(store, current).delete([c.content for c in store.clips()])
    assert names(library, "red/b.mp4", by="audio") == before


def test_a_link_in_the_place_of_the_models_is_named_and_not_followed(
    library: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (library / FOLDER / "models").rename(outside)
    (outside / "thesis").mkdir()
    before = sorted(outside.rglob("*"))
    (library / FOLDER / "models").symlink_to(outside)
    for use in (
        lambda: index(library),
        lambda: index(library, rebuild=True),
        lambda: search(library, text="blue"),
    ):
        with pytest.raises(LibraryError, match="models' is a link"):
            use()
    assert sorted(outside.rglob("*")) == before


def test_a_model_that_was_changed_is_told_and_made_anew(library: Path) -> None:
    (changed,) = (library / FOLDER).glob("models/*/space.json")
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(ModelFileError, match=r"space\.json is not what was written.*--rebuild"):
        search(library, text="blue")
    assert index(library, rebuild=True).rebuilt
    assert search(library, text="blue").results

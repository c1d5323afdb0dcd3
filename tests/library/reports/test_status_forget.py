"""What a library says of itself, and clips that leave it while their files stay."""

import os
import shutil
from pathlib import Path

import pytest

from _clips import make_clip
from _folders import names, rows
from earsight import engine
from earsight.cli.upkeep import _pending
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import FOLDER, lock_holder, locked
from earsight.library.catalog.open import open_library
from earsight.library.indexing.forget import forget_clips, list_forgotten, undo_forget
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import library_status


def test_what_a_library_says_of_itself(made: Path) -> None:
    found = library_status(made)
    assert (found.library, found.clips) == (made / FOLDER, made)
    assert (found.n_clips, found.n_contents) == (9, 8)
    assert (found.has["audio"], found.has["visual"]) == (6, 6)
    assert found.labels == {"blue": 3, "red": 2}
    assert found.space == "words" and "Nothing is learned" in found.why
    assert found.extractors["audio"] == "yamnet" and found.extractors["eyes"] == "efficientnet"
    assert found.read_by == "audio by yamnet, visual by efficientnet"
    assert found.n_vectors == len(rows(made))
    assert [(path, state) for path, state, _ in found.trouble] == [("text.mp4", "unreadable")]
    on_disk = sum(path.lstat().st_size for path in (made / FOLDER).rglob("*") if path.is_file())
    assert sum(found.bytes.values()) == on_disk and all(found.bytes.values())
    assert found.pending is not None and found.pending.nothing and found.indexing is None


def test_what_is_not_indexed_yet_is_told_and_nothing_is_done(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(library)
    make_clip(library / "new.wav")
    make_clip(library / "sound.wav", tone=1234)
    (library / "short.mp4").unlink()
    monkeypatch.setattr(engine, "run", None)  # whoever reads a clip fails
    pending = library_status(library).pending
    assert pending is not None and not pending.nothing and not pending.unfinished
    assert (pending.new, pending.changed, pending.gone) == (
        ["new.wav"],
        ["sound.wav"],
        ["short.mp4"],
    )
    assert rows(library) == before


def test_a_copied_folder_is_as_it_was(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [path for path in library.rglob("*.mp4") if FOLDER not in path.parts]
    for path in clips:
        os.utime(path)  # as cp -r leaves them
    pending = library_status(library).pending
    assert pending is not None and pending.nothing
    monkeypatch.setattr("earsight.library.reports.status.COMPARED", 1)  # too much to compare here
    pending = library_status(library).pending
    assert pending is not None and not pending.nothing and not pending.changed
    assert len(pending.retimed) == sum(not path.name.startswith(".") for path in clips)
    told = _pending(pending)
    assert f"{len(pending.retimed)} of the same size have another time, which index" in told


def test_settings_that_wait_for_an_index(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        index(library, audio="log_mel", visual="colour_edges")
    found = library_status(library)
    assert found.pending is not None and found.pending.unfinished
    assert found.extractors["audio"] == "yamnet" and found.settings["audio"] == "log_mel"


def test_a_library_at_work_and_one_whose_disk_is_away(library: Path) -> None:
    with locked(library / FOLDER):
        assert lock_holder(library / FOLDER) == library_status(library).indexing == str(os.getpid())
    place = library.parent / "place"
    index(library, library=place, learn="never")
    library.rename(library.parent / "away")
    found = library_status(place)
    assert found.pending is None and found.n_clips == 9


def test_a_library_that_has_never_ended_an_index(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.")
    with pytest.raises(LibraryError, match="None of the 1 clips"):
        index(tmp_path)
    found = library_status(tmp_path)
    assert found.space is None and found.made is None and found.n_vectors == 0
    assert found.pending is not None and found.pending.unfinished


def test_a_forgotten_clip_answers_no_more_and_stays_away(library: Path) -> None:
    assert "b.mp4" in names(library, "sound.wav")
    done = forget_clips(library, [library / "red/b.mp4"])
    assert (done.paths, done.copies, done.n_clips) == (["red/b.mp4"], 0, 8)
    assert "b.mp4" not in names(library, "sound.wav")  # at once
    pending = library_status(library).pending
    assert pending is not None and pending.unfinished and not pending.new
    report = index(library)
    assert (report.n_clips, report.forgotten, report.rebuilt) == (8, 1, True)
    assert "b.mp4" not in names(library, "sound.wav") and (library / "red/b.mp4").is_file()
    assert not index(library).rebuilt


def test_what_was_read_of_it_goes_with_the_next_index(library: Path) -> None:
    kept = rows(library)
    forget_clips(library, ["red/b.mp4"])
    index(library)
    assert len(rows(library)) == len(kept) - 2 and set(rows(library)) < set(kept)


def test_neither_a_move_nor_a_copy_brings_it_back(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = forget_clips(library, ["red/a.mp4"])
    assert sorted(done.paths) == ["blue/a copy.mp4", "red/a.mp4"] and done.copies == 1
    (library / "red/a.mp4").rename(library / "blue/renamed.mp4")
    shutil.copy(library / "blue/a copy.mp4", library / "red/third.mp4")
    monkeypatch.setattr(engine, "run", None)
    report = index(library)
    assert (report.n_clips, report.forgotten) == (7, 3)
    assert list_forgotten(library) == ["blue/a copy.mp4", "blue/renamed.mp4", "red/third.mp4"]
    hashed: list[Path] = []
    monkeypatch.setattr(
        "earsight.library.catalog.scan.hash_if_readable", lambda path: hashed.append(path)
    )
    assert not index(library).rebuilt
    assert hashed == [], "a forgotten file is not hashed again each time"


def test_the_text_beside_it_leaves_with_it(library: Path) -> None:
    (library / "red/b.txt").write_text("a red wall that hums")
    (library / "short.txt").write_text("hardly anything")
    index(library)
    forget_clips(library, ["red/b.mp4"])
    for _ in range(2):
        with open_library(library / FOLDER) as store:
            assert [text.path for text in store.texts()] == [b"short.txt"]
        pending = library_status(library).pending
        assert pending is not None and not pending.new
        assert index(library).n_texts == 1
    undo_forget(library, ["red/b.mp4"])
    assert index(library).n_texts == 2


def test_it_comes_back_when_asked_for(library: Path) -> None:
    before = rows(library)
    forget_clips(library, ["red/a.mp4"])
    index(library)
    with pytest.raises(InputError, match=r"red/b\.mp4 was not forgotten\. .*forget --list"):
        undo_forget(library, ["red/b.mp4"])
    assert sorted(undo_forget(library, ["red/a.mp4"]).paths) == ["blue/a copy.mp4", "red/a.mp4"]
    assert list_forgotten(library) == []
    assert index(library).n_clips == 9 and rows(library) == before


def test_a_file_that_now_holds_something_else_is_a_new_clip(library: Path) -> None:
    forget_clips(library, ["red/b.mp4"])
    index(library)
    make_clip(library / "red/b.mp4", tone=3210)
    report = index(library)
    assert (report.n_clips, report.forgotten) == (9, 0)


def test_a_clip_that_now_holds_what_was_forgotten_leaves(library: Path) -> None:
    forget_clips(library, ["red/b.mp4"])
    shutil.copy(library / "red/b.mp4", library / "short.mp4")
    report = index(library)
    assert (report.n_clips, report.forgotten, report.changes.gone) == (7, 2, 1)


def test_a_kill_between_the_two_steps_of_forgetting(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("earsight.library.catalog.sqlite.Catalog.move_and_drop", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_clips(library, ["red/b.mp4"])
    assert index(library).n_clips == 8


def test_clips_are_named_from_here_too(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (library.parent / "link").symlink_to(library)
    monkeypatch.chdir(library / "red")
    assert forget_clips(library, ["b.mp4"]).paths == ["red/b.mp4"]
    assert forget_clips(library, [library.parent / "link/short.mp4"]).paths == ["short.mp4"]


def test_what_cannot_be_forgotten(library: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4 is no clip of the library"):
        forget_clips(library, ["red/b.mp4", "nowhere.mp4"])
    with pytest.raises(InputError, match=r"as seen from here\. Is it red/b\.mp4\?"):
        forget_clips(library, ["b.mp4"])
    with pytest.raises(InputError, match=r"red is a folder.*index CLIPS --exclude 'red'"):
        forget_clips(library, [library / "red"])
    with pytest.raises(LibraryError, match="all 9 clips"):
        forget_clips(library, ["red/a.mp4", "red/b.mp4", "blue/c.mp4", *OTHERS])
    assert list_forgotten(library) == [] and library_status(library).n_clips == 9


OTHERS = [
    "silent.mp4",
    "sound.wav",
    "short.mp4",
    "text.mp4",
    os.fsdecode(b'blue/it\'s "so"\n \xff.mp4'),
]

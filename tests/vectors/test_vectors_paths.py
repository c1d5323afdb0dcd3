"""Folders with awkward names: whatever a file system takes, a library can lie in."""

import os
from pathlib import Path

import numpy as np
import pytest

from _folders import fill, names
from _rows import make_rows
from earsight.errors import LibraryError
from earsight.features import FeatureSequence
from earsight.library.indexing.pipeline import index
from earsight.vectors import LanceIndex, SequenceStore, StoredSequence, _database, table_names

NAMES = [
    b"a line\nand another",
    b"tab\tand\rreturn",
    b"\x01\x1b[31m\x7f",
    b"no text \xff\xfe",
    "controls of another kind \x85\x9b".encode(),
    "separators \u2028 \u2029 \u200b".encode(),
    b"'one' \"two\" `three`",
    b"100% %20 %2F %2e%2e %00 %0A %",
    b"#1? a&b=c;d+e @f",
    b"back\\slash\\",
    b" at both ends ",
    b"..a..",
    b"...",
    b"~",
    b"$HOME",
    b"s3:",
    b"file:",
    b"memory:",
    b"c:",
    b"-x",
    b"*?[a]{b}",
    b"<a>|^",
    "Ärger 音 😀 e\u0301".encode(),
    b"n" * 255,
    b"x.lance",
    b"_versions",
]


@pytest.mark.parametrize("name", NAMES)
def test_tables_lie_in_any_folder(tmp_path: Path, name: bytes) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)) / "vectors"
    table = LanceIndex(folder, "t")
    table.create(3)
    table.upsert(make_rows(4), np.eye(4, 3))
    table.delete(["c1"])
    table.optimize()
    store = SequenceStore(folder, "s")
    store.create()
    sequence = FeatureSequence(np.ones((2, 3), "f4"), np.arange(2.0))
    store.upsert([StoredSequence("k", "c", "yamnet", sequence)])
    again = LanceIndex(folder, "t")
    assert again.rows() == make_rows(3)
    assert again.search(np.eye(1, 3), 1)[0][0].row.key == "k0000"
    assert store.keys() == ["k"]
    assert table_names(folder) == ["s", "t"]
    assert os.listdir(tmp_path) == [os.fsdecode(name)], "something was made elsewhere"  # noqa: PTH208
    again.drop()
    assert table_names(folder) == ["s"]


@pytest.mark.parametrize("name", ["~", "s3:", "file:", "memory:", "a/../b", "line\n"])
def test_a_relative_folder_is_below_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name.partition("/")[0]).mkdir()
    table = LanceIndex(Path(name), "t")
    table.create(3)
    assert (tmp_path / name / "t.lance").is_dir()
    assert table.count() == 0


def test_a_folder_above_a_link_is_the_one_that_the_system_means(tmp_path: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    LanceIndex(tmp_path / "link" / ".." / "v", "t").create(3)
    assert table_names(tmp_path / "far" / "v") == ["t"]
    assert not (tmp_path / "v").exists()


def test_no_handle_is_left_open(tmp_path: Path) -> None:
    folder = tmp_path / "a\nb"
    LanceIndex(folder, "t").create(3)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        LanceIndex(folder, "t").count()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


def test_where_handles_have_no_paths_the_character_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_database, "_HANDLES", tmp_path / "none")
    with pytest.raises(LibraryError, match=r"takes no path with '\\n' .* Rename the folder"):
        LanceIndex(tmp_path / "a\nb", "t").create(3)


def test_a_folder_of_any_name_is_indexed_and_searched(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + NAMES[0] + NAMES[3] + NAMES[6]))
    fill(folder, ["a.mp4", "b.mp4"])
    assert index(folder).changes.added == 2
    assert not index(folder).rebuilt
    assert names(folder, "a.mp4") == ["a.mp4", "b.mp4"]

"""A library's files are opened below a handle: no link is followed, no name leads outside."""

import os
import stat
from pathlib import Path

import pytest

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.folder_handle import Directory, open_directory


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    (folder / "mine.txt").write_bytes(b"mine")
    (folder / "inner" / "mine.txt").write_bytes(b"mine too")
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c.txt").write_bytes(b"inside")
    return folder


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_file_is_read_written_and_replaced(library):
    with open_directory(library) as folder:
        assert folder.read("a/b/c.txt") == b"inside"
        folder.write("a/b/c.txt", b"newer")
        with folder.below("x/y", make=True) as inner:
            inner.write("z.txt", b"made")
            assert inner.path == library / "x" / "y"
        assert folder.names() == ["a", "x"]
        assert folder.kind("a/b") == stat.S_IFDIR and folder.kind("a/b/c.txt") == stat.S_IFREG
        assert folder.kind("a/none") is None and folder.kind("none/none") is None
        folder.refuse_links()
    found = {name: data for name, data in everything(library).items() if data is not None}
    assert found == {"a/b/c.txt": b"newer", "x/y/z.txt": b"made"}


def test_what_is_missing_is_missing(library):
    with open_directory(library) as folder:
        with pytest.raises(FileNotFoundError):
            folder.read("a/none")
        with pytest.raises(FileNotFoundError), folder.below("none"):
            pass
    with pytest.raises(FileNotFoundError), open_directory(library / "none"):
        pass


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../outside/mine.txt", "a/../../outside/mine.txt", "a//b", "a/"),
        *("/etc/hosts", "a/b\0/c.txt", "\ud800", "x" * 256),
    ],
)
def test_a_name_that_is_none_is_refused(library, outside, name):
    with open_directory(library) as folder:
        for use in (folder.open, folder.read, folder.kind, lambda n: folder.write(n, b"")):
            with pytest.raises(LibraryError, match="cannot be the name"):
                use(name)
        with pytest.raises(LibraryError, match="cannot be the name"), folder.below(name):
            pass
        with pytest.raises(LibraryError, match="cannot be the name"):
            folder.remove(name, lambda _: True)


@pytest.mark.parametrize("linked", ["a", "a/b", "a/b/c.txt"])
def test_a_link_at_any_level_is_an_error_that_names_it(library, outside, linked):
    (outside / "b").mkdir()
    (outside / "c.txt").write_bytes(b"mine as well")
    (outside / "b" / "c.txt").write_bytes(b"mine as well")
    (library / linked).rename(library / "old")
    target = outside / "mine.txt" if linked.endswith(".txt") else outside
    (library / linked).symlink_to(target)
    before = everything(outside)
    with open_directory(library) as folder:
        for use in (
            lambda: folder.read("a/b/c.txt"),
            lambda: folder.write("a/b/c.txt", b"bad"),
            lambda: folder.open("a/b/c.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            folder.refuse_links,
        ):
            with pytest.raises(LibraryError, match=f"{linked}' is a link"):
                use()
        assert folder.remove("a", lambda _: True)
    assert everything(outside) == before
    assert (library / linked).is_symlink()


def test_a_library_that_is_a_link_is_refused_but_not_one_below_a_link(library, tmp_path):
    (tmp_path / "link").symlink_to(library)
    with pytest.raises(LibraryError, match="link' is a link"), open_directory(tmp_path / "link"):
        pass
    with open_directory(tmp_path / "link" / "a") as folder:
        assert folder.read("b/c.txt") == b"inside"
    with open_directory(tmp_path / "link", follow=True) as folder:
        assert folder.read("a/b/c.txt") == b"inside"
    with open_directory(library / "a" / "..") as folder:
        assert folder.names() == ["a"]


def test_folders_nested_without_end_are_refused(library):
    (library / "/".join(["d"] * 40)).mkdir(parents=True)
    with open_directory(library) as folder, pytest.raises(LibraryError, match="is a folder"):
        folder.refuse_links()


def test_a_link_that_comes_after_the_look_is_not_followed(library, outside, monkeypatch):
    (library / "a" / "b" / "c.txt").unlink()
    (library / "a" / "b" / "c.txt").symlink_to(outside / "mine.txt")
    monkeypatch.setattr(
        "earsight.library.catalog.folder_handle._kind", lambda _fd, _name: stat.S_IFREG
    )
    with open_directory_without_look(library / "a" / "b") as folder:
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT):
            with pytest.raises(LibraryError, match="is a link"):
                folder.open("c.txt", flags)
    assert (outside / "mine.txt").read_bytes() == b"mine"


class open_directory_without_look:  # noqa: N801
    def __init__(self, path: Path) -> None:
        self.folder = Directory(os.open(path, os.O_RDONLY), path)

    def __enter__(self) -> Directory:
        return self.folder

    def __exit__(self, *_: object) -> None:
        os.close(self.folder.fd)


def test_a_pipe_and_a_folder_are_no_files_and_a_file_is_no_folder(library):
    os.mkfifo(library / "pipe")
    with open_directory(library) as folder:
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT):  # none of them waits
            with pytest.raises(LibraryError, match="pipe' is a pipe"):
                folder.open("pipe", flags)
        with pytest.raises(LibraryError, match="a' is a folder"):
            folder.read("a")
        with pytest.raises(LibraryError, match="a' is a folder"):
            folder.write("a", b"")
        with pytest.raises(LibraryError, match=r"c\.txt' is a file"):
            folder.read("a/b/c.txt/d")
        with pytest.raises(LibraryError, match="pipe' is a pipe"):
            folder.refuse_links()


def test_a_file_beyond_the_limit_is_not_read(library, monkeypatch):
    monkeypatch.setenv("EARSIGHT_MAX_BYTES", "5")
    with open_directory(library) as folder, pytest.raises(InputError, match="EARSIGHT_MAX_BYTES"):
        folder.read("a/b/c.txt")


def test_only_what_is_ours_is_removed_and_the_rest_is_told(library, outside):
    (library / "a" / "foreign").mkdir()
    (library / "a" / "foreign" / "c.txt").write_bytes(b"theirs")
    (library / "a" / "link").symlink_to(outside)
    (library / "a" / "b" / "notes.txt").write_bytes(b"theirs")
    os.mkfifo(library / "a" / "c.txt")
    ours = {"a/", "a/b/", "a/b/c.txt", "a/link", "a/link/", "a/c.txt"}
    with open_directory(library) as folder:
        left = folder.remove("a", ours.__contains__)
        assert left == ["a/b/notes.txt", "a/c.txt", "a/foreign", "a/link"]
        assert not (library / "a" / "b" / "c.txt").exists()
        assert (library / "a" / "foreign" / "c.txt").exists()
        assert sorted(everything(outside)) == ["inner", "inner/mine.txt", "mine.txt"]
        assert folder.remove("none", lambda _: True) == []


def test_a_folder_of_ours_alone_goes_whole(library):
    with open_directory(library) as folder:
        assert folder.remove("a", {"a/", "a/b/", "a/b/c.txt"}.__contains__) == []
    assert everything(library) == {}


def test_no_descriptor_stays_open(library):
    before = len(list(Path("/proc/self/fd").iterdir()))
    (library / "link").symlink_to(library)
    with open_directory(library) as folder:
        for name in ("a/b/none", "a/none/c", "link/c", "a/b"):
            with pytest.raises((OSError, LibraryError)):
                folder.read(name)
        folder.read("a/b/c.txt")
        folder.write("a/b/c.txt", b"again")
    assert len(list(Path("/proc/self/fd").iterdir())) == before

"""Files below one directory handle: no link is followed, and no name leads outside.

A folder that somebody sent may hold a link in the place of a file or a folder. Whatever
lies in a library is opened here: part by part from a handle of the folder, each without following
links, by names that are checked first.
"""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from earsight.errors import LibraryError
from earsight.untrusted import check_memory

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK  # without waiting for who writes into a pipe
_LONGEST = 255  # bytes of a file's name
DEEPEST = 32
"""Folders inside each other that a library may have."""


@dataclass(frozen=True)
class Directory:
    """A folder that is open, and what lies below it.

    A name is one or more parts joined by "/", such as "bridge/model.json". Of each method: a link,
    or a pipe or device or folder in the place of a file, or a name that is none, is a
    `LibraryError` that says which; what is missing or forbidden is an `OSError`, as in Python.

    Attributes:
        fd: The folder's descriptor, for `dir_fd=`; closed by `open_directory` or `below`.
        path: Where the folder was when it was opened, for messages.
    """

    fd: int
    path: Path

    @contextmanager
    def below(self, name: str, *, make: bool = False) -> Iterator["Directory"]:
        """Open a folder that lies below this one; with `make` it and those above it are made."""
        path, fd = self.path, os.dup(self.fd)
        try:
            for part in _parts(path, name):
                if make and _kind(fd, part) is None:
                    os.mkdir(part, dir_fd=fd)
                self._check(fd, path / part, stat.S_IFDIR)
                inner = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                path, fd = path / part, inner
            yield Directory(fd, path)
        finally:
            os.close(fd)

    @contextmanager
    def _above(self, name: str) -> Iterator[tuple["Directory", str]]:
        """Open the folder in which the last part of a name lies."""
        *folders, last = _parts(self.path, name)
        if not folders:
            yield self, last
            return
        with self.below("/".join(folders)) as folder:
            yield folder, last

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        """Return the descriptor of a regular file, opened with `flags`; the caller closes it.

        O_CREAT makes it where it is missing; O_TRUNC is the caller's word to lose its content.
        """
        with self._above(name) as (folder, last):
            path = folder.path / last
            if not flags & os.O_CREAT or _kind(folder.fd, last) is not None:
                self._check(folder.fd, path, stat.S_IFREG)
            try:
                fd = os.open(last, flags | _FILE, mode, dir_fd=folder.fd)
            except OSError as error:
                if error.errno == errno.ELOOP:  # put there since it was looked at
                    raise _refused(path, stat.S_IFLNK) from error
                raise
            if not stat.S_ISREG(kind := os.fstat(fd).st_mode):
                os.close(fd)
                raise _refused(path, stat.S_IFMT(kind))
            return fd

    def read(self, name: str) -> bytes:
        """Return what a file holds.

        Raises:
            InputError: It is larger than `untrusted.memory_limit` allows.
        """
        with os.fdopen(self.open(name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            check_memory(f"The file {str(self.path / name)!r}", size)
            return file.read(size)

    def write(self, name: str, data: bytes) -> None:
        """Write a file under a temporary name, bring it to the disk, then rename it."""
        with self._above(name) as (folder, last):
            if _kind(folder.fd, last) is not None:
                self._check(folder.fd, folder.path / last, stat.S_IFREG)
            draft = f".tmp-{secrets.token_hex(8)}"
            fd = folder.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, last, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            except BaseException:
                with suppress(FileNotFoundError):  # it is in place already
                    os.unlink(draft, dir_fd=folder.fd)
                raise

    def kind(self, name: str) -> int | None:
        """Return what a name stands for, as `stat.S_IFREG` and the like; None for nothing."""
        try:
            with self._above(name) as (folder, last):
                return _kind(folder.fd, last)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Return what lies in this folder, sorted."""
        return sorted(os.listdir(self.fd))  # noqa: PTH208

    def refuse_links(self) -> None:
        """Look through all that lies below, for outside software that opens paths by itself.

        Raises:
            LibraryError: A link, a pipe or a device, or folders nested too deep; it is named.
        """
        folders = [""]
        while folders:
            above = folders.pop()
            try:
                with self.below(above) if above else nullcontext(self) as folder:
                    with os.scandir(folder.fd) as entries:
                        others = [one for one in entries if not one.is_file(follow_symlinks=False)]
                    kinds = {one.name: _kind(folder.fd, one.name) for one in others}
            except FileNotFoundError:  # removed meanwhile
                continue
            for name, kind in kinds.items():
                if kind == stat.S_IFDIR and above.count("/") < DEEPEST:
                    folders.append(f"{above}/{name}" if above else name)
                elif kind is not None:
                    raise _refused(folder.path / name, kind)

    def remove(self, name: str, is_ours: Callable[[str], bool]) -> list[str]:
        """Remove a file or a folder, but only what is ours; return the names that stay.

        Args:
            name: In this folder.
            is_ours: Whether a name is one that we give; that of a folder ends in "/". A link, or
                what else is neither file nor folder, is never ours; nor is what lies in a folder
                that is not.
        """
        with self._above(name) as (folder, last):
            kind = _kind(folder.fd, last)
            if kind is None:
                return []
            if kind == stat.S_IFREG and is_ours(name):
                os.unlink(last, dir_fd=folder.fd)
                return []
            if kind != stat.S_IFDIR or not is_ours(f"{name}/"):
                return [name]
            with folder.below(last) as inner:
                inside = inner.names()
            left = [one for each in inside for one in self.remove(f"{name}/{each}", is_ours)]
            if not left:
                os.rmdir(last, dir_fd=folder.fd)
            return left

    def _check(self, fd: int, path: Path, wanted: int) -> None:
        kind = _kind(fd, path.name)
        if kind is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if kind != wanted:
            raise _refused(path, kind)


@contextmanager
def open_directory(path: Path, *, follow: bool = False) -> Iterator[Directory]:
    """Open a folder by its path, which is the user's own word, and so may lead through links.

    All but the last part: that may be its sender's, as `.earsight` in a folder of clips is; with
    `follow` it is the user's own as well.

    Raises:
        LibraryError: It is a link, or no folder.
        OSError: It is missing or cannot be opened.
    """
    given = path.name in ("", "..")  # no name of its own, so no link of its sender's
    path = Path(os.path.realpath(path)) if follow or given else path.absolute()
    try:
        fd = os.open(path, _FOLDER)
    except OSError as error:
        kind = _kind_of(path)
        if kind in (None, stat.S_IFDIR):
            raise
        raise _refused(path, kind) from error
    try:
        yield Directory(fd, path)
    finally:
        os.close(fd)


def _kind_of(path: Path) -> int | None:
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except OSError:
        return None


def _parts(path: Path, name: str) -> list[str]:
    """Return the parts of a name, checked."""
    parts = name.split("/")
    for part in parts:
        try:
            size = len(os.fsencode(part))
        except UnicodeEncodeError:
            size = 0
        if part in ("", ".", "..") or "\0" in part or not 0 < size <= _LONGEST:
            raise LibraryError(f"{name[:_LONGEST]!r} cannot be the name of a file in {path}.")
    return parts


def _kind(fd: int, name: str) -> int | None:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


_WORDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
}


def _refused(path: Path, kind: int) -> LibraryError:
    why = "Links in a library are not followed: they may lead to files of yours that are none of "
    why += "its own. Remove it, or put there what it leads to."
    return LibraryError(
        f"{str(path)!r} is {_WORDS.get(kind, 'neither a file nor a folder')}, which has no place "
        f"there. {why if kind == stat.S_IFLNK else 'Move it elsewhere.'}"
    )

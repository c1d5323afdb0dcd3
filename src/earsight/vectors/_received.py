"""Tables in a folder that somebody else may have made: nothing outside is read, written or removed.

Before LanceDB opens a table, all that is new below NAME.lance is looked at: there are only folders
and files, no link leads out, no manifest names other places, and no file states sizes that are not
its own. What was looked at is remembered by the states of its folders: LanceDB writes each file
once, so a folder that did not change holds nothing new.
"""

import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from earsight.errors import LibraryError
from earsight.vectors._manifest import Checked, check_manifest
from earsight.vectors._parts import check_data, check_deletions

_MOST = 64 << 20  # bytes of a manifest: of about 400,000 fragments
_DEEPEST = 4  # folders inside each other
_STRANGE = ("_refs", "tree")  # of tags and branches, which Earsight does not make
_VERSION = re.compile(r"(\d{1,20})\.manifest")
_COUNTED_DOWN = (1 << 64) - 1  # a name of 20 digits is this minus the version
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # of a pipe one would wait for ever

NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]*")
"""What the name of a table looks like."""


State = tuple[int, ...]


@dataclass
class _Seen:
    """What was looked at of a table.

    Attributes:
        folders: Path below the table → its state and names, those of folders with a / at the end.
        files: Path → its state.
        manifests: What manifests say.
        has_version: Whether there is one.
    """

    folders: dict[str, tuple[State, frozenset[str]]] = field(default_factory=dict)
    files: dict[str, State] = field(default_factory=dict)
    manifests: Checked = field(default_factory=Checked)
    has_version: bool = False


@dataclass
class _Table:
    """A table of this process.

    Attributes:
        turn: Held by the thread that looks at it; what it has not looked at, no other one believes.
        seen: What was looked at, all of it; None: nothing, or something was refused.
    """

    turn: threading.Lock = field(default_factory=threading.Lock)
    seen: _Seen | None = None


_tables: dict[str, _Table] = {}


def check_table(folder: Path, name: str) -> bool:
    """Check all that is new in a table since it was last checked; return whether it has a version.

    Raises:
        LibraryError: There is a link in its place.
        ValueError: A link or no file in it, or a file that says what no table of Earsight's says;
            it is named.
    """
    path = folder / f"{name}.lance"
    table = _tables.setdefault(str(path), _Table())
    with table.turn:
        seen, table.seen = table.seen, None
        if seen is None or not _is_unchanged(str(path), seen):
            seen = _looked_at(folder, path, seen or _Seen())
        table.seen = seen
        has_version = seen is not None and seen.has_version
    if seen is None:
        _tables.pop(str(path), None)
    return has_version


def _looked_at(folder: Path, path: Path, seen: _Seen) -> _Seen | None:
    """Return what was seen of a table, with all that is new; None: it is not there.

    Raises:
        LibraryError, ValueError: As `check_table`.
    """
    with _opened(folder) as above:
        handle = None if above is None else _enter(above, path)
    if handle is None:
        return None
    try:
        _check_named(handle, path, _check_folder(handle, path, "", seen), seen)
    finally:
        os.close(handle)
    _forget(seen)
    versions = seen.folders.get("_versions/", ((), frozenset()))[1]
    seen.has_version = any(one.endswith(".manifest") for one in versions)
    return seen


def has_table(folder: Path, name: str) -> bool:
    """Whether a table has a version.

    Raises:
        LibraryError: There is a link in its place.
    """
    path = folder / f"{name}.lance"
    with _opened(folder) as above:
        table = None if above is None else _enter(above, path)
    if table is None:
        return False
    try:
        versions = _enter(table, path / "_versions")
    finally:
        os.close(table)
    if versions is None:
        return False
    try:
        return any(entry.endswith(".manifest") for entry in _names(versions))
    finally:
        os.close(versions)


def tables_in(folder: Path) -> list[str]:
    """Return the names of what may be tables, sorted; none where there is no folder.

    Raises:
        LibraryError: The folder is a link.
    """
    with _opened(folder) as handle:
        entries = [] if handle is None else _names(handle)
    names = [entry.removesuffix(".lance") for entry in entries if entry.endswith(".lance")]
    return sorted(name for name in names if NAME.fullmatch(name))


def remove_table(folder: Path, name: str) -> None:
    """Remove NAME.lance with all that is in it, readable or not; links inside are not followed.

    Raises:
        LibraryError: There is a link in its place.
        OSError: It cannot be removed.
    """
    path = folder / f"{name}.lance"
    _tables.pop(str(path), None)
    with _opened(folder) as above:
        if above is None:
            return
        table = _enter(above, path)
        if table is not None:
            os.close(table)
            shutil.rmtree(path.name, dir_fd=above)


def _names(handle: int) -> list[str]:
    with os.scandir(handle) as entries:
        return [entry.name for entry in entries]


def _is_unchanged(path: str, seen: _Seen) -> bool:
    """Whether all folders of a table are as they were; a link in the place of one is another."""
    try:
        return all(
            _state(os.lstat(f"{path}/{inside}".rstrip("/"))) == state
            for inside, (state, _) in seen.folders.items()
        )
    except FileNotFoundError:
        return False


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Open a folder that is no link; None: it is not there."""
    try:
        handle = os.open(folder, _FOLDER)
    except FileNotFoundError:
        yield None
        return
    except OSError:  # of what kind hangs on the system
        if folder.is_dir() and not folder.is_symlink():
            raise
        raise LibraryError(_no_folder(folder, folder.is_symlink())) from None
    try:
        yield handle
    finally:
        os.close(handle)


def _enter(above: int, path: Path) -> int | None:
    """Open the folder of a path within the one above it; None: it is not there."""
    try:
        return os.open(path.name, _FOLDER, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError:  # of what kind hangs on the system
        kind = os.stat(path.name, dir_fd=above, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind):
            raise
        raise LibraryError(_no_folder(path, stat.S_ISLNK(kind))) from None


def _no_folder(path: Path, is_link: bool) -> str:
    kind = "a link" if is_link else "no folder"
    return f"{path} is {kind}, where a library has a folder of its own. Remove it by hand."


def _check_folder(handle: int, path: Path, inside: str, seen: _Seen) -> set[str]:
    """Check an open folder, the manifests in it, and the folders in it, where they changed.

    Returns:
        What is to be checked now: what manifests name for the first time, and what was checked
        before in a folder that changed. Indexes have a / at their ends.
    """
    state = _state(os.fstat(handle))
    before, names = seen.folders.get(inside, ((), frozenset()))
    named: set[str] = set()
    if state != before:
        names = _listed(handle, path, inside)
        named = {one for one in seen.files if one.rpartition("/")[0] == inside.rstrip("/")}
        if inside == "_versions/":
            named = set()
            for name in sorted(names):
                named |= _check_version(handle, path / name, seen)
    for name in names:
        if name.endswith("/"):
            lower = _enter(handle, path / name)
            if lower is not None:
                try:
                    named |= _check_folder(lower, path / name, f"{inside}{name}", seen)
                finally:
                    os.close(lower)
    seen.folders[inside] = (state, names)
    return named


def _forget(seen: _Seen) -> None:
    """Forget folders that are gone, such as that of an index that was replaced."""
    for inside in sorted(seen.folders.keys() - {""}):
        above, _, name = inside.rstrip("/").rpartition("/")
        names = seen.folders.get(f"{above}/" if above else "", ((), frozenset()))[1]
        if f"{name}/" not in names:
            seen.folders.pop(inside, None)


def _state(found: os.stat_result) -> State:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _listed(handle: int, path: Path, inside: str) -> frozenset[str]:
    """Return the names of the files in a folder, and of its folders with a / at their ends."""
    names = set()
    with os.scandir(handle) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise _refused(path / entry.name, "it is a link, and a table has none")
            if entry.is_dir(follow_symlinks=False):
                if inside.count("/") >= _DEEPEST or (not inside and entry.name in _STRANGE):
                    raise _refused(path / entry.name, "no table of Earsight's has such a folder")
                names.add(f"{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                names.add(entry.name)
            else:
                raise _refused(path / entry.name, "it is neither a file nor a folder")
    return frozenset(names)


def _check_version(handle: int, path: Path, seen: _Seen) -> set[str]:
    """Check the manifest of a version; return what it names for the first time."""
    name = path.name
    if not name.endswith(".manifest"):
        return set()
    found = _VERSION.fullmatch(name)
    if not found:
        raise _refused(path, "a version has no such name")
    version = _COUNTED_DOWN - int(found[1]) if len(found[1]) == 20 else int(found[1])
    with _changed(handle, name, path, f"_versions/{name}", seen=seen) as file:
        return set() if file is None else check_manifest(_read(file), version, seen.manifests)


def _check_named(table: int, path: Path, named: set[str], seen: _Seen) -> None:
    """Check files of a table, and all in the folders of indexes."""
    for name in sorted(named):
        inside = [name]
        if name.endswith("/"):
            inside = [f"{name}{one}" for one in seen.folders.get(name, ((), ()))[1]]
        for one in inside:
            with _changed(table, one, path / one, one, seen=seen) as file:
                if file is None:
                    continue
                if one.endswith(".arrow"):
                    check_deletions(_read(file))
                elif one.endswith((".lance", ".idx")):
                    check_data(file)


@contextmanager
def _changed(
    above: int, name: str, path: Path, inside: str, *, seen: _Seen
) -> Iterator[int | None]:
    """Open a file to check it; None: it is known, or not there, of which LanceDB tells."""
    try:
        state = _state(os.stat(name, dir_fd=above, follow_symlinks=False))
        file = None if seen.files.get(inside) == state else os.open(name, _FILE, dir_fd=above)
    except FileNotFoundError:  # another process may be tidying
        seen.files.pop(inside, None)
        file = None
    if file is None:
        yield None
        return
    try:
        yield file
        seen.files[inside] = state
    except ValueError as error:
        raise _refused(path, str(error)) from error
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    size = os.fstat(file).st_size
    if size > _MOST:
        raise ValueError(f"it has {size:,} bytes; at most {_MOST:,} are read")
    with os.fdopen(os.dup(file), "rb") as stream:
        return stream.read(size)


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(f"{path}: {why}")

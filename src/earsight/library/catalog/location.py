"""Where a library is: its folder or its address on S3, and who may write in it."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TextIO

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.folder_handle import Directory, open_directory
from earsight.paths import home
from earsight.storage import Place, Remote, endpoint
from earsight.storage import place as place_of

FOLDER = ".earsight"
LOCK = "lock"
_TRIES, _PAUSE = 3, 0.05  # seconds


def named(place: str | Place) -> Place:
    """Return what a name means: an address on S3, or a folder.

    >>> named("s3://bucket/library"), named("my-clips").name
    (Remote(bucket='bucket', key='library'), 'my-clips')
    """
    if isinstance(place, Remote):
        return place
    text = str(place)
    if isinstance(place, Path) and text.startswith("s3:/"):  # pathlib makes one slash of two
        text = text.replace("s3:/", "s3://", 1)
    return place_of(text)


def find(place: str | Place) -> Place:
    """Return the library that `place` names: itself, or the `.earsight` inside it.

    Raises:
        LibraryError: Neither is a library; the message says which command makes one.
        StorageError: An address on S3 that cannot be reached.
    """
    place = named(place)
    if isinstance(place, Remote):
        if stands(place):
            return place
        raise LibraryError(
            f"There is no library at {place}. Make one: earsight index CLIPS --library {place}"
        )
    for folder in (place, place / FOLDER):
        if stands(folder):
            return folder
    if not place.exists():
        raise LibraryError(f"There is no folder {place}.")
    raise LibraryError(
        f"{place.absolute()} has not been indexed yet. Run: earsight index {quote(str(place))}"
    )


def stands(place: Place) -> bool:
    """Whether there is a library at a place.

    Raises:
        LibraryError: A link lies in its place.
    """
    if isinstance(place, Path):
        if place.name == FOLDER and place.is_symlink():
            with open_directory(place):  # raises
                pass
        return (place / "library.db").is_file()
    from earsight.library.catalog.s3 import is_there

    return is_there(place)


@contextmanager
def open_library(folder: Path) -> Iterator[Directory]:
    """Open the folder of a library, looked through for links.

    A link that the user names leads to it; one called `.earsight` came with the clips.

    Raises:
        LibraryError: It is a link, or holds one, or what else has no place in a library.
    """
    try:
        with open_directory(folder, follow=folder.name != FOLDER) as opened:
            opened.refuse_links()
            yield replace(opened, path=Path(os.path.realpath(folder)))
    except FileNotFoundError as error:
        raise LibraryError(
            f"There is no library in {folder}. Make one: earsight index CLIPS."
        ) from error
    except OSError as error:
        raise LibraryError(
            f"The library {folder} cannot be looked through: {error}. Give yourself the right to "
            "read all of it."
        ) from error


def knows(library: Place, clips: Path) -> bool:
    """Whether a library may have been made of a folder of clips, without asking S3."""
    if isinstance(library, Remote):
        return clips.resolve() in own_folders(library).values()
    return stands(library)


def place_for(clips: Path, library: str | Place | None) -> Place:
    """Return the place of a library of a folder of clips: `library`, or `.earsight` inside it."""
    library = None if library is None else named(library)
    if library is None or (
        isinstance(library, Path) and library.is_dir() and library.samefile(clips)
    ):
        return clips / FOLDER
    if isinstance(library, Path) and library.name == FOLDER and library != clips / FOLDER:
        raise InputError(
            f"{FOLDER} is what the library inside a folder of clips is called, and is about that "
            f"folder; {library} is not in {clips}. Choose another name: --library DIR."
        )
    return library


def private(library: Remote) -> Path:
    """Return the folder of this machine's cache that belongs to a library on S3."""
    whole = f"{endpoint()} {library}".encode("utf-8", "surrogateescape")
    return home() / "libraries" / hashlib.sha256(whole).hexdigest()[:16]


def own_folders(library: Remote) -> dict[str, Path]:
    """Return id → the folders of clips that this machine feeds to a library on S3.

    Only this list makes a file of this machine a clip: what the library says of paths is what
    anybody wrote there who may write to the bucket.
    """
    listed = sorted(_list_of_folders(library).glob("[!.]*"))
    return {file.name: Path(os.fsdecode(file.read_bytes())) for file in listed}


def _list_of_folders(library: Remote) -> Path:
    """Return where the list is: one for each name given to this machine.

    Containers may share a cache folder, and have one path each for clips of their own.
    """
    name = os.environ.get("EARSIGHT_MACHINE")
    own = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}" if name else ""
    return private(library) / f"folders{own}"


def remember_folder(library: Remote, name: str, root: Path) -> None:
    """Note that this machine feeds a folder of clips to a library on S3."""
    if own_folders(library).get(name) == root:
        return
    folder = _list_of_folders(library)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f".{name}.{os.getpid()}"
        draft.write_bytes(os.fsencode(root))
        draft.replace(folder / name)
    except OSError as error:
        raise LibraryError(f"{folder} could not be written: {error}.") from error


def drop_own_folder(library: Remote, name: str) -> None:
    """Note that this machine feeds a folder no more."""
    (_list_of_folders(library) / name).unlink(missing_ok=True)


def place_of_lock(library: Place, root: Path) -> Path:
    """Return the folder whose lock lets one process at a time work for a folder of clips.

    On S3 each folder of clips has a lock of its own: folders do not wait for each other.
    """
    if isinstance(library, Path):
        return library
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()
    return private(library) / f"lock-{digest[:16]}"


@contextmanager
def locked(folder: Path, library: Place | None = None, *, follow: bool = True) -> Iterator[None]:
    """Make the folder if need be and hold it for writing; a killed holder lets go by itself.

    Args:
        folder: Where the lock is.
        library: What messages call it; default: the folder.
        follow: Whether the folder may be a link; one called `.earsight` never may.

    Raises:
        LibraryError: Another process is indexing this library, or the folder cannot be written, or
            is a link that is not followed.
    """
    with _taken(folder, library or folder, follow=follow and folder.name != FOLDER) as file:
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        except OSError as error:
            raise LibraryError(unwritten(folder, error)) from error
        yield


def _taken(folder: Path, library: Place, *, follow: bool) -> TextIO:
    """Return the lock's file, locked. One that its last holder removed with the folder is none."""
    while True:
        try:
            with suppress(FileExistsError):  # no folder: that it is opened says what it is
                folder.mkdir(parents=True, exist_ok=True)
            with open_directory(folder, follow=follow) as opened:
                file = os.fdopen(opened.open(LOCK, os.O_RDWR | os.O_CREAT), "r+")
        except OSError as error:
            raise LibraryError(unwritten(folder, error)) from error
        state = os.fstat(file.fileno())
        try:
            refuse_second_name(folder / LOCK, state.st_nlink)
            if not _held(file, fcntl.LOCK_EX):
                raise LibraryError(
                    f"Another earsight (process {_holder(file)}) is at work on "
                    f"the library {library}. Wait for it, or stop it; nothing was changed."
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(state, (folder / LOCK).lstat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def refuse_second_name(path: Path, names: int) -> None:
    """Refuse to write into a file that has another name too, which may be a file of the user's."""
    if names > 1:
        raise LibraryError(
            f"{path} has {names} names (hard links), so that writing it would change a file "
            f"elsewhere. Give the library a copy of its own: cp {path} COPY && mv COPY {path}"
        )


def held_by(folder: Path) -> str | None:
    """Return the process that writes in this library just now, None where there is none."""
    try:
        with (
            open_directory(folder, follow=folder.name != FOLDER) as opened,
            os.fdopen(opened.open(LOCK)) as file,
        ):
            return None if _held(file, fcntl.LOCK_SH) else _holder(file)
    except OSError:  # none has ever written here, or it may not be looked at
        return None


def _held(file: TextIO, kind: int) -> bool:
    """Take the lock if it is free; one that only looks (`held_by`) lets go at once."""
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE)
    return False


def _holder(file: TextIO) -> str:
    file.seek(0)
    found = file.read(20).strip()
    return found if found.isdecimal() else "unknown"


def unwritten(folder: Place, error: Exception) -> str:
    """Say that something could not be written, how much room there is, and what to do."""
    if isinstance(folder, Remote):
        return (
            f"The library {folder} could not be written, or a file of this machine that it takes: "
            f"{error}. What was there before is still there; run the same command again."
        )
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free / 2**20
    if isinstance(error, OSError) and error.errno in (13, 30):  # EACCES, EROFS
        return (
            f"The library {folder} is read-only ({error}). Make it writable, or keep the library "
            "elsewhere: earsight index CLIPS --library DIR."
        )
    return (
        f"The library {folder} could not be written: {error}. {free:.0f} MiB are free on its disk. "
        "What was there before is still there; run the same command again."
    )

"""How a library is found and opened, wherever it lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.folder_handle import open_directory
from earsight.library.catalog.location import FOLDER, lock_holder, locked
from earsight.library.catalog.s3 import RemoteCatalog, exists_at
from earsight.library.catalog.s3_lock import WriterLock, writers
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.sqlite_schema import FILE
from earsight.storage import Location, parse_location


def library_of_clips(clips: Path, library: str | Location | None) -> Location:
    """Return where the library of a folder of clips is: `library`, or `.earsight` inside it."""
    library = None if library is None else parse_location(library)
    if library is None or (
        isinstance(library, Path) and library.is_dir() and library.samefile(clips)
    ):
        return clips / FOLDER
    if isinstance(library, Path) and library.name == FOLDER and library != clips / FOLDER:
        raise InputError(
            f"{FOLDER} is the name of a library that lies inside its folder of clips; {library} is "
            f"not in {clips}. Choose another name: --library DIR."
        )
    if isinstance(library, Path) and library.exists() and not library.is_dir():
        raise LibraryError(
            f"A library is a folder; {library} is a file. Choose another name: --library DIR."
        )
    return library


def find_library(name: str | Location) -> Location:
    """Return the library that a name means: itself, or the `.earsight` inside it.

    Raises:
        LibraryError: Neither is a library; the message says which command makes one.
        StorageError: An address on S3 that cannot be reached.
    """
    location = parse_location(name)
    if not isinstance(location, Path):
        if exists(location):
            return location
        raise LibraryError(
            f"There is no library at {location}. "
            f"Make one: earsight index CLIPS --library {location}"
        )
    for folder in (location, location / FOLDER):
        if exists(folder):
            return folder
    if not location.exists():
        raise LibraryError(f"There is no folder {location}.")
    raise LibraryError(
        f"{location.absolute()} has not been indexed yet. "
        f"Run: earsight index {quote(str(location))}"
    )


def exists(library: Location) -> bool:
    """Whether there is a library.

    Raises:
        LibraryError: `.earsight` is a link.
        StorageError: An address on S3 that cannot be reached.
    """
    if not isinstance(library, Path):
        return exists_at(library)
    if library.name == FOLDER and library.is_symlink():
        with open_directory(library):  # raises
            pass
    return (library / FILE).is_file()


def writer_of(library: Location) -> str | None:
    """Return the process that writes in a library just now; None where there is none."""
    if isinstance(library, Path):
        return lock_holder(library)
    return next(map(str, writers(library)), None)


def open_library(location: str | Location) -> Catalog:
    """Open a library to read it.

    Args:
        location: The clips folder, the library folder itself, or its address.

    Raises:
        LibraryError: There is none, a newer Earsight wrote it, or it is damaged.
        StorageError: Its address on S3 cannot be reached.
    """
    library = find_library(location)
    if isinstance(library, Path):
        return Catalog.at(library)
    return RemoteCatalog.read_from(library)


@contextmanager
def open_for_writing(location: str | Location) -> Iterator[Catalog]:
    """Lock a library and open it to write in it; others can read it meanwhile.

    Args:
        location: The clips folder, the library folder itself, or its address.

    Raises:
        LibraryError: No library, another process writes in it, or it cannot be written.
        StorageError: Its address on S3 cannot be reached.
    """
    library = find_library(location)
    if isinstance(library, Path):
        with locked(library), Catalog.at(library, write=True) as catalog:
            yield catalog
    else:
        with (
            WriterLock(library) as lock,
            RemoteCatalog.read_from(library, check_held=lock.check) as remote,
        ):
            yield remote


@contextmanager
def open_for_indexing(library: Location, clips: Path, *, agree: bool) -> Iterator[Catalog]:
    """Lock the library of a folder of clips and open it; an empty one is made if there is none.

    Args:
        library: Where it is, or will be.
        clips: The folder.
        agree: Whether the user agrees that the library is about this folder from now on.

    Raises:
        LibraryError: As `open_for_writing`; or the library is about another folder.
    """
    if isinstance(library, Path):
        with locked(library), Catalog.made(library) as catalog:
            catalog.bind(clips, agree=agree)
            yield catalog
    else:
        with (
            WriterLock(library) as lock,
            RemoteCatalog.made_at(library, check_held=lock.check) as remote,
        ):
            remote.bind(clips, agree=agree)
            yield remote

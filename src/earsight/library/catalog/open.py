"""How a library is found and opened, wherever it lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from earsight.errors import LibraryError
from earsight.library.catalog.folder_handle import open_directory
from earsight.library.catalog.location import FOLDER, held_by, locked
from earsight.library.catalog.s3 import RemoteCatalog, exists_at
from earsight.library.catalog.s3_lock import WriterLock, writers
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.sqlite_schema import FILE
from earsight.storage import Location, parse_location


def find(library: str | Location) -> Location:
    """Return the library that a name means: itself, or the `.earsight` inside it.

    Raises:
        LibraryError: Neither is a library; the message says which command makes one.
        StorageError: An address on S3 that cannot be reached.
    """
    place = parse_location(library)
    if not isinstance(place, Path):
        if exists(place):
            return place
        raise LibraryError(
            f"There is no library at {place}. Make one: earsight index CLIPS --library {place}"
        )
    for folder in (place, place / FOLDER):
        if exists(folder):
            return folder
    if not place.exists():
        raise LibraryError(f"There is no folder {place}.")
    raise LibraryError(
        f"{place.absolute()} has not been indexed yet. Run: earsight index {quote(str(place))}"
    )


def exists(library: Location) -> bool:
    """Whether there is a library.

    Raises:
        LibraryError: A link lies in its place.
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
        return held_by(library)
    return next(map(str, writers(library)), None)


def open_catalog(library: Location) -> Catalog:
    """Open a library to read it.

    Raises:
        LibraryError: There is none, it was written by a newer Earsight, or it is damaged.
        StorageError: Its address on S3 cannot be reached.
    """
    if isinstance(library, Path):
        return Catalog.at(library)
    return RemoteCatalog.read_from(library)


@contextmanager
def writing(library: str | Location) -> Iterator[Catalog]:
    """Hold a library and open it to write in it; others can read it meanwhile.

    Args:
        library: The clips folder, the library folder itself, or its address.

    Raises:
        LibraryError: No library, another process writes in it, or it cannot be written.
        StorageError: Its address on S3 cannot be reached.
    """
    place = find(library)
    if isinstance(place, Path):
        with locked(place), Catalog.at(place, write=True) as catalog:
            yield catalog
    else:
        with (
            WriterLock(place) as lock,
            RemoteCatalog.read_from(place, check_held=lock.check) as remote,
        ):
            yield remote


@contextmanager
def making(library: Location, root: Path) -> Iterator[Catalog]:
    """Do the same as `writing`; an empty library is made where there is none.

    Args:
        library: Where it is, or will be.
        root: The folder of its clips.
    """
    if isinstance(library, Path):
        with locked(library), Catalog.made(library, root) as catalog:
            yield catalog
    else:
        with (
            WriterLock(library) as lock,
            RemoteCatalog.made_at(library, root, check_held=lock.check) as remote,
        ):
            yield remote

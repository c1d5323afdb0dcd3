"""The catalog of a library on S3: the same SQLite file as on a disk, as one object.

Whoever reads has a copy of it in memory, and asks before each question whether the object is
another one by now. Whoever writes is alone (`s3_lock`), changes its copy, and sends the whole of it
after each change: what a call wrote is on S3 when the call returns.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from earsight.errors import LibraryError
from earsight.library.catalog.s3_format2 import convert_tables, has_tables, remove_tables
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.sqlite_schema import FILE, empty_database, open_bytes
from earsight.storage import Remote


def exists_at(library: Remote) -> bool:
    """Whether there is a library at an address."""
    return (library / FILE).info() is not None or has_tables(library)


class RemoteCatalog(Catalog):
    """The catalog of a library on S3.

    Args:
        library: Its address.
        data: What its object holds.
        tag: The entity tag of that object; None where there is none yet.
        check_held: Checks that this process still holds the library for writing; None: it reads.
    """

    folder: Remote

    def __init__(
        self,
        library: Remote,
        data: bytes,
        *,
        tag: str | None,
        check_held: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(library, open_bytes(library, data), write=check_held is not None)
        self._tag, self._check_held = tag, check_held
        self._is_unsent = tag is None
        self._n_loaded = 1

    @classmethod
    def read_from(
        cls, library: Remote, *, check_held: Callable[[], None] | None = None
    ) -> "RemoteCatalog":
        """Open the library at an address.

        Raises:
            LibraryError: It is damaged or newer, or several folders of clips feed it.
            StorageError: The address cannot be reached.
        """
        tag = (library / FILE).tag()
        data = convert_tables(library) if tag is None else (library / FILE).read()
        return cls(library, data, tag=tag, check_held=check_held)

    @classmethod
    def made_at(cls, library: Remote, *, check_held: Callable[[], None]) -> "RemoteCatalog":
        """Open the library at an address for writing; an empty one is made if need be."""
        if exists_at(library):
            catalog = cls.read_from(library, check_held=check_held)
        else:
            catalog = cls(library, empty_database(), tag=None, check_held=check_held)
        catalog._identify()
        return catalog

    def file_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield the name of each object of the library, relative to it, and its size in bytes."""
        for name, info in self.folder.walk():
            yield name, info.size

    @property
    def version(self) -> int:
        """A number that is another one after somebody wrote: one request, and another copy."""
        if self._check_held is None and (tag := (self.folder / FILE).tag()) != self._tag:
            if tag is None:
                raise LibraryError(f"The library {self.folder} is gone.")
            fresh = open_bytes(self.folder, (self.folder / FILE).read())
            self._db.close()
            self._db, self._tag = fresh, tag
            self._db.row_factory = sqlite3.Row
            self._n_loaded += 1
        return self._n_loaded

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, and the object that holds it.

        Raises:
            LibraryError: This process only reads, or another one took over.
            StorageError: The object could not be written; what it held before is still there.
        """
        if self._check_held is None:
            raise LibraryError(f"The library {self.folder} was opened for reading alone.")
        before = self._db.total_changes
        with super().writing() as db:
            yield db
        if self._db.total_changes == before and not self._is_unsent:
            return
        self._check_held()
        (self.folder / FILE).write(self._db.serialize())
        if self._is_unsent:
            remove_tables(self.folder)
            self._is_unsent = False

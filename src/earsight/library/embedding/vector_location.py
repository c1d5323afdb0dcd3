"""The table of an embedding that may lie in an index elsewhere: on a server, by its address.

There the library is one of many, and may be copied. So each table has a name that no other has, and
the library remembers what it made: nothing else on the server is ever looked at.
"""

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from earsight.errors import LibraryError, StorageError
from earsight.library.catalog.records import SERVER_TABLE, Embedding, damaged
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.feature_tables import embedding_table
from earsight.vectors import EMBEDDED, VectorTable, check_address, reach

FACTS = ("index", "table", "dim")
"""What an embedding's `info` holds of a table elsewhere."""

_ID = "id"
_MADE = "made:"  # and a table's name: its index, and when it was to be made; a fact for each


@dataclass(frozen=True)
class VectorLocation:
    """Where the vectors of an embedding are: a table of an index."""

    index: str
    table: str

    @classmethod
    def of(cls, embedding: Embedding) -> "VectorLocation":
        """Return where an embedding says that its vectors are."""
        return cls(embedding.index, embedding.table)

    def open(self, catalog: Catalog) -> VectorTable:
        """Return the table, whether or not it is there.

        Raises:
            NotTrustedError: It is on a server that nobody on this machine agreed to.
        """
        catalog.trust.check(requests_of({"index": self.index}), _without(catalog))
        return embedding_table(catalog.folder, self.table, self.index)

    def facts(self, table: VectorTable) -> dict[str, Any]:
        """Return what an embedding's `info` holds of it; of the embedded index only its name."""
        if self.index == EMBEDDED:
            return {"table": self.table}
        return dict(zip(FACTS, (self.index, self.table, table.dim), strict=True))


def new_location(catalog: Catalog, number: int, index: str) -> VectorLocation:
    """Return where the vectors of embedding `number` are to be written.

    A table on a server is noted in the library first, so that a kill leaves nothing there that
    nobody knows.
    """
    if index == EMBEDDED:
        return VectorLocation(index, f"embedding-{number}")
    own = catalog.get(_ID) or secrets.token_hex(8)
    if not isinstance(own, str) or not re.fullmatch("[0-9a-f]{16}", own):
        raise damaged(catalog.folder, "its id is no id")
    catalog.set(_ID, own)
    location = VectorLocation(index, f"earsight_{own}_{number}_{secrets.token_hex(4)}")
    catalog.set(f"{_MADE}{location.table}", [location.index, time.time()])
    return location


def drop_table(catalog: Catalog, location: VectorLocation) -> None:
    """Remove a table that will not answer; one that stays goes with the next move or index."""
    with suppress(LibraryError, StorageError):
        location.open(catalog).drop()
        if location.index != EMBEDDED:
            catalog.unset([f"{_MADE}{location.table}"])


def table_of(catalog: Catalog, embedding: Embedding) -> VectorTable:
    """Return the table of an embedding, whether or not it is there; see `VectorLocation.open`."""
    return VectorLocation.of(embedding).open(catalog)


def open_table(catalog: Catalog, embedding: Embedding) -> VectorTable:
    """Return the vectors of an embedding, having checked that a server still has them.

    Raises:
        LibraryError: The server does not answer, or its table is gone or another one.
    """
    table = table_of(catalog, embedding)
    if embedding.index == EMBEDDED:
        return table  # what is wrong with files is found when they are read
    try:
        wrong = _wrong(table, embedding)
    except LibraryError as error:
        raise LibraryError(f"{error} {_without(catalog)}") from error
    if wrong:
        raise LibraryError(
            f"The vectors of the library {catalog.folder} are not what was written: on "
            f"{embedding.index} collection {embedding.table!r} {wrong}. "
            f"Make them anew: {catalog.index_command} --rebuild"
        )
    return table


def _wrong(table: VectorTable, embedding: Embedding) -> str:
    if not table.exists:
        return "is gone"
    if table.dim != embedding.info["dim"]:
        return f"has width {table.dim} where {embedding.info['dim']} was written"
    n_rows = table.count()
    if n_rows != embedding.n_rows:
        return f"has {n_rows} rows where {embedding.n_rows} were written"
    return ""


def check_reachable(catalog: Catalog, index: str) -> None:
    """Check that the index of a library can be used, before its clips are read.

    Raises:
        LibraryError: It cannot.
    """
    catalog.trust.check(requests_of({"index": index}), _without(catalog))
    try:
        reach(index)
    except LibraryError as error:
        raise LibraryError(f"{error} {_without(catalog)}") from error


def _without(catalog: Catalog) -> str:
    return f"To do without that server: {catalog.index_command} --index embedded"


def _checked_address(catalog: Catalog, fact: object) -> str:
    """Return the address of the index in which a table was to be made."""
    if isinstance(fact, list) and len(fact) == 2 and isinstance(fact[0], str):
        return check_address(fact[0])
    raise damaged(catalog.folder, "a table on a server is not its address and time")


def drop_left(catalog: Catalog, current: Embedding) -> list[str]:
    """Remove the tables on servers that do not answer; return what could not be removed, as text.

    What could not be removed is told once and forgotten: its server may never come back.
    """
    told = []
    for name, fact in catalog.facts(_MADE).items():
        location = VectorLocation(_checked_address(catalog, fact), name)
        if location == VectorLocation.of(current):
            continue
        if SERVER_TABLE.fullmatch(name):
            try:
                location.open(catalog).drop()
            except LibraryError as error:
                told.append(f"Collection {name} is left on {location.index}: {error}")
        catalog.unset([f"{_MADE}{name}"])
    return told

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
from earsight.library.catalog.base import Store
from earsight.library.catalog.records import SERVER_TABLE, Embedding, damaged
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.feature_tables import embedding_table, may_be_made
from earsight.library.indexing.sharing import GRACE
from earsight.vectors import EMBEDDED, VectorTable, check_address, reach

FACTS = ("index", "table", "dim")
"""What an embedding's `info` holds of a table elsewhere."""

_ID = "id"
_MADE = "made:"  # and a table's name: its index, and when it was to be made; a fact for each


@dataclass(frozen=True)
class Place:
    """Where the vectors of an embedding are: a table of an index."""

    index: str
    table: str

    @property
    def number(self) -> int:
        """Number of the embedding, of a table on a server."""
        return int(self.table.split("_")[2])

    def open(self, store: Store) -> VectorTable:
        """Return the table, whether or not it is there.

        Raises:
            NotTrustedError: It is on a server that nobody on this machine agreed to.
        """
        store.trust.check(requests_of({"index": self.index}, None), _without(store))
        return embedding_table(store.folder, self.table, self.index)

    def facts(self, table: VectorTable) -> dict[str, Any]:
        """Return what an embedding's `info` holds of it; of the embedded index only its name."""
        if self.index == EMBEDDED:
            return {"table": self.table}
        return dict(zip(FACTS, (self.index, self.table, table.dim), strict=True))


def new_place(store: Store, number: int, index: str) -> Place:
    """Return where the vectors of embedding `number` are to be written.

    It is remembered first, so that a kill leaves nothing on a server that nobody knows. On S3 one
    that was silent for long may still write when another one moves the same embedding: so what is
    written, or dropped, there is nobody else's.
    """
    if index == EMBEDDED:
        mark = f"-{secrets.token_hex(4)}" if store.shared else ""
        return Place(index, f"embedding-{number}{mark}")
    own = store.get(_ID) or secrets.token_hex(8)
    if not isinstance(own, str) or not re.fullmatch("[0-9a-f]{16}", own):
        raise damaged(store.folder, "its id is no id")
    store.set(_ID, own)
    place = Place(index, f"earsight_{own}_{number}_{secrets.token_hex(4)}")
    store.set(f"{_MADE}{place.table}", [place.index, time.time()])
    return place


def leave(store: Store, place: Place) -> None:
    """Remove a table that will not answer; what cannot be removed goes with the next move or index.

    Only by who made it.
    """
    with suppress(LibraryError, StorageError):
        place.open(store).drop()
        if place.index != EMBEDDED:
            store.unset([f"{_MADE}{place.table}"])


def table_of(store: Store, embedding: Embedding) -> VectorTable:
    """Return the table of an embedding, whether or not it is there; see `Place.open`."""
    return Place(embedding.index, embedding.table).open(store)


def open_table(store: Store, embedding: Embedding) -> VectorTable:
    """Return the vectors of an embedding, having checked that a server still has them.

    Raises:
        LibraryError: The server does not answer, or its table is gone or another one.
    """
    table = table_of(store, embedding)
    if embedding.index == EMBEDDED:
        return table  # what is wrong with files is found when they are read
    try:
        wrong = _wrong(table, embedding)
    except LibraryError as error:
        raise LibraryError(f"{error} {_without(store)}") from error
    if wrong:
        raise LibraryError(
            f"The vectors of the library {store.folder} are not what was written: on "
            f"{embedding.index} collection {embedding.table!r} {wrong}. "
            f"Make them anew: {store.index_command} --rebuild"
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


def check_reachable(store: Store, index: str) -> None:
    """Check that the index of a library can be used, before its clips are read.

    Raises:
        LibraryError: It cannot.
    """
    store.trust.check(requests_of({"index": index}, None), _without(store))
    try:
        reach(index)
    except LibraryError as error:
        raise LibraryError(f"{error} {_without(store)}") from error


def _without(store: Store) -> str:
    return f"To do without that server: {store.index_command} --index embedded"


def _checked_fact(store: Store, fact: object) -> tuple[str, float]:
    """Return the address of an index, and when a table was to be made there."""
    if isinstance(fact, list) and len(fact) == 2:
        index, since = fact
        if isinstance(index, str) and isinstance(since, int | float) and 0 <= since < 1e11:
            return check_address(index), since
    raise damaged(store.folder, "a table on a server is not its address and time")


def drop_left(store: Store, current: Embedding, *, moved: bool = False) -> list[str]:
    """Remove the tables elsewhere that do not answer; return what could not be removed, for people.

    What could not be removed is told once and forgotten: its server may never come back. Where
    several machines write, what another may be making stays; and what is not there may be about to
    be made by one that does not know yet that it was overtaken, so it is looked for for an hour.

    Args:
        store: The library.
        current: What answers.
        moved: It was moved just now, by who asks.
    """
    told = []
    for name, fact in store.facts(_MADE).items():
        index, since = _checked_fact(store, fact)
        place = Place(index, name)
        if SERVER_TABLE.fullmatch(name):
            if place == Place(current.index, current.table):
                continue
            if may_be_made(store, current, place.number, moved):
                continue
            try:
                table = place.open(store)
                may_come = not table.exists and store.shared and time.time() - since < GRACE
                table.drop()
            except LibraryError as error:
                told.append(f"Collection {name} is left on {index}: {error}")
            else:
                if may_come:
                    continue
        store.unset([f"{_MADE}{name}"])
    return told

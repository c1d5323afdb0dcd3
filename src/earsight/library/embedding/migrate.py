"""Move the vectors that a library searches into another index; nothing is read or learned again."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass, replace

import numpy as np

from earsight import storage
from earsight.arrays import FloatArray
from earsight.errors import LibraryError, OvertakenError, StorageError
from earsight.library.catalog.base import Store, writing
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.feature_tables import drop_embeddings
from earsight.library.embedding.vector_location import (
    FACTS,
    Place,
    check_reachable,
    drop_left,
    leave,
    new_place,
    open_table,
)
from earsight.library.progress import Progress, Silent
from earsight.vectors import Row, VectorTable, check_address

_STEP = 1000  # rows between two signs of life


@dataclass(frozen=True)
class Moved:
    """What `move` did.

    Attributes:
        library: Its folder.
        before, after: The index its vectors were in, and the one they are in now.
        n_rows: Rows moved; none where they were there already.
        checksum: Of all rows, whatever their order, as sent and as read back.
        seconds: Wall-clock time.
        left: What of the old index could not be removed, for people.
    """

    library: str | storage.Place
    before: str
    after: str
    n_rows: int
    checksum: str
    seconds: float
    left: list[str]


class Sums:
    """The number of rows, and a checksum that does not depend on their order.

    Each row is hashed with its vector (SHA-256), and the hashes are added up modulo 2²⁵⁶.
    """

    def __init__(self) -> None:
        self.n_rows = self._sum = 0

    def add(self, rows: list[Row], vectors: FloatArray) -> None:
        """Add rows with their vectors (n, dim), which count as float32."""
        for row, vector in zip(rows, np.asarray(vectors, dtype="<f4"), strict=True):
            known = repr(astuple(row)).encode("utf-8", "surrogatepass")
            digest = hashlib.sha256(hashlib.sha256(known).digest() + vector.tobytes()).digest()
            self._sum = (self._sum + int.from_bytes(digest)) % (1 << 256)
            self.n_rows += 1

    @property
    def checksum(self) -> str:
        """The sum as 64 hexadecimal digits."""
        return f"{self._sum:064x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and (self.n_rows, self._sum) == (other.n_rows, other._sum)

    __hash__ = None  # type: ignore[assignment]


def move(library: str | storage.Place, index: str, *, progress: Progress | None = None) -> Moved:
    """Copy a library's vectors into another index, check them there, and search there from now on.

    The library answers from the old index until all rows are in the new one and have been read
    back; then it is switched in one step and the old table is removed. Whatever happens before
    leaves the library as it was, and the same command can be run again.

    Args:
        library: The clips folder, or the library folder itself.
        index: "embedded", or "milvus://host:port".
        progress: Is told what happens.

    Raises:
        InputError: No such index.
        LibraryError: No library, none that answers yet, a server that does not answer, rows that
            arrived otherwise than they were sent; or another machine moves the library, or
            embedded it anew meanwhile.
    """
    begun = time.monotonic()
    progress = progress or Silent()
    index = check_address(index)
    with writing(library) as store, store.alone("moving") as check_alone:
        store.trust.allow(requests_of({"index": index}, None))
        current = store.current()
        if current is None:
            raise LibraryError(
                f"The library {store.folder} has nothing that answers yet. "
                f"Run: {store.index_command}"
            )
        before, n_rows, checksum = current.index, 0, ""
        if before == index:
            store.relocate(current, current)  # another index may have been asked for in vain
        else:
            check_reachable(store, index)
            target = new_place(store, current.id, index)
            try:
                n_rows, checksum = _copy(store, current, target, progress)
                info = {name: one for name, one in current.info.items() if name not in FACTS}
                moved = replace(current, info=info | target.facts(target.open(store)))
                check_alone()
            except BaseException as error:
                leave(store, target)
                if isinstance(error, LibraryError):
                    _check_answers(store, current, error)
                raise
            _switch(store, current, moved, target)
            current = moved
        left = _tidy(store, current, check_alone)
    return Moved(store.folder, before, index, n_rows, checksum, time.monotonic() - begun, left)


def _switch(store: Store, current: Embedding, moved: Embedding, target: Place) -> None:
    """Let the new table answer.

    Whatever breaks this off, it may have come to be, or come to be later on. So the new table stays
    unless it was refused; one that does not answer goes with the next move or index.
    """
    try:
        store.relocate(moved, current)
    except OvertakenError as error:
        with suppress(LibraryError, StorageError):
            answering = store.current()
            if answering is None or Place(answering.index, answering.table) != target:
                leave(store, target)
        _check_answers(store, current, error)
        raise


def _tidy(store: Store, current: Embedding, check_alone: Callable[[], None]) -> list[str]:
    """Remove the old tables, unless another machine may be moving it again by now."""
    try:
        check_alone()
    except (LibraryError, StorageError):
        return []  # it is moved, and what is left goes with the next move or index
    drop_embeddings(store, current, moved=True)
    return drop_left(store, current, moved=True)


def _check_answers(store: Store, current: Embedding, error: LibraryError) -> None:
    """Word an error as what it comes from, where another embedding answers by now."""
    later = None
    with suppress(LibraryError, StorageError):  # what it comes from is told
        later = store.current()
    if later is not None and later.id != current.id:
        raise LibraryError(
            f"The library {store.folder} was embedded anew by another machine meanwhile, and is as "
            "it left it. Run the same command again to move what answers now."
        ) from error


def _copy(store: Store, current: Embedding, place: Place, progress: Progress) -> tuple[int, str]:
    """Copy all rows to a table that is not there yet, and compare what arrived."""
    source, target = open_table(store, current), place.open(store)
    target.drop()  # what a killed move left
    target.create(source.dim)
    sent = _sums("Copying vectors, thousands", source, current, progress, target)
    if sent.n_rows != current.n_rows:
        raise LibraryError(
            f"{sent.n_rows} rows are in the index {current.index}; {current.n_rows} were "
            f"written. Make them anew: {store.index_command} --rebuild"
        )
    target.optimize()
    arrived = _sums("Reading them back, thousands", target, current, progress)
    if arrived != sent:
        raise LibraryError(
            f"{sent.n_rows} rows were sent to {place.index}, {arrived.n_rows} arrived, or with "
            "other values; they were removed there. Nothing else was changed."
        )
    return sent.n_rows, sent.checksum


def _sums(
    what: str,
    table: VectorTable,
    current: Embedding,
    progress: Progress,
    copy: VectorTable | None = None,
) -> Sums:
    """Read a table to its end, writing its rows into `copy`."""
    sums, told = Sums(), 0
    progress.start(what, -(-current.n_rows // _STEP))
    for rows, vectors in table.read():
        if copy is not None:
            copy.upsert(rows, vectors)
        sums.add(rows, vectors)
        for _ in range(told, sums.n_rows // _STEP):
            progress.advance()
        told = sums.n_rows // _STEP
    progress.finish()
    return sums

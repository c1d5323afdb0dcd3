"""Move the vectors that a library searches into another index; nothing is read or learned again."""

import hashlib
import time
from dataclasses import astuple, dataclass, replace

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import LibraryError
from earsight.library.catalog.open import open_for_writing
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.garbage import drop_embeddings
from earsight.library.embedding.vector_location import (
    FACTS,
    VectorLocation,
    check_reachable,
    drop_left,
    drop_table,
    new_location,
    open_table,
)
from earsight.library.progress import Progress, Silent
from earsight.storage import Location
from earsight.vectors import Row, VectorTable, check_address

_STEP = 1000  # rows between two steps of progress


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

    library: str | Location
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


def move(library: str | Location, index: str, *, progress: Progress | None = None) -> Moved:
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
            arrived otherwise than they were sent; or another process writes in the library.
    """
    begun = time.monotonic()
    progress = progress or Silent()
    index = check_address(index)
    with open_for_writing(library) as catalog:
        catalog.trust.allow(requests_of({"index": index}))
        current = catalog.current()
        if current is None:
            raise LibraryError(
                f"The library {catalog.folder} has nothing that answers yet. "
                f"Run: {catalog.index_command}"
            )
        before, n_rows, checksum = current.index, 0, ""
        if before == index:
            catalog.relocate(current)  # another index may have been asked for in vain
        else:
            check_reachable(catalog, index)
            target = new_location(catalog, current.id, index)
            try:
                n_rows, checksum = _copy(catalog, current, target, progress)
                info = {name: one for name, one in current.info.items() if name not in FACTS}
                moved = replace(current, info=info | target.facts(target.open(catalog)))
            except BaseException:
                drop_table(catalog, target)
                raise
            # Broken off here, either table may answer; the next move or index drops the other.
            catalog.relocate(moved)
            current = moved
        drop_embeddings(catalog.folder, current)
        left = drop_left(catalog, current)
    return Moved(
        library=catalog.folder,
        before=before,
        after=index,
        n_rows=n_rows,
        checksum=checksum,
        seconds=time.monotonic() - begun,
        left=left,
    )


def _copy(
    catalog: Catalog, current: Embedding, location: VectorLocation, progress: Progress
) -> tuple[int, str]:
    """Copy all rows to a table that is not there yet, and compare what arrived."""
    source, target = open_table(catalog, current), location.open(catalog)
    target.drop()  # what a killed move left
    target.create(source.dim)
    sent = _sums("Copying vectors, thousands", source, current, progress, copy=target)
    if sent.n_rows != current.n_rows:
        raise LibraryError(
            f"{sent.n_rows} rows are in the index {current.index}; {current.n_rows} were "
            f"written. Make them anew: {catalog.index_command} --rebuild"
        )
    target.optimize()
    arrived = _sums("Reading them back, thousands", target, current, progress)
    if arrived != sent:
        raise LibraryError(
            f"{sent.n_rows} rows were sent to {location.index}, {arrived.n_rows} arrived, or with "
            "other values; they were removed there. Nothing else was changed."
        )
    return sent.n_rows, sent.checksum


def _sums(
    what: str,
    table: VectorTable,
    current: Embedding,
    progress: Progress,
    *,
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

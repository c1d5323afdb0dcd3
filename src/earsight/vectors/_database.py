"""Where LanceDB keeps tables: a folder of this machine, or an address on S3.

A server that is not there is told of within seconds.
"""

import os
import re
import weakref
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from earsight.errors import LibraryError
from earsight.storage import Location, Remote, asking
from earsight.vectors._base import REBUILD
from earsight.vectors._lancedb import lancedb
from earsight.vectors._received import check_table, has_table, remove_table, tables_in

_OPTIONS = {  # of the object_store crate; without them a server that is gone is waited for minutes
    "connect_timeout": "5s",
    "timeout": "60s",
    "client_max_retries": "3",
    "client_retry_timeout": "20",
}
_AWKWARD = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # controls, and bytes that are no text
_HANDLES = Path("/proc/self/fd")
_CACHE_BYTES = 64 << 20  # of what is known of tables; the default is gigabytes
_INDEXED_ROWS = 20_000  # from so many on, a write on S3 looks keys up instead of reading them all


class FolderDatabase:
    """The tables in a folder of this machine; what is new in one is checked before LanceDB sees it.

    Args:
        folder: It need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the tables, sorted; none where there is no folder."""
        return [name for name in tables_in(self._folder) if has_table(self._folder, name)]

    def has(self, name: str) -> bool:
        """Whether a table has a version; one that was killed while being created has none."""
        return has_table(self._folder, name)

    def check(self, name: str) -> bool:
        """Check what is new in a table; return whether it has a version."""
        return check_table(self._folder, name)

    def create(self, name: str, schema: Any) -> None:
        """Make a table that is not there."""
        self.check(name)  # what a kill left may be there
        self._connect(_CACHE_BYTES).create_table(name, schema=schema)

    def open(self, name: str, held: int) -> Any:
        """Return a table, None where there is none.

        Args:
            name: Its name.
            held: Bytes of its indexes that may stay in memory.
        """
        return self._connect(held).open_table(name) if self.check(name) else None

    def drop(self, name: str) -> None:
        """Remove a table, readable or not; nothing happens where there is none."""
        remove_table(self._folder, name)

    def optimize(self, table: Any, keep: timedelta) -> None:
        """Merge its small files and remove versions older than `keep`."""
        table.optimize(cleanup_older_than=keep)

    def why(self, error: Exception) -> str:
        """Say what went wrong, and what to do."""
        cause = str(error)
        if re.search(r"(os error|Errno) (28|122)\b", cause):  # ENOSPC, EDQUOT
            return (
                "the disk is full. What was acknowledged is still there; make room and run again."
            )
        if re.search(r"(os error|Errno) (1|13|30)\b", cause):  # EPERM, EACCES, EROFS
            return "the folder is read-only. Give yourself write access, or use another folder."
        return f"it is damaged or was changed by hand ({cause}). {REBUILD}"

    def _connect(self, held: int) -> Any:
        session = lancedb().Session(held, _CACHE_BYTES)
        path = os.path.realpath(self._folder)  # LanceDB takes `..` away without looking at links
        if not _AWKWARD.search(path):
            return lancedb().connect(path, session=session)
        handle = _handle(Path(path))
        found = lancedb().connect(f"{_HANDLES}/{handle}", session=session)
        weakref.finalize(found, os.close, handle)  # a table keeps its connection
        return found


class RemoteDatabase:
    """The tables below an address on S3, with the methods of `FolderDatabase`."""

    def __init__(self, address: Remote) -> None:
        self._address = address

    def names(self) -> list[str]:
        """Return the names of the tables, sorted."""
        return sorted(self._connection.list_tables().tables)

    def has(self, name: str) -> bool:
        """Whether there is a table."""
        return self.open(name) is not None

    def check(self, _name: str) -> bool:
        """Return whether a table may have a version: nothing is looked at before it is opened."""
        return True

    def create(self, name: str, schema: Any) -> None:
        """Make a table that is not there."""
        self._connection.create_table(name, schema=schema)

    def open(self, name: str, _held: int = 0) -> Any:
        """Return a table, None where there is none."""
        try:
            return self._connection.open_table(name)
        except ValueError as error:
            if "was not found" not in str(error):
                raise
            return None

    def drop(self, name: str) -> None:
        """Remove a table; nothing happens where there is none."""
        if self.has(name):
            self._connection.drop_table(name)

    def optimize(self, table: Any, keep: timedelta) -> None:
        """Merge its small files, remove old versions, and look keys up where there are many."""
        from lancedb.index import BTree

        table.optimize(cleanup_older_than=max(keep, timedelta(hours=1)))  # readers may be slow
        columns = [column for index in table.list_indices() for column in index.columns]
        if "key" not in columns and table.count_rows() >= _INDEXED_ROWS:
            table.create_index("key", config=BTree())

    def why(self, error: Exception) -> str:
        """Say what went wrong, and what to do."""
        self._address.check_bucket()  # tells what is wrong there, if anything is
        cause = str(error)
        if "AccessDenied" in cause or "status: 403" in cause:
            return "access is refused. Ask for credentials that may; what was there is still there."
        return f"{cause} What was there is still there; run the same command again."

    @property
    def _connection(self) -> Any:
        return _remote(str(self._address), *asking())


def database_at(folder: Location | str) -> FolderDatabase | RemoteDatabase:
    """Return the tables of a folder or an address; nothing is asked of it yet."""
    if isinstance(folder, str | Path):
        return FolderDatabase(Path(folder))
    return RemoteDatabase(folder)


def _handle(path: Path) -> int:
    """Open a folder whose path LanceDB cannot take: it is given the path of the handle."""
    if not _HANDLES.is_dir():
        character = _AWKWARD.search(str(path))
        raise LibraryError(
            f"No tables can be kept in {str(path)!r}: LanceDB takes no path with "
            f"{character[0] if character else ''!r} on this system. Rename the folder, or keep the "
            "library elsewhere with --library."
        )
    path.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


@cache  # by who asks as well; a connection knows where its tables are, and saves asking again
def _remote(address: str, server: str | None, region: str | None, *_: str | None) -> Any:
    options = dict(_OPTIONS)
    if server:
        options |= {"endpoint": server, "allow_http": str(server.startswith("http://")).lower()}
    if region or server:
        options["region"] = region or "us-east-1"
    session = lancedb().Session(_CACHE_BYTES, _CACHE_BYTES)
    return lancedb().connect(address, storage_options=options, session=session)

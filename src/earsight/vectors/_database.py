"""Where LanceDB keeps tables: a folder of this machine, or an address on S3.

A server that is not there is told of within seconds.
"""

import os
import re
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from earsight.errors import LibraryError
from earsight.storage import Location, Remote, asking

_OPTIONS = {  # of the object_store crate; without them a server that is gone is waited for minutes
    "connect_timeout": "5s",
    "timeout": "60s",
    "client_max_retries": "3",
    "client_retry_timeout": "20",
}
_AWKWARD = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # controls, and bytes that are no text
_HANDLES = Path("/proc/self/fd")
_CACHE_BYTES = 64 << 20  # of what is known of tables; the default is gigabytes


def connect(place: Location, held: int = _CACHE_BYTES) -> Any:
    """Return the database at a place; nothing is asked of it yet.

    Args:
        place: Where its tables are.
        held: Bytes of its indexes that may stay in memory, on this machine.
    """
    if isinstance(place, Remote):
        return _remote(str(place), *asking())
    import lancedb

    session = lancedb.Session(held, _CACHE_BYTES)
    path = os.path.realpath(place)  # LanceDB takes `..` away without looking at links
    if not _AWKWARD.search(path):
        return lancedb.connect(path, session=session)
    handle = _handle(Path(path))
    found = lancedb.connect(f"{_HANDLES}/{handle}", session=session)
    weakref.finalize(found, os.close, handle)  # a table keeps its connection
    return found


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
    import lancedb

    options = dict(_OPTIONS)
    if server:
        options |= {"endpoint": server, "allow_http": str(server.startswith("http://")).lower()}
    if region or server:
        options["region"] = region or "us-east-1"
    session = lancedb.Session(_CACHE_BYTES, _CACHE_BYTES)
    return lancedb.connect(address, storage_options=options, session=session)


def is_missing(error: Exception) -> bool:
    """Whether LanceDB says that there is no such table."""
    return "was not found" in str(error)

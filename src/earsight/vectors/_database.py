"""Where LanceDB keeps tables: a folder of this machine, or an address on S3.

On S3 a commit is one conditional put, so that of two writers one goes second and nobody's rows are
lost; who goes second tries again. A server that is not there is told of within seconds.
"""

import logging
import os
import random
import re
import time
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from earsight.errors import LibraryError
from earsight.storage import Place, Remote, asking
from earsight.vectors._lancedb import lancedb

LOG = logging.getLogger(__name__)

_OPTIONS = {  # of the object_store crate; without them a server that is gone is waited for minutes
    "connect_timeout": "5s",
    "timeout": "60s",
    "client_max_retries": "3",
    "client_retry_timeout": "20",
}
_AWKWARD = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # controls, and bytes that are no text
_HANDLES = Path("/proc/self/fd")
_CACHE_BYTES = 64 << 20  # of what is known of tables; the default is gigabytes
_TRIES, _PAUSE = 8, 0.2  # seconds, more with each try
_KEY_MARK = {"lance-schema:unenforced-primary-key": "true"}

Done = TypeVar("Done")


def connect(place: Place, held: int = _CACHE_BYTES) -> Any:
    """Return the database at a place; nothing is asked of it yet.

    Args:
        place: Where its tables are.
        held: Bytes of its indexes that may stay in memory, on this machine.
    """
    if isinstance(place, Remote):
        return _remote(str(place), *asking())
    session = lancedb().Session(held, _CACHE_BYTES)
    path = os.path.realpath(place)  # LanceDB takes `..` away without looking at links
    if not _AWKWARD.search(path):
        return lancedb().connect(path, session=session)
    handle = _handle(Path(path))
    found = lancedb().connect(f"{_HANDLES}/{handle}", session=session)
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
    options = dict(_OPTIONS)
    if server:
        options |= {"endpoint": server, "allow_http": str(server.startswith("http://")).lower()}
    if region or server:
        options["region"] = region or "us-east-1"
    session = lancedb().Session(_CACHE_BYTES, _CACHE_BYTES)
    return lancedb().connect(address, storage_options=options, session=session)


def keyed(schema: Any) -> Any:
    """Mark `key` as what tells rows apart.

    Without it, two writers that bring one new key at the same moment would both add a row.
    """
    at = schema.get_field_index("key")
    return schema.set(at, schema.field(at).with_metadata(_KEY_MARK))


def in_turn(write: Callable[[], Done]) -> Done:
    """Return what a commit gives, tried again where another writer was faster."""
    for left in reversed(range(_TRIES)):
        try:
            return write()
        except Exception as error:  # LanceDB has no class for it
            if not left or not is_conflict(error):
                raise
            LOG.info("Another writer was faster; it is tried again.")
            time.sleep(_PAUSE * (_TRIES - left) * random.random())
    raise AssertionError("unreachable")


def is_conflict(error: Exception) -> bool:
    """Whether a commit failed because another one came first."""
    return any(sign in str(error).lower() for sign in ("conflict", "too many concurrent"))


def is_missing(error: Exception) -> bool:
    """Whether LanceDB says that there is no such table."""
    return "was not found" in str(error)

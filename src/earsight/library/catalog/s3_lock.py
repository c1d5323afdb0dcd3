"""One writer at a time in a library on S3: an object says who writes, and since when.

Whoever wants to write puts an object below LIBRARY/writer/ and then lists what lies there. S3 shows
every object in the next listing, so of two that come at the same moment at least one sees the
other, and who sees another takes its own object back and is refused. The object of a process that
was killed stays. Nobody guesses that a writer is dead: a person says so (`earsight unlock`).
"""

import getpass
import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass

from earsight.errors import InputError, LibraryError, StorageError
from earsight.library.catalog.base import now
from earsight.storage import Location, Remote
from earsight.untrusted import parse_json

_LONGEST = 100  # characters of a name


@dataclass(frozen=True)
class Writer:
    """Who writes: which process of which user on which machine, and since when (UTC)."""

    process: int
    user: str
    machine: str
    since: str

    def __str__(self) -> str:
        return f"{self.process} of {self.user} on {self.machine} since {self.since}"

    @classmethod
    def here(cls) -> "Writer":
        """Return this process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container may have no name for it
            user = f"user {os.getuid()}"
        return cls(os.getpid(), user, socket.gethostname(), now())

    @classmethod
    def parse(cls, data: bytes) -> "Writer":
        """Read what `here` wrote; anybody may have written it who may write to the bucket."""
        try:
            facts = parse_json(data)
            texts = [_plain(facts[name]) for name in ("user", "machine", "since")]
            return cls(int(facts["process"]), *texts)
        except (KeyError, TypeError, ValueError):
            return cls(0, "somebody", "some machine", "an unknown time")


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:_LONGEST])


class WriterLock:
    """Held for as long as a `with` goes on.

    Args:
        library: The address of the library.

    Raises:
        LibraryError: Another process writes.
        StorageError: The address cannot be reached or written.
    """

    def __init__(self, library: Remote) -> None:
        self._library = library
        self._record = _records(library) / secrets.token_hex(8)

    def __enter__(self) -> "WriterLock":
        self._library.check_bucket()
        self._record.write(json.dumps(asdict(Writer.here())).encode())
        others = _found(self._library)
        others.pop(self._record.name, None)
        if others:
            self._record.delete()
            first = min(others.values(), key=lambda writer: writer.since)
            raise LibraryError(
                f"The library {self._library} is being written by process {first}. Wait for it; "
                f"nothing was changed. If that process is dead, take over from it: earsight unlock "
                f"--library {self._library}, then the same command again."
            )
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._record.delete()
        except StorageError:
            if kind is None:  # else what went wrong first is told
                raise

    def check(self) -> None:
        """Check that nobody took over.

        Raises:
            LibraryError: Somebody did.
        """
        if self._record.info() is None:
            raise LibraryError(
                f"Somebody took over the library {self._library} from this process (earsight "
                "unlock). It stopped; what it acknowledged before that is kept."
            )


def writers(library: Remote) -> list[Writer]:
    """Return who writes in a library on S3: one process, unless several come just now."""
    return list(_found(library).values())


def unlock(library: Location) -> list[Writer]:
    """Take the library from whoever writes in it, because that process is dead.

    One that lives after all stops before it changes anything more.

    Returns:
        From whom it was taken.

    Raises:
        InputError: The library lies on a disk, where the end of a process unlocks it.
    """
    if not isinstance(library, Remote):
        raise InputError(
            f"The library {library} lies on a disk, where the lock of a process ends with it. Only "
            "libraries on S3 need to be unlocked."
        )
    found = _found(library)
    for name in found:
        (_records(library) / name).delete()
    return list(found.values())


def _records(library: Remote) -> Remote:
    return library / "writer"


def _found(library: Remote) -> dict[str, Writer]:
    found = {}
    for name, _ in _records(library).walk():
        with suppress(StorageError):  # it came to its end just now
            found[name] = Writer.parse((_records(library) / name).read())
    return found

"""Objects on S3 and what speaks its language: `s3://bucket/key`, by pyarrow's client.

Who may read and write is told by the environment, as for every tool: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION; AWS_ENDPOINT_URL names a server
of one's own. An object is whole or not there: a put that is cut off leaves what was there before.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from earsight.errors import InputError, StorageError
from earsight.untrusted import check_memory

_SCHEME = "s3://"
_CONNECT, _REQUEST = 5, 60  # seconds; a server that is not there is told within a few
_TRIES = 3
_BLOCK = 8 << 20  # bytes; a part of an upload must have 5 MiB
_PAGE = 256 << 10  # bytes that a small read of a part of a file takes
_PAGES = 32  # so many of them are kept


@dataclass(frozen=True)
class Info:
    """What tells one state of an object from another: size in bytes, time of its last writing."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Remote:
    """An object, or all objects whose keys begin with `key` and a slash.

    >>> str(Remote.parse("s3://sounds/dogs/") / "a.wav")
    's3://sounds/dogs/a.wav'
    """

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, address: str) -> "Remote":
        """Read `s3://bucket/key`.

        Raises:
            InputError: It is not of that form.
        """
        bucket, _, key = address.removeprefix(_SCHEME).partition("/")
        if not address.startswith(_SCHEME) or not bucket:
            raise InputError(f"An address must be s3://bucket/key; got {address!r}.")
        return cls(bucket, key.strip("/"))

    def __str__(self) -> str:
        return f"{_SCHEME}{self._path}"

    def __truediv__(self, name: str) -> "Remote":
        return Remote(self.bucket, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def _path(self) -> str:
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def check_bucket(self) -> None:
        """Check that the bucket is there and answers, before hours of work.

        Raises:
            StorageError: From this and every other method: nothing listens, no such bucket, access
                is refused, or the object is not there.
        """
        from pyarrow.fs import FileType

        with self._guard("reached") as files:
            if files.get_file_info(self.bucket).type == FileType.NotFound:
                raise StorageError(_no_bucket(self.bucket))

    def info(self) -> Info | None:
        """Return the state of the object, None where there is none."""
        with self._guard("reached") as files:
            found = files.get_file_info(self._path)
        return _info(found) if found.is_file else None

    def walk(self) -> Iterator[tuple[str, Info]]:
        """Yield (key relative to this one, state) of every object below, by key."""
        from pyarrow.fs import FileSelector

        with self._guard("listed") as files:
            below = FileSelector(self._path, recursive=True, allow_not_found=True)
            found = files.get_file_info(below)
        if not found:
            self.check_bucket()
        start = len(self._path) + 1
        for entry in sorted(found, key=lambda entry: entry.path):
            if entry.is_file:
                yield entry.path[start:], _info(entry)

    def download(self, to: Path) -> None:
        """Write the object to a local file."""
        with self._guard("read") as files:
            source = files.open_input_stream(self._path)
        # IsolatedWorker, so that a full disk here is not taken for trouble over there.
        with source, to.open("wb") as file:
            while True:
                with self._guard("read"):
                    block = source.read(_BLOCK)
                if not block:
                    break
                file.write(block)

    def upload(self, path: Path) -> None:
        """Write a local file to the object, which changes when all of it is there.

        It is one call of the client: a stream of ours that an interruption closed half way would
        leave half an object. So Ctrl-C waits for the end of it.
        """
        from pyarrow.fs import LocalFileSystem, copy_files

        with self._guard("written") as files:
            how = {"chunk_size": _BLOCK, "use_threads": False}
            copy_files(str(path), self._path, LocalFileSystem(), files, **how)

    def tag(self) -> str | None:
        """Return the entity tag, which differs between any two contents; None for no object."""
        with self._guard("reached") as files:
            try:
                found = files.open_input_stream(self._path).metadata()
            except FileNotFoundError:
                return None
        return str(found["ETag"], "ascii")

    def read(self) -> bytes:
        """Return what the object holds.

        Raises:
            InputError: It is larger than `untrusted.memory_limit` allows.
        """
        with self._guard("read") as files, files.open_input_file(self._path) as source:
            check_memory(f"The file {self}", source.size())
            return bytes(source.read())

    def write(self, data: bytes) -> None:
        """Let the object hold `data`, once all of it is there."""
        with TemporaryDirectory(prefix="earsight-") as folder:
            (Path(folder) / "file").write_bytes(data)
            self.upload(Path(folder) / "file")

    def delete(self) -> None:
        """Remove the object; nothing happens where there is none."""
        with self._guard("removed") as files:
            if files.get_file_info(self._path).is_file:
                with suppress(FileNotFoundError):  # another machine was faster
                    files.delete_file(self._path)

    @contextmanager
    def _guard(self, done: str) -> Iterator[Any]:
        """Give the client; word its errors as ours: which object, what failed, what to do."""
        try:
            yield _files(*asking())
        except FileNotFoundError as error:
            raise StorageError(f"There is no {self}. `aws s3 ls` shows what is there.") from error
        except OSError as error:
            if error.errno is not None and error.filename is not None:
                raise  # of a local file
            raise StorageError(f"{self} could not be {done}: {_advice(self, error)}") from error


class Ranged(io.RawIOBase):
    """An object as a file to read in: what is read is moved, and no more than a page around it.

    A container with a directory, as HDF5 is, is read so without its whole ever being here. Large
    reads take themselves alone; small ones whole pages, of which the last few are kept.

    Raises:
        StorageError: From this and every read: as `Remote` has it.
    """

    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self.remote, self.name = remote, remote.name
        self._info, self._at = remote.info(), 0
        with remote._guard("read") as files:
            self._file = files.open_input_file(remote._path)
            self._size = int(self._file.size())
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def __str__(self) -> str:
        return str(self.remote)

    def check(self) -> None:
        """Check that it is still the object that was opened.

        Raises:
            StorageError: It was written anew, so that what was read may be of both.
        """
        if self.remote.info() != self._info:
            raise StorageError(f"{self} was written anew while it was read. Run again.")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; return it."""
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"A place in a file must be at least 0; got {at}.")  # as files do
        self._at = at
        return self._at

    def close(self) -> None:
        """Let go of the object."""
        if not self.closed and hasattr(self, "_file"):  # it may not have come to be opened
            self._file.close()
            self._pages.clear()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from here on; return how many bytes there were."""
        wanted = memoryview(buffer).cast("B")
        n = max(0, min(len(wanted), self._size - self._at))
        if n >= _PAGE:
            wanted[:n] = self._moved(self._at, n)
        elif n:
            for number in range(self._at // _PAGE, -(-(self._at + n) // _PAGE)):
                start = number * _PAGE
                first, last = max(start, self._at), min(start + _PAGE, self._at + n)
                page = self._page(number)[first - start : last - start]
                wanted[first - self._at : last - self._at] = page
        self._at += n
        return n

    def _page(self, number: int) -> bytes:
        if number not in self._pages:
            start = number * _PAGE
            self._pages[number] = self._moved(start, min(_PAGE, self._size - start))
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(number)
        return self._pages[number]

    def _moved(self, start: int, n: int) -> bytes:
        with self.remote._guard("read"):
            found = bytes(self._file.read_at(n, start))
        if len(found) < n:
            raise StorageError(f"{self} is shorter than it was. Run again.")
        return found


Location = Path | Remote


def parse_location(place: str | Location) -> Location:
    """Return what a name means: an address on S3, or a local path.

    >>> parse_location("s3://bucket/clips"), parse_location("my-clips").name
    (Remote(bucket='bucket', key='clips'), 'my-clips')
    """
    if isinstance(place, Remote):
        return place
    text = str(place)
    if isinstance(place, Path) and text.startswith("s3:/"):  # pathlib makes one slash of two
        text = text.replace("s3:/", _SCHEME, 1)
    return Remote.parse(text) if text.startswith(_SCHEME) else Path(text)


def endpoint() -> str:
    """Return the server that is asked, as a person would name it."""
    return _environment()[0] or "Amazon S3"


def asking() -> tuple[str | None, ...]:
    """Return who asks whom: the server, the region, and what tells one asker from another."""
    return (*_environment(), *map(os.environ.get, _WHO))


def _environment() -> tuple[str, str]:
    """Return the address of the server and the region, "" where none is given."""
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    return server, region


_WHO = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


@cache  # by who asks as well: a client keeps the credentials that it began with
def _files(server: str, region: str, *_: str | None) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    return S3FileSystem(
        endpoint_override=server or None,
        region=region or ("us-east-1" if server else None),
        connect_timeout=_CONNECT,
        request_timeout=_REQUEST,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        background_writes=False,  # or what the network does not take yet piles up in memory
    )


def _info(found: Any) -> Info:
    return Info(int(found.size), int(found.mtime_ns))


def _no_bucket(bucket: str) -> str:
    return f"There is no bucket {bucket!r} at {endpoint()}. Check its name, or make it first."


def _advice(remote: Remote, error: OSError) -> str:
    cause = str(error)
    if "NO_SUCH_BUCKET" in cause:
        return _no_bucket(remote.bucket)
    if "NETWORK_CONNECTION" in cause or "curlCode" in cause:
        return (
            f"nothing answers at {endpoint()}. Check the network and AWS_ENDPOINT_URL; nothing was "
            "changed."
        )
    if any(sign in cause for sign in _REFUSALS):
        return (
            f"{endpoint()} refuses it. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or "
            f"AWS_PROFILE) of somebody who may ({cause})."
        )
    return cause


_REFUSALS = (
    *("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT_TOKEN_ID", "INVALID_SIGNATURE"),
    *("SIGNATURE_DOES_NOT_MATCH", "MISSING_AUTHENTICATION_TOKEN", "UNRECOGNIZED_CLIENT"),
    *("HTTP status 403", "HTTP status 401"),
)

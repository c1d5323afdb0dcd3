"""Files to search by: received into a private folder, and gone once they are answered."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request

from earsight.errors import InputError
from earsight.web.error_handlers import is_full
from earsight.web.temporary_folder import PrivateFolder, sweep


@dataclass(frozen=True)
class Limits:
    """What an upload may take.

    Attributes:
        bytes: Of the file.
        at_once: Uploads that are received or read at a time.
        idle: Seconds in which something must come.
        patience: Seconds that are always allowed, beside 1 s for each `slowest` bytes.
        slowest: Bytes a second.
        media_seconds: What a file may hold.
        reading: Seconds that reading it may take.
        waiting: Seconds that it waits for the one before it to be read.
    """

    bytes: int = 500_000_000
    at_once: int = 4
    idle: float = 15.0
    patience: float = 30.0
    slowest: int = 50_000
    media_seconds: float = 3600.0
    reading: float = 90.0
    waiting: float = 60.0


class UploadError(InputError):
    """An upload that is refused, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A file that was received; its name is for people alone."""

    path: Path
    name: str


class Inbox:
    """The private folder, for as long as the server runs."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._busy = 0
        sweep()
        self._private = PrivateFolder()
        self.folder = self._private.path()

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._private.close()

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """Take the one file of a multipart body; it is deleted at the end of the block.

        Raises:
            UploadError: Too large, too slow, too many at once, or not one file.
        """
        if self._busy >= self.limits.at_once:
            raise UploadError(429, f"{self._busy} files are being read; try again in a moment.")
        self._busy += 1
        path: Path | None = None
        try:
            try:
                self.folder = self._private.path()
                handle, name = tempfile.mkstemp(dir=self.folder)  # 0600, not the file's own name
                path = Path(name)
                with os.fdopen(handle, "wb") as file:
                    shown = await _receive(request, file, self.limits)
            except OSError as error:
                if not is_full(error):
                    raise
                raise UploadError(
                    507,
                    f"The file cannot be kept until it is answered: {error.strerror}. Make room in "
                    f"{tempfile.gettempdir()}, or set TMPDIR.",
                ) from error
            yield Upload(path, shown)
        finally:
            self._busy -= 1
            if path is not None:
                path.unlink(missing_ok=True)


async def _receive(request: Request, file: BinaryIO, limits: Limits) -> str:
    """Write the body's file into `file` as it comes; return the file's name."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise UploadError(415, "A file is sent as multipart/form-data, in a part with a file name.")
    parts = _Parts(file, limits.bytes)
    received = 0
    begun = time.monotonic()
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for chunk in _chunks(request, limits.idle):
            received += len(chunk)
            if received > limits.bytes + (1 << 16):  # headers of parts
                raise UploadError(413, _too_large(limits.bytes))
            if time.monotonic() - begun > limits.patience + received / limits.slowest:
                raise UploadError(
                    408, f"The upload is slower than {limits.slowest:,} bytes a second."
                )
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise UploadError(400, f"The body is no whole multipart/form-data: {error}.") from error
    if not parts.whole:
        raise UploadError(400, "The body holds no file; send one part with a file name.")
    return parts.name


async def _chunks(request: Request, idle: float) -> AsyncIterator[bytes]:
    from starlette.requests import ClientDisconnect

    stream = request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), idle)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadError(408, f"Nothing came for {idle:g} s; the upload was ended.") from error
        except ClientDisconnect as error:
            raise UploadError(400, "The upload was broken off.") from error
        yield chunk


class _Parts:
    """Follows the parser: exactly one part, which has a file name; its bytes go to the file."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._left, self._limit = file, limit, limit
        self._field, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self.name = ""
        self.whole = False

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        if self.whole or self._headers:
            raise UploadError(
                400, "The body must hold one file and nothing else; choices go into the address."
            )

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def _on_headers(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"filename")
        if name is None:
            raise UploadError(400, "The part must have a file name; choices go into the address.")
        shown = name.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
        self.name = "".join(c if c.isprintable() else "�" for c in shown)[:200] or "the file"
        self._headers.setdefault(b"content-disposition", b"")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._left -= end - start
        if self._left < 0:
            raise UploadError(413, _too_large(self._limit))
        self._file.write(data[start:end])

    def _end(self) -> None:
        self.whole = True


def _too_large(limit: int) -> str:
    return f"A file to search by may have {limit / 1e6:,.0f} MB at most; cut a shorter piece."

"""Files to search by: received into a private folder, and deleted after the search.

Starlette parses the form. It offers no limit on a file's size or on the time it takes.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from earsight.errors import BusyError
from earsight.web.error_handlers import is_full
from earsight.web.temporary_folder import TemporaryFolder, remove_abandoned

_FORM_OVERHEAD = 1 << 16  # bytes of a form beside its file


@dataclass(frozen=True)
class UploadLimits:
    """What an upload may take; times are in seconds."""

    bytes: int = 500_000_000  # of the file
    at_once: int = 4  # uploads that are received or read at a time
    idle: float = 15.0  # without a byte
    patience: float = 30.0  # always allowed, besides 1 s for each `slowest` bytes
    slowest: int = 50_000  # bytes a second
    media_seconds: float = 3600.0  # duration of the file
    reading: float = 90.0
    waiting: float = 60.0  # while another one is read


@dataclass(frozen=True)
class Upload:
    """A file that was received; its name is for people alone."""

    path: Path
    name: str


class UploadReceiver:
    """Receives files, for as long as the server runs."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._n_busy = 0
        remove_abandoned()
        self._folder = TemporaryFolder()

    def close(self) -> None:
        """Remove the private folder with all that is in it."""
        self._folder.close()

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """Take the one file of a form; it is deleted at the end of the block."""
        if self._n_busy >= self._limits.at_once:
            raise BusyError(f"{self._n_busy} files are being read. Try again in a moment.")
        self._n_busy += 1
        path: Path | None = None
        try:
            try:
                sent = await _parse(request, self._limits)
                path = await run_in_threadpool(self._store, sent)
            except OSError as error:
                if not is_full(error):
                    raise
                raise HTTPException(
                    507,
                    f"The file could not be stored: {error.strerror}. Make room in "
                    f"{tempfile.gettempdir()}, or set TMPDIR.",
                ) from error
            yield Upload(path, _display_name(sent.filename))
        finally:
            self._n_busy -= 1
            if path is not None:
                path.unlink(missing_ok=True)

    def _store(self, sent: UploadFile) -> Path:
        """Copy a file that has no name on disk to a path, for the process that reads it."""
        with sent.file:
            handle, name = tempfile.mkstemp(dir=self._folder.path)  # 0600, not the file's own name
            try:
                with os.fdopen(handle, "wb") as file:
                    shutil.copyfileobj(sent.file, file, 1 << 20)
            except OSError:
                Path(name).unlink()
                raise
        return Path(name)


async def _parse(request: Request, limits: UploadLimits) -> UploadFile:
    """Return the one file of a form, which lies in memory or in a file without a name."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise HTTPException(
            415, f"Send a file as multipart/form-data; got {kind[:80] or 'no type'}."
        )
    limited = Request(request.scope, _limited(request.receive, limits))
    try:
        form = await limited.form(max_files=1, max_fields=0)
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload was broken off.") from error
    except HTTPException as error:
        if error.status_code != 400:  # a limit
            raise
        told = f"The form must hold one file and nothing else: {error.detail}"
        raise HTTPException(400, f"{told} Parameters go into the address.") from error
    files = [value for value in form.values() if isinstance(value, UploadFile)]
    if not files:
        raise HTTPException(400, "The form holds no whole file. Send one part with a file name.")
    if (files[0].size or 0) > limits.bytes:
        await form.close()
        raise HTTPException(413, _too_large(limits))
    return files[0]


def _limited(receive: Receive, limits: UploadLimits) -> Receive:
    """Stop an upload without end from filling the disk, and one that trickles from staying."""
    n_received, begun = 0, time.monotonic()

    async def receive_limited() -> Message:
        nonlocal n_received
        try:
            message = await asyncio.wait_for(receive(), limits.idle)
        except TimeoutError as error:
            told = f"Nothing came for {limits.idle:g} s; the upload was ended."
            raise HTTPException(408, told) from error
        n_received += len(message.get("body", b""))
        if n_received > limits.bytes + _FORM_OVERHEAD:
            raise HTTPException(413, _too_large(limits))
        if time.monotonic() - begun > limits.patience + n_received / limits.slowest:
            told = f"The upload is slower than {limits.slowest:,} bytes a second."
            raise HTTPException(408, told)
        return message

    return receive_limited


def _too_large(limits: UploadLimits) -> str:
    limit = f"{limits.bytes / 1e6:,.0f} MB"
    return f"A file to search by may have {limit} at most. Cut a shorter piece."


def _display_name(name: str | None) -> str:
    shown = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c if c.isprintable() else "�" for c in shown)[:200] or "the file"

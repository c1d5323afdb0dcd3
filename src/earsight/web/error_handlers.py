"""Errors as {"error": …}, with a status that says whose fault it is."""

import errno
import os
import re
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from earsight.errors import BusyError, EarsightError, InputError, MediaError
from earsight.paths import as_text, escaped

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_A_FILE = (
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
)
_CLOSING = (400, 408, 413, 415, 429, 500, 507)  # what is left of an upload is not read
RETRY_AFTER = 10  # seconds that who asks while too much is asked is told to wait


def add_error_handlers(app: FastAPI) -> None:
    """Let every error be answered in one form."""

    @app.exception_handler(EarsightError)
    def expected(_: Request, error: EarsightError) -> JSONResponse:
        kinds = {InputError: 400, MediaError: 422, BusyError: 429}
        status = next((kinds[kind] for kind in kinds if isinstance(error, kind)), 409)
        return _problem(status, in_api_terms(str(error)))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        told = []
        for one in error.errors():
            name = ".".join(str(part) for part in one["loc"][1:]) or "the request"
            told.append(f"`{name}`: {one['msg']}; got {str(one.get('input'))[:80]!r}.")
        return _problem(422, " ".join(told))

    @app.exception_handler(OSError)
    def refused(_: Request, error: OSError) -> JSONResponse:
        if not is_of_a_file(error):
            raise error  # a fault of this machine: `unexpected` answers, and a traceback is printed
        file = error.filename
        name = os.path.basename(os.fsencode(file)) if isinstance(file, str | bytes) else b""
        shown = f"{as_text(name)}: " if name else ""
        return _problem(409, f"{shown}the system reported “{error.strerror}”.")

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path[:200]
        told = {
            "Not Found": f"There is nothing at {path}. /docs lists what there is.",
            "Method Not Allowed": f"{path} does not take {request.method[:20]}; see /docs.",
        }.get(error.detail, error.detail)
        return _problem(error.status_code, told, error.headers)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> JSONResponse:  # uvicorn prints the traceback
        told = f"This is a bug in Earsight: {type(error).__name__}."
        if isinstance(error, OSError):
            told = f"The server's machine reported “{error.strerror or type(error).__name__}”."
        status = 507 if is_full(error) else 500
        return _problem(status, f"{told} The server's window shows more.")


def is_of_a_file(error: OSError) -> bool:
    """Whether the cause is the file that was named, and not the machine."""
    return error.errno in _OF_A_FILE


def is_full(error: Exception) -> bool:
    """Whether the cause is a disk that has no room left for this user."""
    return isinstance(error, OSError) and error.errno in _FULL


def in_api_terms(message: str) -> str:
    """Return a message with the parameters' names as the API has them, not as Python does.

    >>> in_api_terms('It has sound: by="audio". `for_` is another, and so is text=…')
    'It has sound: by=audio. `for` is another, and so is `text`'
    """
    message = re.sub(r'\b(by|for)_?="(\w+)"', r"\1=\2", message)
    return message.replace("`for_`", "`for`").replace("text=…", "`text`")


def as_unicode(message: str) -> str:
    """Return a message as a text that can be sent, whatever names are in it.

    >>> as_unicode("caf\\udce9.mp4"), as_unicode("half \\ud83d")
    ('caf%E9.mp4', 'half \\\\ud83d')
    """
    return escaped(message).encode("utf-8", "backslashreplace").decode()


def _problem(status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    response = JSONResponse({"error": as_unicode(error)}, status, headers)
    if status in _CLOSING:
        response.headers["Connection"] = "close"
    if status == 429:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response

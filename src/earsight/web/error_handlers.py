"""What went wrong, as {"error": …} with a status that says whose fault it is."""

import errno
import os
import re

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
RETRY_AFTER = 10  # seconds: what is told to who asks while too much is asked


def answer_failures(app: FastAPI) -> None:
    """Let every failure be answered in one form."""

    @app.exception_handler(EarsightError)
    def known(_: Request, error: EarsightError) -> JSONResponse:
        status = getattr(error, "status", None) or _status(error)
        headers = {}
        if status in (400, 408, 413, 415, 429, 507):  # what is left of a refused upload is not read
            headers["Connection"] = "close"
        if status == 429:
            headers["Retry-After"] = str(RETRY_AFTER)
        return _problem(status, worded(str(error)), headers)

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
            raise error  # a fault of this machine: `unknown` answers, and the traceback is printed
        file = error.filename
        name = os.path.basename(os.fsencode(file)) if isinstance(file, str | bytes) else b""
        named = f": {as_text(name)}" if name else ""
        return _problem(409, f"The system could not do it: {error.strerror}{named}.")

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        told = {
            404: f"There is nothing at {request.url.path[:200]}. What there is: /docs.",
            405: f"{request.method[:20]} is not for {request.url.path[:200]}. See /docs.",
        }.get(error.status_code, str(error.detail))
        return _problem(error.status_code, told, error.headers)

    @app.exception_handler(Exception)
    def unknown(_: Request, error: Exception) -> JSONResponse:  # the server prints where it was
        told = f"This is a bug in Earsight: {type(error).__name__}."
        if isinstance(error, OSError):
            told = (
                f"The server's machine could not do it: {error.strerror or 'it did not say why'}."
            )
        status = 507 if is_full(error) else 500
        told = f"{told} The server's window tells more."
        return _problem(status, told, {"Connection": "close"})


def is_of_a_file(error: OSError) -> bool:
    """Whether the file that was named is the cause; or else it is the machine: no fault of it."""
    return error.errno in _OF_A_FILE


def is_full(error: Exception) -> bool:
    """Whether the cause is a disk that has no room left for this user."""
    return isinstance(error, OSError) and error.errno in _FULL


def _status(error: EarsightError) -> int:
    kinds = {InputError: 400, MediaError: 422, BusyError: 429}
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 409)


def worded(message: str) -> str:
    """Return a message with parameters as the API has them, not as Python does.

    >>> worded('It has sound: by="audio". `for_` is another, and so is text=…')
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


def _problem(status: int, error: str, headers: object = None) -> JSONResponse:
    error = as_unicode(error)
    return JSONResponse({"error": error}, status, headers)  # type: ignore[arg-type]

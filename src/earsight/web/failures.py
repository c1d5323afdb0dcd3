"""What went wrong, as {"error": …} with a status that says whose fault it is."""

import os
import re

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from pydantic_core import PydanticSerializationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from earsight.errors import BusyError, EarsightError, InputError, MediaError
from earsight.paths import as_text

_NAMED = 3  # of what is wrong with an answer
_UNFIT = (
    "The library holds what no answer can hold; index its folder again, or make the library anew."
)
RETRY_AFTER = 10  # seconds: what is told to who asks while too much is asked


def answer_failures(app: FastAPI) -> None:
    """Let every failure be answered in one form."""

    @app.exception_handler(EarsightError)
    def known(_: Request, error: EarsightError) -> JSONResponse:
        status = getattr(error, "status", None) or _status(error)
        headers = {}
        if status in (400, 408, 413, 415, 429):  # what is left of a refused upload is not read
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

    @app.exception_handler(ResponseValidationError)
    def unfit(_: Request, error: ResponseValidationError) -> JSONResponse:
        told = [
            f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}; "
            f"got {str(one.get('input'))[:80]!r}."
            for one in error.errors()[:_NAMED]
        ]
        return _problem(409, f"{_UNFIT} {' '.join(told)}")

    @app.exception_handler(PydanticSerializationError)
    @app.exception_handler(UnicodeError)
    def unwritable(_: Request, error: Exception) -> JSONResponse:
        return _problem(409, f"{_UNFIT} {error}")

    @app.exception_handler(OSError)
    def refused(_: Request, error: OSError) -> JSONResponse:
        file = error.filename
        named = f": {as_text(os.fsencode(file))}" if isinstance(file, str | bytes) else ""
        return _problem(409, f"The system could not do it: {error.strerror or error}{named}.")

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        told = {
            404: f"There is nothing at {request.url.path[:200]}. What there is: /docs.",
            405: f"{request.method[:20]} is not for {request.url.path[:200]}. See /docs.",
        }.get(error.status_code, str(error.detail))
        return _problem(error.status_code, told, error.headers)

    @app.exception_handler(Exception)
    def unknown(_: Request, error: Exception) -> JSONResponse:  # the server prints where it was
        told = f"This is a bug in Earsight: {type(error).__name__}. The server's window tells more."
        return _problem(500, told)


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


def _problem(status: int, error: str, headers: object = None) -> JSONResponse:
    error = error.encode("utf-8", "backslashreplace").decode()  # half a character is no text
    return JSONResponse({"error": error}, status, headers)  # type: ignore[arg-type]

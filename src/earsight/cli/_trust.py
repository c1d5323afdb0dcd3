"""Ask the user whether a library may use what it asks for."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from earsight.cli._show import printable, say, warn

if TYPE_CHECKING:
    from earsight.library.catalog.trust import Request

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-library",
        help="Agree to what the library asks for outside its folder (a server, a file, a model); "
        "remembered on this machine.",
    ),
]
Done = TypeVar("Done")


def consent(library: str | Path, agree: bool) -> "list[Request]":
    """Let the user agree to what a library asks for; return what they did not agree to."""
    from earsight.errors import EarsightError
    from earsight.library.embedding.settings import open_requests

    try:
        trust, asked = open_requests(library)
    except EarsightError:  # the command itself will say what is wrong
        return []
    if asked and (agree or _agrees(str(library), asked)):
        trust.allow(asked)
        for one in asked:
            say(f"Agreed, for this library on this machine: {one}.")
        return []
    return asked


def tell_left_out(asked: "Iterable[Request]") -> None:
    """Say what is left out."""
    for one in asked:
        warn(f"Left out, as you have not agreed to it (--trust-library): {one}.")


def with_consent(run: Callable[[bool], Done], agree: bool) -> Done:
    """Run what may need the user's agreement, and again once it is given to what was shown.

    Args:
        run: Gets whether the user agreed to all that is asked for.
        agree: Whether that was said already.
    """
    from earsight.errors import LibraryError
    from earsight.library.catalog.trust import NotTrustedError

    while True:
        try:
            return run(agree)
        except NotTrustedError as error:
            if agree or not _terminal():
                raise
            if not _agrees(str(error.trust.library), error.requests):
                raise LibraryError("Not agreed; nothing of it was done.") from error
            error.trust.allow(error.requests)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


_WHAT_IT_MEANS = {
    "server": " (which gets the vectors of your clips, and loses tables that the library names)",
    "file": " (whose class names are written into the library)",
    "model": " (which may be downloaded)",
    "plugin": " (which is code)",
}


def _agrees(library: str, asked: "Iterable[Request]") -> bool:
    """Ask, where somebody is there to answer."""
    if not _terminal():
        return False
    warn(f"The library {printable(library)} asks to")
    for one in asked:
        warn(f"  {one}{_WHAT_IT_MEANS.get(one.kind, '')}")
    warn("It may come from somebody else.")
    return typer.confirm("Agree, now and later on this machine?", default=False, err=True)

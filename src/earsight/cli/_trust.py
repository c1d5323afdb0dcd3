"""Asking whether a library may have what it asks for."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from earsight.cli._show import printable, warn

if TYPE_CHECKING:
    from earsight.library.trust import Request

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-library",
        help="Agree to what the library asks for outside its folder (a server, a file, a model); "
        "remembered on this machine.",
    ),
]
Done = TypeVar("Done")


def consent(library: Path, agree: bool) -> "list[Request]":
    """Let the user agree to what a library asks for; return what stays left out."""
    from earsight.errors import EarsightError
    from earsight.library.consent import asked_for

    try:
        trust, asked = asked_for(library)
    except EarsightError:  # what is wrong is told by what comes next
        return []
    if asked and (agree or _agrees(str(library), asked)):
        trust.allow(asked)
        return []
    return asked


def with_consent(run: Callable[[bool], Done], agree: bool) -> Done:
    """Run what may need the user's agreement, and again once it is given to what was shown.

    Args:
        run: Is told whether the user agreed to whatever is asked for.
        agree: Whether that was said already.
    """
    from earsight.library.trust import NotTrustedError

    while True:
        try:
            return run(agree)
        except NotTrustedError as error:
            if agree or not _agrees(str(error.trust.library), error.requests):
                raise
            error.trust.allow(error.requests)


def _agrees(library: str, asked: "Iterable[Request]") -> bool:
    """Ask, where somebody is there to answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    warn(f"The library {printable(library)} asks to")
    for one in asked:
        warn(f"  {printable(str(one))}")
    warn("It may come from somebody else.")
    return typer.confirm("Agree, now and later on this machine?", default=False, err=True)

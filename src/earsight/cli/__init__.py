"""The command line. It parses, calls the library, and prints; each group of commands is one file.

Exit codes: 0 fine, 1 error, 2 usage, 3 finished but some clips had trouble, 130 interrupted.
Results go to stdout, everything else to stderr.
"""

import os
import signal
import sys
from typing import Annotated

import typer

from earsight import __version__
from earsight.cli import compare, demo, library, weights
from earsight.errors import EarsightError

app = typer.Typer(
    name="earsight",
    help="Find video by sound, and sound by video.",
    epilog="Exit codes: 0 fine, 1 error, 2 usage, 3 finished but some clips had trouble.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(library.index)
app.command()(library.search)
app.command()(library.evaluate)
app.command()(demo.demo)
app.command()(compare.compare)
app.command()(compare.reproduce)
app.add_typer(weights.app, name="weights")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"earsight {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


class _Stopped(BaseException):
    """Ctrl-C, or a polite kill: passes every handler on its way out, and leaves things tidy."""


def _stop(*_: object) -> None:
    raise _Stopped


def main() -> None:
    """Run the command line; a user's mistake is one message, never a traceback."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except EarsightError as error:
        sys.stderr.write(f"earsight: {error}\n")
        sys.exit(1)
    except _Stopped:
        sys.stderr.write("earsight: stopped. What was done is kept; the same command goes on.\n")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.stderr.write(f"earsight: {error}\n")
        sys.exit(1)

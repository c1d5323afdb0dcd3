"""The command line. It parses, calls the library, and prints; each group of commands is one file.

Exit codes: 0 fine, 1 error, 2 usage, 3 finished but some clips had trouble (align: there is no
answer), 130 interrupted (serve and --watch end so).
Results go to stdout, everything else to stderr.
"""

import os
import re
import signal
import sys
from copy import copy
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from earsight import __version__
from earsight.cli import (
    _show,
    align,
    compare,
    demo,
    extract,
    library,
    move,
    reproduce,
    search,
    serve,
    train,
    unlock,
    upkeep,
    weights,
)
from earsight.errors import EarsightError

_EPILOG = (
    "Exit codes: 0 fine, 1 error, 2 usage, 3 finished but some clips had trouble (align: there is "
    "no answer), 130 interrupted (serve and --watch end so)."
    "\n\n"
    "Environment: EARSIGHT_HOME, where weights are kept (default: earsight in XDG_CACHE_HOME or "
    "~/.cache); EARSIGHT_WEIGHTS, a folder of weights to look in before any network; "
    "EARSIGHT_CONFIG, where it is kept what you agreed to (default: earsight in XDG_CONFIG_HOME or "
    "~/.config); EARSIGHT_MAX_BYTES, memory that the arrays of one file may take (default: 4GiB); "
    "EARSIGHT_THREADS, threads of each process (default: the cores); EARSIGHT_TOKEN, the token of "
    "serve; EARSIGHT_MILVUS_TOKEN, user:password or API key for a Milvus server, and "
    "EARSIGHT_MILVUS_SERVER, the host:port of that server; "
    "EARSIGHT_RANK_TIMEOUT, seconds that the processes of torchrun wait for each other "
    "(default: 300)."
)


class _Commands(TyperGroup):
    """A group whose commands, at every depth, take its own -q and -v as well."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        voice = [copy(option) for option in self.params if option.name in ("quiet", "verbose")]
        for option in voice:
            option.expose_value = False
            option.callback = _speak_if_given
        _give(voice, self)


def _speak_if_given(_context: Any, option: Any, given: bool) -> None:
    if given:
        _show.speak(**{option.name: True})


def _give(options: list[Any], group: TyperGroup) -> None:
    for command in group.commands.values():
        # A docstring's line ends are not meant for the terminal; its empty lines are.
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
        if isinstance(command, TyperGroup):
            _give(options, command)
        else:
            command.params += options


app = typer.Typer(
    cls=_Commands,
    name="earsight",
    help="Find video by sound, and sound by video.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(library.index)
app.command()(search.search)
app.command()(library.evaluate)
app.command()(serve.serve)
app.command()(upkeep.status)
app.command()(upkeep.forget)
app.command()(upkeep.export)
app.command()(upkeep.doctor)
app.command()(move.move)
app.command()(unlock.unlock)
app.command()(align.align)
app.command()(demo.demo)
app.command()(extract.extract)
app.command()(extract.join)
app.command()(extract.extractors)
app.command()(compare.compare)
app.command()(reproduce.reproduce)
app.command()(train.train)
app.add_typer(weights.app, name="weights")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"earsight {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say only results and what is wrong.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say also why.")] = False,
) -> None:
    _show.speak(quiet=quiet, verbose=verbose)
    if "TORCHELASTIC_RUN_ID" in os.environ and context.invoked_subcommand != "train":
        raise typer.BadParameter("torchrun is for `earsight train`; run this command by itself.")


class _Stopped(BaseException):
    """Ctrl-C, or a polite kill: passes every handler on its way out, and leaves things tidy."""


def _stop(*_: object) -> None:
    raise _Stopped


def main() -> None:
    """Run the command line; a user's mistake is one message, never a traceback."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="earsight")
    except EarsightError as error:
        sys.stderr.write(f"earsight: {_show.printable_lines(str(error))}\n")
        sys.exit(1)
    except _Stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
        sys.stderr.write("earsight: stopped. All but the last seconds is kept.\n")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.stderr.write(f"earsight: {_show.printable_lines(str(error))}\n")
        sys.exit(1)

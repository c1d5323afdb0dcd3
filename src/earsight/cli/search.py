"""`earsight search`."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earsight.cli._show import clock, out, printable, progress, say, short, warn
from earsight.cli.library import TROUBLE, Json, LibraryOption

if TYPE_CHECKING:
    from earsight.library.search import Answer


class Modality(StrEnum):
    """A choice on the command line."""

    AUDIO = "audio"
    VISUAL = "visual"
    TEXT = "text"


def search(
    query: Annotated[
        str | None, typer.Argument(help="A video, a sound, a picture; or a clip of the library.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", "-t", help="Words to search by.")] = None,
    library: LibraryOption = Path(),
    by: Annotated[Modality | None, typer.Option(help="What of the query to use.")] = None,
    for_: Annotated[Modality | None, typer.Option("--for", help="What to rank.")] = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many answers.")] = 10,
    min_score: Annotated[float | None, typer.Option(help="Leave out lower scores.")] = None,
    index_first: Annotated[
        bool,
        typer.Option("--index", help="First index the folder, or bring its library up to date."),
    ] = False,
    as_json: Json = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone.")] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Paths alone, each ended by NUL, for xargs -0.")
    ] = False,
) -> None:
    """Rank the clips that fit a sound, a picture, a silent clip, or words.

    A sound finds sights and a sight finds sounds; words find sights. --for turns it round. The
    text of a clip is the .txt or .srt file of its name beside it.
    """
    from earsight.library.search import search as run

    if (query is None) == (text is None):
        raise typer.BadParameter("give a file or --text, and exactly one of them.")
    if by is not None and text is not None:
        raise typer.BadParameter("--by belongs to a file; with --text the words are the query.")
    trouble = index_first and _refresh(library)
    answer = run(library, query, text=text, by=by, for_=for_, top=top, min_score=min_score)
    for note in answer.notes:
        say(note)
    if as_json:
        out(json.dumps(answer.as_json()))
    elif null or paths:
        end = b"\0" if null else b"\n"
        sys.stdout.buffer.write(b"".join(result.raw_path + end for result in answer.results))
        sys.stdout.buffer.flush()
    else:
        _ranked(answer)
    if trouble:
        raise typer.Exit(TROUBLE)


def _refresh(library: Path) -> bool:
    """Bring a library up to date, wherever it is kept; return whether clips had trouble."""
    from earsight.library.build import refresh

    with progress() as shown:
        report = refresh(library, progress=shown)
    for path, status, why in report.trouble:
        warn(f"  {status}: {printable(path)}{f' ({printable(why)})' if why else ''}")
    return bool(report.trouble)


def _ranked(answer: "Answer") -> None:
    ranked = {"audio": "sounds", "visual": "sights", "text": "texts"}[answer.for_]
    if not answer.results:
        say(f"No {ranked} answer that.")
    for one in answer.results:
        parts = [f"{one.score:6.3f}", short(one.path)]
        if one.label:
            parts.append(f"[{printable(one.label)}]")
        if not one.whole:
            parts.append(f"{clock(one.start)}–{clock(one.end)}")
        if one.is_query:
            parts.append("← the query itself")
        out("  ".join(parts))

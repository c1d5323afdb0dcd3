"""`earsight search`."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import clock, out, plural, printable, progress, say, short, warn
from earsight.cli._trust import TrustOption, consent, tell_left_out, with_consent
from earsight.cli.library import TROUBLE, Json, LibraryOption
from earsight.errors import EarsightError

if TYPE_CHECKING:
    from earsight.library.indexing.pipeline import IndexReport
    from earsight.library.search.query import Query
    from earsight.library.search.results import SearchResults


_MODALITIES = ("audio", "visual", "text")
_MEANT = {
    "audio": ("sound", "sounds", "ear", "ears", "hear", "music", "noise"),
    "visual": ("sight", "sights", "eye", "eyes", "see", "video", "image", "picture", "frame"),
    "text": ("word", "words", "txt", "srt", "subtitles", "caption"),
}


def _modality(given: str) -> str:
    """Return a choice on the command line."""
    if given in _MODALITIES:
        return given
    meant = next((name for name, words in _MEANT.items() if given.lower() in words), None)
    meant = meant or next(iter(get_close_matches(given.lower(), _MODALITIES, n=1)), None)
    hint = f" Did you mean {meant}?" if meant else ""
    raise typer.BadParameter(f"it is one of {', '.join(_MODALITIES)}; got {given!r}.{hint}")


def _begun(begun: str) -> list[str]:
    """Return the choices that begin so, for a shell that completes."""
    return [name for name in _MODALITIES if name.startswith(begun)]


_CHOICE: Any = {"parser": _modality, "metavar": "[audio|visual|text]", "autocompletion": _begun}


QueryArgument = Annotated[
    str | None, typer.Argument(help="A video, a sound, a picture; or a clip of the library.")
]
TextOption = Annotated[str | None, typer.Option("--text", "-t", help="Words to search by.")]
ByOption = Annotated[str | None, typer.Option("--by", help="What of the query to use.", **_CHOICE)]
ForOption = Annotated[str | None, typer.Option("--for", help="What to rank.", **_CHOICE)]
TopOption = Annotated[int, typer.Option("--top", "-n", min=1, help="How many results.")]
MinScoreOption = Annotated[float | None, typer.Option(help="Leave out lower scores.")]
MomentsOption = Annotated[
    bool,
    typer.Option(
        "--moments", help="Rank moments, with start and end, of clips however long they are."
    ),
]
RhythmOption = Annotated[
    bool,
    typer.Option(
        "--rhythm", help="Of the first 100 raise those that fit in timing: whose sight caused this?"
    ),
]
IndexOption = Annotated[
    bool, typer.Option("--index", help="First index the folder, or bring its library up to date.")
]
PathsOption = Annotated[
    bool,
    typer.Option(
        "--paths",
        help="Print paths alone; with --moments PATH, START and END in seconds, between tabs.",
    ),
]
NullOption = Annotated[
    bool,
    typer.Option(
        "-0", "--null", help="As --paths, with a NUL after each part, for xargs -0 (-n 3)."
    ),
]


def search(
    query: QueryArgument = None,
    *,
    text: TextOption = None,
    library: LibraryOption = Path(),
    by: ByOption = None,
    for_: ForOption = None,
    top: TopOption = 10,
    min_score: MinScoreOption = None,
    moments: MomentsOption = False,
    rhythm: RhythmOption = False,
    index_first: IndexOption = False,
    trust: TrustOption = False,
    as_json: Json = False,
    paths: PathsOption = False,
    null: NullOption = False,
) -> None:
    """Rank the clips that fit a sound, a picture, a silent clip, or words.

    A sound finds sights and a sight finds sounds; words find sights. --for turns it round. The
    text of a clip is the .txt or .srt file of its name beside it.

    Paths are shown as seen from here; --json, --paths and -0 give absolute ones.
    """
    from earsight.library.search.query import Query

    if (query is None) == (text is None):
        raise typer.BadParameter("give a file or --text, and exactly one of them.")
    if by is not None and text is not None:
        raise typer.BadParameter("--by belongs to a file; with --text the words are the query.")
    with _in_flags():
        question = Query(
            file=query,
            text=text,
            by=by,
            for_=for_,
            top=top,
            min_score=min_score,
            moments=moments,
            rhythm=rhythm,
        )
    trouble = index_first and _refresh(library, trust)
    tell_left_out(consent(library, trust))
    with _in_flags():
        results = with_consent(lambda _: _search(library, question), agree=False)
    for note in results.notes:
        say(_flags(note))
    if as_json:
        out(json.dumps(results.as_json()))
    elif null or paths:
        _print_paths(results, moments, null)
    else:
        _print_ranked(results, moments)
    if trouble:
        raise typer.Exit(TROUBLE)


def _search(library: Path, query: "Query") -> "SearchResults":
    from earsight.library.search import searcher

    with progress() if query.rhythm else nullcontext() as shown:
        return searcher.search(library, query, progress=shown)


@contextmanager
def _in_flags() -> Iterator[None]:
    """Let errors name the options of the command line."""
    try:
        yield
    except EarsightError as error:
        error.args = (_flags(str(error)),)
        raise


def _flags(message: str) -> str:
    """Return a message of the library with options as the command line has them.

    >>> _flags('It has sound: by="audio". `min_score` is another, and so is text="two words"')
    "It has sound: --by audio. --min-score is another, and so is --text 'two words'"
    """
    message = re.sub(r'\btext="(.*?)"', lambda found: f"--text {quote(found[1])}", message)
    message = re.sub(r'\b(by|for)_?="(\w+)"', r"--\1 \2", message)
    message = re.sub(r"`(by|for|text|top|min_score|rhythm|moments)_?`", r"--\1", message)
    return message.replace("--min_score", "--min-score").replace("text=…", "--text")


def _refresh(library: Path, trust: bool) -> bool:
    """Bring a library up to date, wherever it is kept; return whether clips had trouble."""
    from earsight.library.indexing.pipeline import refresh

    def work(agree: bool) -> "IndexReport":
        with progress() as shown:
            return refresh(library, progress=shown, trust=agree)

    report = with_consent(work, trust)
    for path, status, why in report.trouble:
        warn(f"  {status}: {printable(path)}{f' ({printable(why)})' if why else ''}")
    return bool(report.trouble)


def _print_paths(results: "SearchResults", moments: bool, null: bool) -> None:
    """Print the paths' own bytes; of moments also start and end."""
    between, end = (b"\0", b"\0") if null else (b"\t", b"\n")
    if not null and any(b"\n" in one.raw_path for one in results.results):
        warn("A name holds a line break: -0 ends each with NUL instead, and --json escapes it.")
    for one in results.results:
        span = [f"{second:.3f}".encode() for second in (one.start, one.end)] if moments else []
        sys.stdout.buffer.write(between.join([one.raw_path, *span]) + end)
    sys.stdout.buffer.flush()


def _print_ranked(results: "SearchResults", moments: bool = False) -> None:
    ranked = {"audio": "sounds", "visual": "sights", "text": "texts"}[results.for_]
    if not results.results:
        say(f"No {ranked} fit that.")
    for one in results.results:
        parts = [f"{one.score:6.3f}", short(one.path)]
        if one.label:
            parts.append(f"[{printable(one.label)}]")
        if moments or not one.whole:
            parts.append(f"{clock(one.start)}–{clock(one.end)}")
        if one.others:
            parts.append(f"+{plural(len(one.others), 'copy', 'copies')}")
        if one.timing is not None and one.offset is not None:
            parts.append(f"timing {one.timing:+.1f} at {1000 * one.offset:+.0f} ms")
        if one.is_query:
            parts.append("← the query itself")
        out("  ".join(parts))

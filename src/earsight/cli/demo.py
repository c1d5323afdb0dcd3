"""`earsight demo`: draw clips, index them, evaluate, search both ways, and leave a picture."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earsight.cli._show import progress, say, short

if TYPE_CHECKING:
    from earsight.library.search import Answer
    from earsight.pictures import Row

SHOWN = 5  # answers in each row of the picture


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the clips go.")] = Path("demo"),
    per_class: Annotated[int, typer.Option(min=2, help="Clips of each of the ten classes.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Another number, other clips.")] = 0,
) -> None:
    """Draw and sound labelled clips, then index, evaluate and search them.

    Nothing is needed but the weights of the two small networks and the text model, which come
    through the package index. Shown at the end: the same steps as commands, to try on your clips.
    """
    from earsight.cli.library import evaluate, index
    from earsight.demo import draw

    begun = time.monotonic()
    clips, queries = folder / "clips", folder / "queries"
    say(f"1. Drawing {10 * per_class} clips of ten classes into {clips} …")
    shown = progress()
    draw(clips, per_class=per_class, seed=seed, progress=shown)
    draw(queries, per_class=1, seed=seed + 1, progress=shown)
    say(f"\n2. earsight index {clips}")
    index(clips)
    say(f"\n3. earsight evaluate --library {clips}")
    evaluate(clips)
    say("\n4. Searching with clips that are not in the library")
    picture = folder / "answers.png"
    _ask(clips, queries, picture)
    say(f"\nThe answers as a picture: {short(str(picture.absolute()))}")
    say(f"All of it took {time.monotonic() - begun:.0f} s. Now on your clips:")
    say("  earsight index my-clips/")
    say("  earsight search a-sound.wav --library my-clips/")


def _ask(clips: Path, queries: Path, picture: Path) -> None:
    """Ask with the first query of every third class by sound, and of others by sight."""
    from earsight.library.search import search
    from earsight.pictures import contact_sheet

    files = sorted(queries.glob("*/*.mp4"))
    rows = []
    for number, query in enumerate(files[::2]):
        by = ("audio", "visual")[number % 2]
        answer = search(clips, query, by=by, top=SHOWN)
        say(f"earsight search {query} --by {by} --library {clips} --top {SHOWN}")
        for one in answer.results:
            say(f"   {one.score:6.3f}  {short(one.path)}")
        rows.append(_row(query, answer))
    contact_sheet(rows, picture)


def _row(query: Path, answer: "Answer") -> "Row":
    from earsight.library import glimpse
    from earsight.pictures import Cell, Row

    def cell(path: Path, modality: str, middle: float, label: str, score: float | None) -> Cell:
        if modality == "audio":
            return Cell(label, score, samples=glimpse.sound(path), rate=glimpse.RATE)
        return Cell(label, score, frame=glimpse.frame(path, middle))

    asked = cell(query, answer.by, 1.5, query.parent.name, None)
    answers = [
        cell(Path(one.path), answer.for_, (one.start + one.end) / 2, one.label or "", one.score)
        for one in answer.results
    ]
    return Row(asked, answers)

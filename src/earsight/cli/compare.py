"""`earsight compare` and `earsight reproduce`."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import out, printable, progress, say, show, table, warn

if TYPE_CHECKING:
    from earsight.experiments.compare import Comparison
    from earsight.experiments.inputs import Source
    from earsight.experiments.reproduce import Line
    from earsight.experiments.results import Result
    from earsight.experiments.table import Table

_STDOUT = Path("-")
_EVERY = 5.0  # seconds between lines that tell of single fits
LOG = Path("earsight-official-test.log")

Seeds = Annotated[int, typer.Option(min=1, help="Fits of each method, with seeds 0, 1, ….")]
Again = Annotated[bool, typer.Option("--again", help="Fit also what the JSON file holds already.")]
Log = Annotated[Path, typer.Option(help="Where each look at an official test is noted.")]


def compare(
    source: Annotated[
        str,
        typer.Argument(
            help="A feature file, a folder of clips (indexed first), wikipedia:DIR, vegas:DIR, "
            "ave:DIR, mfeat:DIR, digits, or synthetic, synthetic:n=…,classes=…,seed=…."
        ),
    ],
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            "-m",
            help="Such as cca,tnn:margin=0.3; tnn:pooling=gru reads sequences. all: every one, the "
            "default. Of features: s_dcca.",
        ),
    ] = None,
    audio: Annotated[
        str | None,
        typer.Option(
            help="Compare features of a folder of clips: extractors, such as soundnet,vggish."
        ),
    ] = None,
    visual: Annotated[
        str | None, typer.Option(help="With --audio: such as inception,i3d. Every pair is run.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="For a folder of clips: the pair of extractors small, paper or best. Its library "
            "keeps it."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 5,
    max_folds: Annotated[
        int | None, typer.Option(min=1, help="Run only the first so many of them.")
    ] = None,
    seeds: Seeds = 3,
    official_test: Annotated[
        bool,
        typer.Option(
            "--official-test", help="Ask the data's own test rows, and note the look in the log."
        ),
    ] = False,
    log: Log = LOG,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Keep the results here; what is done is not fitted again. -: print them instead.",
        ),
    ] = None,
    again: Again = False,
    against: Annotated[
        str | None, typer.Option(help="The method to test the others against; default: the best.")
    ] = None,
    per_query: Annotated[
        Path | None, typer.Option(help="Write the figures of each query here, as CSV.")
    ] = None,
    trec: Annotated[
        Path | None, typer.Option(help="Write TREC run files and qrels into this folder.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw into this folder; needs the extra `plot`.")
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Also MAP by number of components, such as 10,20,30,50.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Put the tables into the places marked in this page.")
    ] = None,
) -> None:
    """Compare methods on the same folds: MAP and recall both ways, time, and significance.

    Rows that a data set keeps for testing are not looked at without --official-test. A method
    that fails is told of at the end (exit code 1); the others stand.

    With --audio and --visual it is the features that are compared, as in the paper's table I:
    every pair of them on the same rows, with the weights that are here.
    """
    from earsight.experiments.compare import Wishes, split_specs
    from earsight.experiments.compare import compare as run
    from earsight.experiments.protocol import Protocol

    printed = json_file == _STDOUT
    wishes = Wishes(None if printed else json_file, again, trec, log, _numbers(sizes), against)
    if plot is not None:
        from earsight.experiments.plots import require_matplotlib

        require_matplotlib()
    protocol = Protocol(folds, seeds, official_test, max_folds)
    if audio is not None or visual is not None:
        from earsight.cli.by_features import compare_features
        from earsight.experiments.reproduce import TABLE_1_METHOD

        if audio is None or visual is None or not Path(source).is_dir():
            raise typer.BadParameter("--audio and --visual go together, with a folder of clips.")
        if official_test or per_query or trec or plot or sizes or markdown or features:
            raise typer.BadParameter(
                "with --audio and --visual there is one table; --official-test, --per-query, "
                "--trec, --plot, --sizes, --markdown and --features belong to one pair of features."
            )
        compare_features(
            Path(source),
            {"audio": audio, "visual": visual},
            split_specs(methods or TABLE_1_METHOD),
            protocol,
            wishes,
            printed=printed,
            told=Sparingly(),
            done=_done,
        )
        return
    given = opened(source, features)
    described = _described(given, protocol.describe(given.data))
    say(described)
    comparison = run(
        *(given.data, split_specs(methods or "all"), protocol),
        name=given.name,
        source=given.asked,
        wishes=wishes,
        told=Sparingly(),
        done=_done,
    )
    if printed:
        out(json.dumps({one.method: one.as_json() for one in comparison.results}, default=str))
    else:
        _show_all(comparison)
    if per_query is not None:
        from earsight.experiments.perquery import write_per_query

        write_per_query(per_query, comparison, given.data)
    if plot is not None:
        from earsight.experiments.plots import plot as draw

        for path in draw(plot, comparison, given.data, protocol):
            say(f"Drawn: {path}")
    if markdown is not None:
        from earsight.experiments.document import write_page

        say(f"Written into {markdown}: {write_page(markdown, comparison, described)}.")
    _end(comparison.failed, warn if printed else out)


def _numbers(sizes: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in sizes.split(",")) if sizes else ()
    except ValueError as error:
        raise typer.BadParameter(f"--sizes takes numbers such as 10,20; got {sizes!r}.") from error


def opened(source: str, features: str | None = None) -> "Source":
    """Read the source; a folder of clips is indexed first."""
    from earsight.experiments.inputs import Source, open_source

    folder = Path(source)
    if not folder.is_dir():
        if features is not None:
            raise typer.BadParameter("--features is for a folder of clips; SOURCE is none.")
        return open_source(source)
    from earsight.library.embedding.training_rows import paired_features
    from earsight.library.indexing.pipeline import index

    changes: dict[str, Any] = {} if features is None else {"features": features}
    with progress() as shown:
        index(folder, progress=shown, **changes)
    data, note = paired_features(folder)
    if note:
        say(note)
    return Source(folder.resolve().name, source, data)


def _described(given: "Source", how: str) -> str:
    views = ", ".join(f"{m} {x.shape[1]}-d" for m, x in given.data.views.items())
    return f"{given.name} ({views}). {how}"


class Sparingly:
    """Says lines, but not more than one every few seconds."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print the line, or let it pass."""
        if time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            say(f"  {line}")


def _done(result: "Result", kept: bool) -> None:
    from earsight.experiments.runs import main_figure

    if result.error is not None:
        say(f"{result.method} failed: {printable(result.error)}")
        return
    figures = [f"{name} {main_figure(own):.3f}" for name, own in result.directions.items()]
    fit = f"{result.fit_seconds:.2f} s a fit"
    if kept:
        fit = f"done before, {result.about['date']}, commit {result.about['commit']}"
    say(f"{result.method}: {', '.join(figures)}; {fit}")


def _show_all(comparison: "Comparison") -> None:
    from earsight.experiments.table import explained, sizes_table, tables, trained

    for made in tables(comparison):
        _show_table(made)
    swept = sizes_table(comparison)
    if swept is not None:
        _show_table(swept)
    if any(result.error is None for result in comparison.results):
        say(f"\n{explained(comparison)}")
    for line in trained(comparison.results):
        say(f"{line} (the first fit).")


def _show_table(made: "Table") -> None:
    out(f"\n{made.title}")
    shown = table(*made.columns)
    for row in made.rows:
        shown.add_row(*row)
    show(shown)
    for note in made.notes:
        out(note)


def _end(failed: "list[Result]", tell: Callable[[str], None]) -> None:
    for result in failed:
        tell(f"{result.method} failed: {printable(result.error or '')}")
    if failed:
        raise typer.Exit(1)


def reproduce(
    which: Annotated[str, typer.Argument(metavar="TABLE", help="table1 or table2.")],
    features: Annotated[
        Path, typer.Option("--features", "-f", help="The folder of VEGAS's or AVE's files.")
    ],
    seeds: Seeds = 1,
    log: Log = LOG,
    json_folder: Annotated[
        Path | None,
        typer.Option("--json", help="Keep the results in this folder. -: print them instead."),
    ] = None,
    again: Again = False,
) -> None:
    """Make the paper's tables from published features, ours beside the published figures.

    table1: S-DCCA by features. table2: CCA, DCCA, S-DCCA, TNN on VGGish and Inception features.
    """
    from earsight.experiments.compare import Wishes
    from earsight.experiments.reproduce import reproduce as run

    printed = json_folder == _STDOUT
    wishes = Wishes(json=None if printed else json_folder, again=again, log=log)
    lines, missing = run(which, features, seeds=seeds, wishes=wishes, told=Sparingly(), done=_done)
    if printed:
        rows = [vars(line) | {"result": line.result.as_json()} for line in lines]
        out(json.dumps(rows, default=str))
    else:
        _show_lines(lines)
    for sentence in missing:
        say(sentence)
    failed = [line.result for line in lines if line.result.error is not None]
    _end(failed, warn if printed else out)


def _show_lines(lines: "list[Line]") -> None:
    directions = ("audio->visual", "visual->audio")
    made = table("data, features", "method", *_HEADS)
    for line in lines:
        cells = [f"{line.data}, {line.features}", line.result.method]
        for number, direction in enumerate(directions):
            own = line.result.directions.get(direction)
            cells.append(f"{100 * own['map']:.2f}" if own else "failed")
            cells.append(f"{100 * line.published[number]:.2f}" if line.published else "")
        made.add_row(*cells)
    out("MAP in %")
    show(made)
    for protocol in dict.fromkeys(f"{line.data}: {line.protocol}" for line in lines):
        say(protocol)
    for source in dict.fromkeys(line.source for line in lines if line.source):
        out(f"Published: {source}.")


_HEADS = ("audio → visual", "published", "visual → audio", "published")

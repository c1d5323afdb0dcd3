"""`earsight compare`."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import out, printable, progress, say, show, table, warn

if TYPE_CHECKING:
    from earsight.experiments.compare import Comparison, Options
    from earsight.experiments.inputs import Source
    from earsight.experiments.protocol import Protocol
    from earsight.experiments.results import Result
    from earsight.experiments.table import Table

STDOUT = Path("-")
_EVERY = 5.0  # seconds between lines that tell of single fits
LOG = Path("earsight-official-test.log")

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A feature file, a folder of clips (it is indexed first), wikipedia:DIR, vegas:DIR, "
        "ave:DIR, mfeat:DIR, digits, or synthetic, synthetic:n=…,classes=…,seed=…."
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        "-m",
        help="The methods to compare, such as cca,tnn:margin=0.3; tnn:pooling=gru reads sequences. "
        "Default: those worth choosing; all: every one that is installed; with --audio and "
        "--visual: s_dcca.",
    ),
]
Audio = Annotated[
    str | None,
    typer.Option(
        help="Compare features of a folder of clips: the sound extractors, such as soundnet,vggish."
    ),
]
Visual = Annotated[
    str | None,
    typer.Option(
        help="With --audio: the sight extractors, such as inception,i3d. Every pair is compared."
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        help="For a folder of clips: the pair of extractors, small, paper or best. The library "
        "remembers it."
    ),
]
Folds = Annotated[int, typer.Option(min=2, help="The number of folds of the cross-validation.")]
MaxFolds = Annotated[int | None, typer.Option(min=1, help="Run only the first so many folds.")]
Seeds = Annotated[int, typer.Option(min=1, help="Fit each method so often, with seeds 0, 1, ….")]
OfficialTest = Annotated[
    bool,
    typer.Option(
        "--official-test",
        help="Rank the test rows that come with the data set, and note this look in the log.",
    ),
]
Log = Annotated[Path, typer.Option(help="The file that notes each look at official test rows.")]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Keep the results in this file; what it holds is not fitted again. -: print them.",
    ),
]
Again = Annotated[bool, typer.Option("--again", help="Fit also what the JSON file holds already.")]
Against = Annotated[
    str | None, typer.Option(help="Test the others against this method; default: the best one.")
]
PerQuery = Annotated[
    Path | None, typer.Option(help="Write the figures of each query into this CSV file.")
]
Trec = Annotated[Path | None, typer.Option(help="Write TREC run files and qrels into this folder.")]
Plot = Annotated[
    Path | None, typer.Option(help="Draw plots into this folder; needs the extra `plot`.")
]
Sizes = Annotated[
    str | None,
    typer.Option(help="Show MAP by number of components as well, such as 10,20,30,50."),
]
Markdown = Annotated[
    Path | None, typer.Option(help="Write the tables into the marked places of this page.")
]


def compare(
    source: SourceArgument,
    *,
    methods: Methods = None,
    audio: Audio = None,
    visual: Visual = None,
    features: Features = None,
    folds: Folds = 5,
    max_folds: MaxFolds = None,
    seeds: Seeds = 3,
    official_test: OfficialTest = False,
    log: Log = LOG,
    json_file: JsonFile = None,
    again: Again = False,
    against: Against = None,
    per_query: PerQuery = None,
    trec: Trec = None,
    plot: Plot = None,
    sizes: Sizes = None,
    markdown: Markdown = None,
) -> None:
    """Compare methods on the same folds: MAP and recall in both directions, time, significance.

    Rows that a data set keeps for testing are not used without --official-test. If a method
    fails, the others are still compared; the failure is shown at the end (exit code 1).

    --audio and --visual compare features instead, as the paper's table I does: every pair of
    extractors whose weights are on this machine, on the same rows.
    """
    from earsight.experiments import compare
    from earsight.experiments.protocol import Protocol

    printed = json_file == STDOUT
    kept = None if printed else json_file
    options = compare.Options(
        json=kept, again=again, trec=trec, log=log, sizes=_numbers(sizes), against=against
    )
    _check_outputs(plot, markdown)
    protocol = Protocol(folds=folds, seeds=seeds, official_test=official_test, max_folds=max_folds)
    if audio is not None or visual is not None:
        others = official_test or per_query or trec or plot or sizes or markdown or features
        specs = _by_features(source, audio, visual, alone=not others)
        clips = Path(source)
        return _compare_features(clips, specs, methods, protocol, options=options, printed=printed)
    if methods is None or "all" in compare.split_list(methods):
        _say_left_out()
    given = opened(source, features)
    say(described := _described(given, protocol.describe(given.data)))
    comparison = compare.compare(
        *(given.data, compare.split_specs(methods), protocol),
        name=given.name,
        source=given.asked,
        options=options,
        told=Sparingly(),
        done=tell_result,
    )
    _show_all(comparison, printed=printed)
    _write_files(comparison, given, protocol, per_query=per_query, plot=plot)
    _write_page(markdown, comparison, described)
    return end_with(comparison.failed, warn if printed else out)


def _check_outputs(plot: Path | None, markdown: Path | None) -> None:
    """Refuse what could not be written in the end, before anything takes long."""
    if markdown is not None:
        from earsight.experiments.provenance import check_clean

        check_clean()
    if plot is not None:
        from earsight.experiments.plots import require_matplotlib

        require_matplotlib()


def _write_files(
    comparison: "Comparison",
    given: "Source",
    protocol: "Protocol",
    *,
    per_query: Path | None,
    plot: Path | None,
) -> None:
    if per_query is not None:
        from earsight.experiments.perquery import write_per_query

        write_per_query(per_query, comparison, given.data)
    if plot is not None:
        from earsight.experiments import plots

        for path in plots.plot(plot, comparison, given.data, protocol):
            say(f"Drawn: {path}")


def _write_page(page: Path | None, comparison: "Comparison", described: str) -> None:
    if page is not None:
        from earsight.experiments.document import write_page

        say(f"Written into {page}: {write_page(page, comparison, described)}.")


def _by_features(
    source: str, audio: str | None, visual: str | None, *, alone: bool
) -> dict[str, str]:
    """Return the extractors to compare, by modality; refuse options that do not go with them."""
    if audio is None or visual is None or not Path(source).is_dir():
        raise typer.BadParameter("--audio and --visual go together, with a folder of clips.")
    if not alone:
        raise typer.BadParameter(
            "with --audio and --visual there is one table; --official-test, --per-query, "
            "--trec, --plot, --sizes, --markdown and --features belong to one pair of features."
        )
    return {"audio": audio, "visual": visual}


def _compare_features(
    clips: Path,
    specs: dict[str, str],
    methods: str | None,
    protocol: "Protocol",
    *,
    options: "Options",
    printed: bool,
) -> None:
    from earsight.cli.by_features import compare_features
    from earsight.experiments.compare import split_specs
    from earsight.experiments.reproduce import TABLE_1_METHOD

    compare_features(
        *(clips, specs, split_specs(methods or TABLE_1_METHOD), protocol),
        options=options,
        printed=printed,
        told=Sparingly(),
        done=tell_result,
    )


def _say_left_out() -> None:
    from earsight.experiments.compare import lacking_methods
    from earsight.extras import command

    for extra, names in lacking_methods().items():
        say(f"Left out, as they need an extra: {', '.join(names)}. To have them: {command(extra)}.")


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
    return Source(name=folder.resolve().name, asked=source, data=data)


def _described(given: "Source", how: str) -> str:
    views = ", ".join(f"{m} {x.shape[1]}-d" for m, x in given.data.views.items())
    return f"{given.name} ({views}). {how}"


class Sparingly:
    """Prints lines, but not more than one every few seconds."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print the line, or let it pass."""
        if time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            say(f"  {line}")


def tell_result(result: "Result", kept: bool) -> None:
    """Print a method's figures, or why it failed; `kept`: they were there before."""
    from earsight.experiments.runs import main_figure

    if result.error is not None:
        say(f"{result.method} failed: {printable(result.error)}")
        return
    figures = [f"{name} {main_figure(own):.3f}" for name, own in result.directions.items()]
    fit = f"{result.fit_seconds:.2f} s a fit"
    if kept:
        fit = f"done before, {result.about['date']}, commit {result.about['commit']}"
    say(f"{result.method}: {', '.join(figures)}; {fit}")


def _show_all(comparison: "Comparison", *, printed: bool) -> None:
    """Show the tables, or print the results as JSON."""
    if printed:
        rows = {one.method: one.as_json() for one in comparison.results}
        return out(json.dumps(rows, default=str))
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


def end_with(failed: "list[Result]", tell: Callable[[str], None]) -> None:
    """Say what failed; the exit code is 1 if anything did."""
    for result in failed:
        tell(f"{result.method} failed: {printable(result.error or '')}")
    if failed:
        raise typer.Exit(1)

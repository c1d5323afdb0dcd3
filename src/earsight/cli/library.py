"""`earsight index` and `evaluate`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import (
    out,
    plural,
    printable,
    progress,
    say,
    short,
    show,
    soon,
    table,
    warn,
)
from earsight.cli._trust import TrustOption, consent, with_consent

if TYPE_CHECKING:
    from earsight.library.indexing.pipeline import IndexReport
    from earsight.library.reports.evaluate import LibraryEvaluation

_NAMED = 5  # of what is passed over
TROUBLE = 3  # exit code: finished, but some clips had trouble


LibraryOption = Annotated[
    Path,
    typer.Option(
        "--library",
        "-l",
        help="The clips folder, the library folder itself, or s3://bucket/path; default: here.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


IndexLibrary = Annotated[
    str | None,
    typer.Option(
        "--library",
        "-l",
        help="Keep the library here instead of CLIPS/.earsight: a folder, or s3://bucket/path.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(help="folders (the first folder level), none, or a CSV file path,label."),
]
Learn = Annotated[
    str | None,
    typer.Option(
        help="never, auto, or a method; the learned embedding is used only if it is better on "
        "held-out clips."
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Pattern of files or folders to leave out; repeatable. '' for none."),
]
Features = Annotated[
    str | None,
    typer.Option(
        help="A pair of extractors: small (yamnet, efficientnet; the default), paper (vggish, "
        "inception), or best (of those compared so far, on 25 clips: the pair of small)."
    ),
]
Audio = Annotated[
    str | None, typer.Option(help="Extractor of sound features; none: sound is not read.")
]
Visual = Annotated[
    str | None, typer.Option(help="Extractor of sight features; none: sight is not read.")
]
Ears = Annotated[
    str | None,
    typer.Option(help="Which extractor names sounds: yamnet, soundnet_scenes, soundnet_objects."),
]
Eyes = Annotated[
    str | None,
    typer.Option(help="Which extractor names sights: efficientnet, i3d or i3d_kinetics."),
]
IndexAt = Annotated[
    str | None,
    typer.Option(
        "--index",
        help="Where vectors are searched: embedded (the default), or a Milvus server: "
        "milvus://host:port.",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: cores.")]
Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="Make a new embedding even if nothing changed.")
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Stay and follow the folder; a file is read once it stops changing."
    ),
]


def index(
    clips: Annotated[Path, typer.Argument(help="The folder of clips.")],
    *,
    library: IndexLibrary = None,
    labels: Labels = None,
    learn: Learn = None,
    exclude: Exclude = None,
    features: Features = None,
    audio: Audio = None,
    visual: Visual = None,
    ears: Ears = None,
    eyes: Eyes = None,
    index_at: IndexAt = None,
    workers: Workers = None,
    rebuild: Rebuild = False,
    watch: Watch = False,
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Make a folder of clips searchable, or bring its library up to date.

    Only what is new or changed is read. Options are remembered from one run to the next. With
    --watch it goes on until Ctrl-C, and --json prints an object after each change.
    """
    if watch and rebuild:
        raise typer.BadParameter("--rebuild is done once; index with it, then with --watch.")
    if features is not None and (audio is not None or visual is not None):
        raise typer.BadParameter("give --features, or --audio and --visual, but not both.")
    given = {"features": features, "audio": audio, "visual": visual, "ears": ears, "eyes": eyes}
    given |= {"learn": learn, "index": index_at, "labels": _checked_labels(labels)}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if exclude:
        settings["exclude"] = tuple(exclude)

    def show_report(report: "IndexReport") -> None:
        if as_json:
            out(json.dumps(asdict(report) | {"library": str(report.library)}, default=str))
        _show_report(report, str(library or clips), labels_asked=labels is not None)

    def run(agree: bool) -> "IndexReport":
        with soon(f"Looking through {printable(str(clips))} …"), progress() as shown:
            from earsight.library.indexing import pipeline
            from earsight.library.indexing.watch import watch_folder

            options = settings | {"library": library, "workers": workers, "progress": shown}
            if watch:
                watch_folder(clips, show_report, trust=agree, **options)
            return pipeline.index(clips, rebuild=rebuild, trust=agree, **options)

    if trust:
        consent(clips if library is None else library, trust)
    report = with_consent(run, trust)
    show_report(report)
    if report.trouble:
        raise typer.Exit(TROUBLE)


def _checked_labels(given: str | None) -> str | None:
    """Return the setting, having checked that a file is there."""
    if given is None or given in ("folders", "none"):
        return given
    if not Path(given).is_file():
        raise typer.BadParameter(
            f"it must be folders, none, or a CSV file that exists; got {given!r}.",
            param_hint="'--labels'",
        )
    return given


def _show_report(report: "IndexReport", location: str, *, labels_asked: bool) -> None:
    _show_changes(report)
    _show_left_out(report)
    if not report.rebuilt:
        say("Nothing to do: the library is up to date.")
    for path, status, why in report.trouble:
        warn(f"  {status}: {printable(path)}{f' ({printable(why)})' if why else ''}")
    if report.unlabelled and (labels_asked or report.rebuilt):
        say(printable(report.unlabelled))
    say(f"Search it: {_example(report, location)}")


def _show_changes(report: "IndexReport") -> None:
    changes = report.changes
    done = [
        f"{count} {what}"
        for count, what in (
            (changes.added, "read"),
            (changes.again, "read again"),
            (changes.moved, "moved"),
            (changes.gone, "gone"),
            (changes.unchanged, "unchanged"),
        )
        if count
    ]
    if changes.texts:
        done.append(f"{plural(changes.texts, 'text')} read or gone")
    say(f"{plural(report.n_clips, 'clip')}: {', '.join(done)}. {report.seconds:.1f} s.")
    if report.n_texts and report.takes_words:
        say(f"{plural(report.n_texts, 'text')} beside them: --by text, --for text.")


def _show_left_out(report: "IndexReport") -> None:
    if report.linked:
        say(
            f"{plural(len(report.linked), 'linked folder')} not followed: "
            f"{', '.join(map(printable, report.linked))}."
        )
    if report.odd:
        listed = [f"{printable(path)} ({what})" for path, what in report.odd[:_NAMED]]
        more = f" and {len(report.odd) - _NAMED} more" if len(report.odd) > _NAMED else ""
        say(f"Passed over, as these are no files: {', '.join(listed)}{more}.")
    if report.passed_over:
        say(f"{plural(report.passed_over, 'file')} of other kinds passed over.")
    if report.forgotten:
        say(f"{plural(report.forgotten, 'file')} left out because forgotten.")


def _example(report: "IndexReport", location: str) -> str:
    """Return a search that makes sense here: by the largest class, or by one of the clips."""
    query = quote(report.example or "SOUND_OR_PICTURE")
    if report.takes_words and (report.labels or not report.example):
        query = f"--text {quote(printable(next(iter(report.labels), 'what you look for')))}"
    elif not report.example.isprintable() or "%" in report.example:
        query = "SOUND_OR_PICTURE"  # a name that is not easily typed
    return f"earsight search {query} --library {quote(short(location))}"


def evaluate(
    library: LibraryOption = Path(), trust: TrustOption = False, as_json: Json = False
) -> None:
    """Score the clips as queries for each other, on held-out clips, in both directions."""
    from earsight.library.reports.evaluate import evaluate_library

    consent(library, trust)
    with progress() as shown:
        result = evaluate_library(library, progress=shown)
    if as_json:
        out(json.dumps(asdict(result)))
        return
    say(result.note)
    if result.left_out:
        say(f"{plural(result.left_out, 'clip')} without sound or without sight left out.")
    _scores(result)
    if len(result.spaces) > 1:
        counts = {name: result.spaces.count(name) for name in sorted(set(result.spaces))}
        chosen = ", ".join(f"{name} in {n}" for name, n in counts.items())
        say(f"The chosen space, fold by fold: {chosen}.")


def _scores(result: "LibraryEvaluation") -> None:
    made = table(plural(result.n_clips, "clip"), *map(_arrow, result.directions))
    figures = list(result.directions.values())
    labelled = "map" in figures[0]
    if labelled:
        made.add_row("MAP, same class", *(_cell(one, "map", "map_chance") for one in figures))
    for k in (1, 5, 10):
        if f"recall@{k}" in figures[0]:
            cells = (_cell(one, f"recall@{k}", f"recall_chance@{k}") for one in figures)
            made.add_row(f"recall@{k}, paired item", *cells)
    made.add_row("median rank, paired item", *(_median(one) for one in figures))
    made.add_row("mean reciprocal rank", *(f"{one['mrr']:.3f}" for one in figures))
    show(made)
    if not labelled:
        say("No labels, so no MAP. Put clips into one folder for each class, or use --labels.")


def _arrow(direction: str) -> str:
    return direction.replace("audio", "sound").replace("visual", "sight").replace("->", " → ")


def _cell(figures: Mapping[str, float], name: str, chance: str) -> str:
    return f"{figures[name]:.3f} (chance {figures[chance]:.3f})"


def _median(figures: Mapping[str, float]) -> str:
    return f"{figures['median_rank']:.1f} of {figures['gallery']:.0f}"

"""`earsight extract`, `earsight join` and `earsight extractors`."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import out, plural, printable, progress, say, short, show, table, warn
from earsight.cli.library import TROUBLE, Json
from earsight.extras import command

if TYPE_CHECKING:
    from earsight.extraction.extract import Extraction
    from earsight.extractors.runtime.listing import Kind


Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", help="The feature file to write, a path or s3://…: .h5, .hdf5 or .npz."
    ),
]

Engine = Annotated[
    str, typer.Option(help="Where the work runs: local, or ray (a cluster; give its --address).")
]
Address = Annotated[
    str | None,
    typer.Option(help="The host:port of the Ray cluster, as `ray start --head` shows it."),
]
Audio = Annotated[str | None, typer.Option(help="The extractor of sound features.")]
Visual = Annotated[str | None, typer.Option(help="The extractor of sight features.")]
LabelsOption = Annotated[
    str, typer.Option(help="The labels: folders (first level), none, or a CSV file of path,label.")
]
PartOption = Annotated[
    str | None,
    typer.Option(help="Read only part i of n, such as 3/10; `join` puts the parts together."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="A pattern of files or folders to leave out; may be repeated."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="The number of processes; default: the cores.")
]


def check_engine(engine: str, address: str | None) -> bool:
    """Return whether work is for a cluster."""
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"--engine must be local or ray; got {engine!r}.")
    if (engine == "ray") != (address is not None):
        raise typer.BadParameter("--engine ray and --address host:port go together.")
    return engine == "ray"


def extract(
    clips: Annotated[str, typer.Argument(help="The folder of clips, or s3://bucket/prefix.")],
    *,
    output: Output,
    audio: Audio = None,
    visual: Visual = None,
    labels: LabelsOption = "folders",
    part: PartOption = None,
    exclude: Exclude = None,
    workers: Workers = None,
    engine: Engine = "local",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Write the features of a folder of clips into one file, or bring that file up to date.

    For each clip the file holds the mean vector, and the vector and time of each step. Only new
    and changed clips are read; a run that was stopped goes on where it was. `earsight compare
    FILE` reads the file.
    """
    from earsight.extraction import extract
    from earsight.extraction.sharding import Part
    from earsight.storage import parse_location

    given = {"audio": audio, "visual": visual}
    specs = {modality: spec for modality, spec in given.items() if spec is not None}
    if not specs:
        raise typer.BadParameter(
            "give --audio, --visual, or both; `earsight extractors` lists them."
        )
    if check_engine(engine, address) and part:
        raise typer.BadParameter("--part is for --engine local; a cluster shares the clips itself.")
    how: dict[str, Any] = {
        "labels": labels,
        "part": Part.parse(part) if part else None,
        "exclude": tuple(exclude or ()),
        "workers": workers,
    }
    places = parse_location(clips), parse_location(output)
    with progress() as shown:
        if address is None:
            report = extract.extract(*places, specs, progress=shown, **how)
        else:
            from earsight.extraction.ray import extract_on_cluster

            report = extract_on_cluster(address, *places, specs, progress=shown, **how)
    if as_json:
        out(json.dumps(asdict(report) | {"output": str(report.output)}))
    _told(report)
    if labels == "folders" and not report.labels and not part:
        say("No labels: folders are classes where two of them hold two clips each; see --labels.")
    if report.trouble:
        raise typer.Exit(TROUBLE)


def _told(report: "Extraction") -> None:
    widths = ", ".join(f"{m} {facts['dim']}-d" for m, facts in report.features.items())
    say(
        f"{short(str(report.output))}: {plural(report.n_rows, 'row')} of "
        f"{plural(report.n_clips, 'clip')}, {widths}; {report.n_read} read, {report.seconds:.1f} s."
    )
    if not report.written:
        say("Nothing to do: the file is up to date.")
    if report.labels:
        say(f"Labels: {', '.join(f'{label} {n}' for label, n in report.labels.items())}.")
    for path, why in report.left_out:
        say(f"  no row: {printable(path)} ({why})")
    for path, status, why in report.trouble:
        warn(f"  {status}: {printable(path)}{f' ({printable(why)})' if why else ''}")


def join(
    files: Annotated[list[str], typer.Argument(help="The files that `extract --part` wrote.")],
    *,
    output: Output,
    partial: Annotated[
        bool, typer.Option("--partial", help="Join the files given even if parts are missing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join the files of `extract --part 1/n` … `n/n` into the file that one run would write."""
    from earsight.extraction import sharding
    from earsight.storage import parse_location

    locations = [parse_location(file) for file in files]
    report = sharding.join(locations, parse_location(output), partial=partial)
    if as_json:
        out(json.dumps(asdict(report) | {"output": str(report.output)}))
    say(
        f"{short(output)}: {plural(report.n_rows, 'row')} of "
        f"{plural(report.n_clips, 'clip')}, from {plural(len(files), 'part')}."
    )
    if report.missing:
        warn(f"  missing parts: {', '.join(map(str, report.missing))}")


def extractors(
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Measure the speed of those whose weights are here; takes minutes."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """List every extractor: what it reads, its dimension, its step, and the licence of its weights.

    --measure shows how many seconds of a clip are read in a second, by one process on all cores
    after a warm-up, on a made clip of 640 × 360 pixels and 12 s; and the same for decoding alone.
    """
    from earsight.extractors.runtime.listing import kinds, speed
    from earsight.weights import Store
    from earsight.weights.audit import listing

    weights = {row["name"]: row for row in listing(Store())}
    rows = [_described(kind, weights) for kind in kinds()]
    if measure:
        from earsight.demo.standard import draw_standard

        with TemporaryDirectory() as folder, progress() as shown:
            clip = Path(folder) / "standard.mp4"
            draw_standard(clip)
            able = [row for row in rows if row["here"] and row["modality"] != "text"]
            shown.start("Measuring", len(able))
            for row in able:
                row |= speed(row["name"], row["modality"], clip)
                shown.advance(row["name"])
            shown.finish()
    if as_json:
        out(json.dumps({"extractors": rows}))
        return
    _listed(rows, measured=measure)


def _described(kind: "Kind", weights: dict[str, Any]) -> dict[str, Any]:
    """Join what a kind says of itself with what the catalogue knows of its weights."""
    known = [weights[name] for name in kind.weights]
    sources = [
        next((s for s in row["sources"] if s["key"] == row["source"]), row["sources"][0])
        for row in known
    ]
    sizes = [source["size"] for source in sources]
    licences = list(dict.fromkeys(source["licence"] or "none stated" for source in sources))
    own = asdict(kind)
    if known:
        own["size"] = None if None in sizes else sum(sizes)
        own["licence"] = ", ".join(licences)
    return own


def _listed(rows: list[dict[str, Any]], *, measured: bool) -> None:
    from earsight.weights.checks import megabytes

    heads = ["name", "reads", "dimension", "a step each", "licence of weights", "size", "here"]
    made = table(*heads, *(["× real time", "decoding alone"] if measured else []))
    for row in rows:
        cells = [
            row["name"],
            row["modality"],
            "" if row["dim"] is None else str(row["dim"]),
            "" if row["hop"] is None else f"{row['hop']:g} s",
            row["licence"] or "needs none",
            "" if row["size"] is None else megabytes(row["size"]),
            "yes" if row["here"] else "no",
        ]
        if measured:
            cells += [f"{row[key]:.1f}" if key in row else "" for key in ("speed", "decoding")]
        made.add_row(*cells)
    show(made)
    if any(row["extra"] and not row["here"] for row in rows):
        say(f"clip, clap and pe_av need an extra: {command('foundation')}.")

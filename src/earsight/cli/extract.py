"""`earsight extract`, `earsight join` and `earsight extractors`."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import out, plural, printable, progress, say, short, show, table, warn
from earsight.cli.library import TROUBLE, Json

if TYPE_CHECKING:
    from earsight.extraction.extract import Extraction
    from earsight.extractors.runtime.listing import Kind


Output = Annotated[
    str,
    typer.Option("--output", "-o", help="The feature file, here or at s3://: .h5, .hdf5 or .npz."),
]

Engine = Annotated[
    str, typer.Option(help="Where work runs: local, or ray: on a cluster, by --address.")
]
Address = Annotated[
    str | None, typer.Option(help="host:port of the Ray cluster, as `ray start --head` tells it.")
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
    output: Output,
    audio: Annotated[str | None, typer.Option(help="Extractor of sound features.")] = None,
    visual: Annotated[str | None, typer.Option(help="Extractor of sight features.")] = None,
    labels: Annotated[
        str, typer.Option(help="folders (the first folder level), none, or a CSV file path,label.")
    ] = "folders",
    part: Annotated[
        str | None, typer.Option(help="Only part i of n, as 3/10: for many machines; see join.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of files or folders to leave out; repeatable."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: cores.")] = None,
    engine: Engine = "local",
    address: Address = None,
    parts: Annotated[
        int | None, typer.Option(min=1, help="Into how many parts a cluster cuts the clips.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write features of a folder of clips into one file, or bring that file up to date.

    Each clip has its mean, and its steps with their times. Only what is new or changed is read;
    what a stopped run had read is kept. `earsight compare FILE` reads it.
    """
    from earsight.extraction.extract import extract as run
    from earsight.extraction.sharding import Part
    from earsight.storage import place

    given = {"audio": audio, "visual": visual}
    specs = {modality: spec for modality, spec in given.items() if spec is not None}
    if not specs:
        raise typer.BadParameter(
            "give --audio, --visual, or both; `earsight extractors` lists them."
        )
    on_cluster = check_engine(engine, address)
    if (part and on_cluster) or (parts and not on_cluster):
        raise typer.BadParameter("--part is for --engine local, --parts for --engine ray.")
    how: dict[str, Any] = {"labels": labels, "exclude": tuple(exclude or ()), "workers": workers}
    with progress() as shown:
        if address is not None:
            from earsight.extraction.ray import extract_at

            report = extract_at(
                address, place(clips), place(output), specs, parts=parts, progress=shown, **how
            )
        else:
            cut = Part.parse(part) if part else None
            report = run(place(clips), place(output), specs, part=cut, progress=shown, **how)
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
    files: Annotated[list[str], typer.Argument(help="The files of extract --part.")],
    output: Output,
    partial: Annotated[
        bool, typer.Option("--partial", help="Join what there is, though parts are missing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join the files of `extract --part 1/n` … `n/n`: what one run over the folder would write."""
    from earsight.extraction.sharding import join as run
    from earsight.storage import place

    report = run([place(file) for file in files], place(output), partial=partial)
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
        bool, typer.Option("--measure", help="Measure those whose weights are here; minutes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every extractor: what it reads, how wide, how often, under which licence.

    --measure tells seconds of clip per second, on a drawn clip of 640 × 360 and 12 s, all cores,
    the network warm; beside it, decoding alone. One clip at a time, as a single process does it.
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
        say("clip, clap and pe_av need the extra: pip install 'earsight[foundation]'.")

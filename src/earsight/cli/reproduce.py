"""`earsight reproduce`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earsight.cli._show import out, say, show, table, warn
from earsight.cli.compare import (
    LOG,
    STDOUT,
    Again,
    Log,
    Seeds,
    Sparingly,
    end_with,
    tell_result,
)

if TYPE_CHECKING:
    from earsight.experiments.reproduce import Line

_HEADS = ("audio → visual", "published", "visual → audio", "published")


def reproduce(
    which: Annotated[str, typer.Argument(metavar="TABLE", help="table1 or table2.")],
    *,
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
    """Compute the paper's tables from published features, beside the published figures.

    table1: S-DCCA on several pairs of features. table2: CCA, DCCA, S-DCCA and TNN on VGGish and
    Inception features.
    """
    from earsight.experiments import compare, reproduce

    printed = json_folder == STDOUT
    options = compare.Options(json=None if printed else json_folder, again=again, log=log)
    lines, missing = reproduce.reproduce(
        which, features, seeds=seeds, options=options, told=Sparingly(), done=tell_result
    )
    if printed:
        rows = [vars(line) | {"result": line.result.as_json()} for line in lines]
        out(json.dumps(rows, default=str))
    else:
        _show_lines(lines)
    for sentence in missing:
        say(sentence)
    failed = [line.result for line in lines if line.result.error is not None]
    end_with(failed, warn if printed else out)


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

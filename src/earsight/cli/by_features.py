"""`earsight compare CLIPS --audio …,… --visual …,…`: the paper's table I on anyone's clips."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from earsight.cli._show import out, plural, printable, progress, say, show, table, warn
from earsight.cli.library import TROUBLE

if TYPE_CHECKING:
    from earsight.experiments.by_features import Pair
    from earsight.experiments.compare import Options
    from earsight.experiments.protocol import Protocol
    from earsight.experiments.results import Result


def compare_features(
    clips: Path,
    wanted: dict[str, str],
    methods: list[str],
    protocol: "Protocol",
    *,
    options: "Options",
    printed: bool,
    told: Callable[[str], None],
    done: Callable[["Result", bool], None],
) -> None:
    """Extract, compare every pair, and show the published figures beside ours."""
    from earsight.experiments.by_features import compare_by_features
    from earsight.experiments.compare import split_list
    from earsight.extraction.per_extractor import extract_each

    with progress() as shown:
        several = extract_each(
            clips, {m: split_list(specs) for m, specs in wanted.items()}, progress=shown
        )
    for modality, spec, why in several.missing:
        name = spec.partition(":")[0]
        warn(f"{modality} {spec} is left out: {why}. To have them: earsight weights pull {name}.")
    name = clips.resolve().name

    def told_of(result: "Result", kept: bool) -> None:
        say(result.about["data"]["source"])
        done(result, kept)

    pairs, n_rows = compare_by_features(
        *(name, several.found, methods, protocol), options=options, told=told, done=told_of
    )
    if printed:
        out(json.dumps([_as_json(pair) for pair in pairs], default=str))
    else:
        _shown(pairs, name, n_rows)
    failed = [
        f"{' / '.join(pair.features)}: {pair.method} failed: {printable(pair.result.error)}"
        for pair in pairs
        if pair.result and pair.result.error is not None
    ]
    for line in failed:
        warn(line)
    for path, why in several.left_out:
        say(f"  not in every table: {printable(path)} ({why})")
    for path, status, why in several.trouble:
        warn(f"  {status}: {printable(path)}{f' ({printable(why)})' if why else ''}")
    if failed or several.trouble:
        raise typer.Exit(1 if failed else TROUBLE)


def _as_json(pair: "Pair") -> dict[str, Any]:
    return {
        "features": list(pair.features),
        "method": pair.method,
        "published": pair.published,
        "result": pair.result and pair.result.as_json(),
    }


def _shown(pairs: "list[Pair]", name: str, n_rows: int) -> None:
    from earsight.experiments.published import TABLE_1_SOURCE

    directions = ("audio->visual", "visual->audio")
    made = table("features", "method", "audio → visual", "VEGAS", "visual → audio", "VEGAS")
    for pair in pairs:
        cells = [" / ".join(pair.features), pair.method]
        for number, direction in enumerate(directions):
            own = pair.result.directions.get(direction) if pair.result else None
            missing = "failed" if pair.result else "not run"
            cells.append(f"{100 * own['map']:.2f}" if own and "map" in own else missing)
            cells.append(f"{100 * pair.published[number]:.2f}" if pair.published else "")
        made.add_row(*cells)
    run = [pair.result for pair in pairs if pair.result and pair.result.error is None]
    if run:
        chance = [f"{100 * run[0].directions[d]['map_chance']:.2f}" for d in directions]
        made.add_row("", "chance", chance[0], "", chance[1], "")
    out(f"MAP in %, {plural(n_rows, 'clip')} of {name}")
    show(made)
    out(f"VEGAS: {TABLE_1_SOURCE}, on 28,103 clips of ten classes; not to be compared with ours.")
    say("Each pair is learned on the same rows and asked by the same ones.")

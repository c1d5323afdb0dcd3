"""`earsight align`: is the sound of a clip off, and a copy in which it is not."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earsight.cli._show import out, say

FRAME = 0.04  # seconds: nothing finer is told from the pictures of most films
NO_ANSWER = 3  # exit code: nothing is wrong, but there is no offset to tell


def align(
    clip: Annotated[Path, typer.Argument(help="A video.")],
    sound: Annotated[
        Path | None,
        typer.Argument(help="Set this file's sound against the clip's sight, not the clip's own."),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a repaired copy here; nothing is encoded again."),
    ] = None,
    reach: Annotated[float, typer.Option(help="The largest offset looked for, in seconds.")] = 2.5,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the copy if it is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell by how many milliseconds the sound of a clip is off, if that can be told.

    Ten witnesses compare what begins to sound with what begins to move; eight must agree. Where
    they do not (continuous or off-screen sound, a steady beat, silence, a still picture) there is
    no answer, exit code 3, and no copy. Far-off sound is late by nature: 3 ms a metre.
    """
    from earsight.alignment.clip_offset import MAX_SECONDS, repair
    from earsight.alignment.clip_offset import align as run

    found = run(clip, sound, reach=reach)
    offset = found.offset
    if not found.whole:
        say(f"Longer than {MAX_SECONDS:.0f} s; the beginning alone was looked at.")
    if as_json:
        out(json.dumps(found.as_json()))
    elif offset.seconds is None:
        out(f"no answer. {offset.why}")
    else:
        out(
            f"{1000 * offset.seconds:+.0f} ms: {_in_words(offset.seconds)}; "
            f"{offset.agreement} of {found.witnesses} witnesses agree"
        )
    if offset.seconds is None:
        raise typer.Exit(NO_ANSWER)
    if copy is not None:
        repair(found, copy, force=force)
        say(f"Written: {copy}")


def _in_words(seconds: float) -> str:
    if abs(seconds) <= FRAME:
        return "sound and sight are in step, to a frame"
    if seconds < 0:
        return f"the sound is {-1000 * seconds:.0f} ms early"
    return f"the sound is {1000 * seconds:.0f} ms late, or its source {340 * seconds:.0f} m away"

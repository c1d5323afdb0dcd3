"""`earsight align`: is the sound of a clip off, and a copy in which it is not."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earsight.cli._show import out, say

FRAME = 0.04  # seconds: nothing finer is told from the pictures of most films
NO_ANSWER = 3  # exit code: nothing is wrong, but there is no offset to tell


def align(
    clip: Annotated[Path, typer.Argument(help="A video file.")],
    sound: Annotated[
        Path | None,
        typer.Argument(help="Compare the sound of this file with the picture, not the clip's own."),
    ] = None,
    *,
    copy: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write a repaired copy to this file, without encoding again."
        ),
    ] = None,
    reach: Annotated[float, typer.Option(help="The largest offset to look for, in seconds.")] = 2.5,
    force: Annotated[bool, typer.Option("--force", help="Replace the copy if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate by how many milliseconds the sound of a clip is early or late.

    Ten independent estimates compare when sounds begin with when movements begin; eight must
    agree. If they do not (continuous or off-screen sound, a steady beat, silence, a still
    picture), there is no answer (exit code 3) and no copy. Sound from far away is late by nature:
    3 ms a metre.
    """
    from earsight.alignment import clip_offset

    found = clip_offset.align(clip, sound, reach=reach)
    offset = found.offset
    if not found.whole:
        say(f"Longer than {clip_offset.MAX_SECONDS:.0f} s; only the beginning was compared.")
    if as_json:
        out(json.dumps(found.as_json()))
    elif offset.seconds is None:
        out(f"no answer. {offset.why}")
    else:
        out(
            f"{1000 * offset.seconds:+.0f} ms: {_in_words(offset.seconds)}; "
            f"{offset.agreement} of {found.witnesses} independent estimates agree"
        )
    if offset.seconds is None:
        raise typer.Exit(NO_ANSWER)
    if copy is not None:
        clip_offset.repair(found, copy, force=force)
        say(f"Written: {copy}")


def _in_words(seconds: float) -> str:
    if abs(seconds) <= FRAME:
        return "sound and sight are in step, to a frame"
    if seconds < 0:
        return f"the sound is {-1000 * seconds:.0f} ms early"
    return f"the sound is {1000 * seconds:.0f} ms late, or its source {340 * seconds:.0f} m away"

"""`earsight move`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from earsight.cli._show import out, plural, progress, say, warn
from earsight.cli._trust import TrustOption, consent
from earsight.cli.library import Json, LibraryOption


def move(
    *,
    index: Annotated[
        str, typer.Option("--index", help="The new index: embedded, or milvus://host:port.")
    ],
    library: LibraryOption = Path(),
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Move the vectors of a library into another index. No clip is read again.

    The vectors are copied, read back and compared. Then the library switches to the new index in
    one step, and the old vectors are removed. If the move is stopped, the library stays as it was.
    For a Milvus server with a login, set EARSIGHT_MILVUS_TOKEN (user:password or an API key) and
    EARSIGHT_MILVUS_SERVER (its host:port).
    """
    from earsight.library.embedding import migrate

    consent(library, trust)
    with progress() as shown:
        done = migrate.move(library, index, progress=shown)
    if as_json:
        out(json.dumps(asdict(done) | {"library": str(done.library)}, default=str))
    for told in done.left:
        warn(told)
    if done.before == done.after:
        say(f"The vectors are in {done.after} already.")
    else:
        say(
            f"{plural(done.n_rows, 'vector')} moved from {done.before} to {done.after} and "
            f"compared there, in {done.seconds:.1f} s. The library searches there from now on."
        )

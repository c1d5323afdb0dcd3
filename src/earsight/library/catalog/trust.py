"""What a library asks for outside of itself, and what the user of this machine agreed to.

A library remembers settings: the address of a server, a file of labels, an extractor with files of
its own. On the machine where the user gave them, they are allowed. On another machine they are a
request of whoever sent the library, and are left out until the user agrees. Agreements lie in the
user's configuration, never in the library.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from earsight import discovery
from earsight.errors import EarsightError, LibraryError
from earsight.library.catalog.records import PARTS
from earsight.paths import as_text, config_home
from earsight.storage import Location, Remote, endpoint
from earsight.untrusted import parse_json
from earsight.vectors import EMBEDDED

OPTION = "--trust-library"
_REACHING = {"model": "model", "pca": "file", "checkpoint": "folder"}
"""Hyper-parameters that name something outside a library → what it is."""
_VERBS = {
    "server": "keep its vectors on the server",
    "file": "read the file",
    "folder": "use the folder",
    "model": "load the model, from a folder or the Hugging Face hub,",
    "plugin": "run the installed plug-in",
    "clips": "take these clips for those that it was made of, in",
}


@dataclass(frozen=True, order=True)
class Request:
    """Something outside of itself that a library asks for.

    Attributes:
        kind: "server", "file", "folder", "model", "plugin" or "clips".
        what: Its address, path or name, as the library has it.
    """

    kind: str
    what: str

    def __str__(self) -> str:
        what = as_text(os.fsencode(self.what))
        return (
            f"{_VERBS[self.kind]} {''.join(c if c.isprintable() else ascii(c)[1:-1] for c in what)}"
        )


class Trust:
    """The agreements of this machine's user with one library.

    A library is known by its location and its id, so that another one in its place has none.

    Args:
        library: Where it is.
        identity: Its id.
    """

    def __init__(self, library: Location, identity: str = "") -> None:
        self.library, self.identity = library, identity

    @cached_property
    def _record(self) -> "_Record":
        """What is kept; empty where nothing is.

        Raises:
            LibraryError: It cannot be read.
        """
        try:
            kept = parse_json(self.file.read_bytes(), file_names=True)
            if kept["id"] != self.identity:
                return _Record()
            clips = kept["clips"]
            if not isinstance(clips, str | None):
                raise TypeError("`clips` is no text")
            return _Record(
                Path(os.fsdecode(unquote_to_bytes(clips))) if clips else None,
                {Request(str(kind), str(what)) for kind, what in kept["allowed"]},
            )
        except (FileNotFoundError, NotADirectoryError):
            return _Record()
        except (ValueError, KeyError, TypeError) as error:
            raise LibraryError(
                f"What you allowed the library {self.library} is damaged: {self.file} ({error}). "
                "Remove that file to be asked again."
            ) from error
        except OSError as error:
            raise LibraryError(
                f"What you allowed the library {self.library} cannot be read: {error}. Make it "
                "readable, or name another folder for agreements: EARSIGHT_CONFIG=DIR."
            ) from error

    @property
    def clips(self) -> Path | None:
        """The folder of its clips, if the library lies outside of it and was indexed here."""
        return self._record.clips

    @property
    def allowed(self) -> frozenset[Request]:
        """The requests that were agreed to."""
        return frozenset(self._record.allowed)

    @property
    def file(self) -> Path:
        """Where it is kept: one file for each location of a library."""
        location = self.library
        whole = (
            f"{endpoint()} {location}"
            if isinstance(location, Remote)
            else os.path.realpath(location)
        )
        digest = hashlib.sha256(os.fsencode(whole)).hexdigest()
        return config_home() / "libraries" / f"{digest[:32]}.json"

    def bind(self, clips: Path, said: Path | None, *, agree: bool) -> None:
        """Remember that the library is about a folder of clips.

        Args:
            clips: The folder.
            said: The one that the library says it was made of.
            agree: Also where that is another one.

        Raises:
            NotTrustedError: It is, and nobody agreed.
        """
        asked = [] if said in (None, clips) else [Request("clips", str(said))]
        if not agree:
            self.check(asked)
        with self._changing() as record:
            record.clips = clips
            record.allowed |= set(asked)

    def allow(self, requests: Iterable[Request]) -> None:
        """Remember that these were agreed to."""
        more = set(requests)
        if more and not more <= self.allowed:
            with self._changing() as record:
                record.allowed |= more

    def check(self, requests: Iterable[Request], otherwise: str = "") -> None:
        """Check that everything asked for was agreed to.

        Args:
            requests: What is about to be done.
            otherwise: How to do without it, for the message.

        Raises:
            NotTrustedError: Something was not.
        """
        asked = set(requests)
        if asked and (refused := sorted(asked - self.allowed)):
            raise NotTrustedError(self, refused, otherwise)

    @contextmanager
    def _changing(self) -> Iterator["_Record"]:
        """Read the record under a lock, and write what it becomes."""
        folder = self.file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (folder / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.__dict__.pop("_record", None)
                yield self._record
                self._write(folder)
        except OSError as error:
            raise LibraryError(
                f"What you allowed the library {self.library} could not be kept in {folder}: "
                f"{error}. Make it writable, or name another folder: EARSIGHT_CONFIG=DIR."
            ) from error

    def _write(self, folder: Path) -> None:
        record = self._record
        kept: dict[str, Any] = {
            "library": as_text(os.fsencode(str(self.library))),  # for people
            "id": self.identity,
            "clips": quote_from_bytes(os.fsencode(record.clips), "/ ") if record.clips else None,
            "allowed": sorted([one.kind, one.what] for one in record.allowed),
        }
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".draft-")  # 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=1)
            Path(draft).replace(self.file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise


@dataclass
class _Record:
    clips: Path | None = None
    allowed: set[Request] = field(default_factory=set)


class NotTrustedError(LibraryError):
    """A library asks for something outside of itself that the user has not agreed to.

    Attributes:
        trust: Where an agreement is kept.
        requests: What it asks for.
    """

    def __init__(self, trust: Trust, requests: list[Request], otherwise: str = "") -> None:
        asked = "; ".join(map(str, requests))
        super().__init__(
            f"The library {trust.library} asks to {asked}. It may come from somebody else, and you "
            "have not agreed to that on this machine; nothing of it was done. `earsight status` "
            f"lists all that it asks for. To agree to that: {OPTION}, in Python trust=True or "
            f"earsight.trust_library.{f' {otherwise}' if otherwise else ''}"
        )
        self.trust = trust
        self.requests = requests


@contextmanager
def only_trusted_plugins(trust: Trust) -> Iterator[None]:
    """Refuse to import plug-ins that the user did not agree to."""

    def check(name: str, module: str) -> None:
        trust.check([_plugin(name, module)])

    with discovery.checking_plugins(check):
        yield


def _plugin(name: str, module: str) -> Request:
    return Request("plugin", f"{name} ({module})")


def requests_of(settings: Mapping[str, Any]) -> list[Request]:
    """Return what the settings of a library, or some of them, ask for; see also `label_requests`.

    Args:
        settings: Name → value: "index", "learn", and the extractors.
    """
    found = []
    if (index := settings.get("index", EMBEDDED)) != EMBEDDED:
        found.append(Request("server", index))
    for name in PARTS:
        if settings.get(name, "none") != "none":
            found += _of_spec("extractors", settings[name])
    if settings.get("learn", "auto") not in ("auto", "never"):
        found += _of_spec("methods", settings["learn"])
    return found


def label_requests(labels: str, clips: Path | None) -> list[Request]:
    """Return what the file of labels asks for: nothing where it lies in the folder of clips."""
    file = _outside(labels, clips)
    return [Request("file", file)] if file else []


def _outside(file: str, folder: Path | None) -> str | None:
    """Return the file outside a folder that a name leads to, None if it lies inside.

    No file is looked at, except that a link in the folder is followed.
    """
    named = os.path.normpath(file)
    if folder is None or not Path(named).is_relative_to(folder):
        return named
    real = os.path.realpath(named)
    return None if Path(real).is_relative_to(folder.resolve()) else real


def _of_spec(floor: str, spec: str) -> list[Request]:
    """Return what an extractor or a method asks for; a plug-in is not imported to find out."""
    try:
        name, parameters = discovery.parse_spec(spec)
    except EarsightError:
        return []  # it is refused when it is made
    module = discovery.names(floor).get(name)
    if module is None:
        return []
    if not module.startswith("earsight."):
        # Its parameters may name anything, so they are part of what is agreed to.
        return [_plugin(name, module)] + ([Request("plugin", spec)] if parameters else [])
    own = {one.name: one for one in fields(discovery.load(floor, name)) if one.init}
    found = []
    for key, kind in _REACHING.items():
        if key in own:
            value = parameters.get(key, own[key].default)
            if isinstance(value, str) and not discovery.means_none(own[key].type, value):
                here = kind in ("file", "folder")  # the same one, wherever `index` is called
                found.append(Request(kind, os.path.abspath(value) if here else value))  # noqa: PTH100
    return found

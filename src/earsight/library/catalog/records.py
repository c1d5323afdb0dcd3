"""The rows of a library: clips, contents, embeddings, settings. What a row says is checked here.

A library may come from somebody else, so the form of each row is checked: paths stay inside the
clips folder, names are names, numbers are numbers. Servers and files that a row names are checked
in `trust`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earsight.errors import LibraryError
from earsight.media import MEDIA_SUFFIXES, Status
from earsight.storage import Location
from earsight.untrusted import parse_json
from earsight.vectors import EMBEDDED

MODALITIES = ("audio", "visual")
"""What a media file holds; a text may lie beside it."""

TEXT_SUFFIXES = (b".txt", b".srt")  # of two texts with one name the first kind is taken
PARTS = ("audio", "visual", "ears", "eyes")
"""The extractors that made an embedding, by part."""

_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")  # of contents, fingerprints, digests
_TABLE = re.compile(r"embedding-[0-9]{1,18}(-[0-9a-f]{8})?")
SERVER_TABLE = re.compile(r"earsight_[0-9a-f]{16}_[0-9]{1,18}_[0-9a-f]{8}")
"""Names of our tables on a server. Nothing else there is looked at, even if a library names it."""

_ROLES = tuple(f"{space}{m}" for space in ("", "words.") for m in ("audio", "visual", "text"))
_MOST = 2**63 - 1
_LATEST = 1e8  # seconds: three years
LAST = 2**53  # number of an embedding
LONGEST = 4096  # bytes of a path, characters of a label or a setting
_WIDEST = 1 << 20  # numbers of a vector
_STATUSES = {status.value for status in Status}
_READ = re.compile(
    b"("
    + b"|".join(re.escape(one.encode()) for one in sorted(MEDIA_SUFFIXES))
    + rb"|\.txt|\.srt)\Z",
    re.IGNORECASE,
)
_OUTSIDE = re.compile(rb"(?:\A|/)(?:\.|/|\Z)|\0")  # a part that is empty or begins with a dot


@dataclass(frozen=True)
class Clip:
    """One file of the library."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    content: str
    label: str | None


@dataclass(frozen=True)
class Content:
    """What reading one content gave, whichever files hold it."""

    content: str
    status: str
    duration: float
    report: dict[str, Any]
    windows: int


@dataclass(frozen=True)
class Embedding:
    """One embedding: a model and a table of vectors."""

    id: int
    features: str
    digest: str
    n_rows: int
    made: str
    info: dict[str, Any]

    @property
    def index(self) -> str:
        """Where its vectors are: "embedded", or the address of a server."""
        return str(self.info.get("index", EMBEDDED))

    @property
    def table(self) -> str:
        """Name of its table of vectors."""
        return str(self.info.get("table", f"embedding-{self.id}"))

    @property
    def sources(self) -> dict[str, str]:
        """The extractors that it was made with, by part."""
        return dict(self.info["sources"])

    @property
    def roles(self) -> tuple[str, ...]:
        """What is kept of a file, as `Sources.roles` names it; older Earsights did not say."""
        return tuple(self.info.get("roles", ()))


def is_text(path: bytes) -> bool:
    """Return whether a file is a text by the end of its name."""
    return ending(path) in TEXT_SUFFIXES


def ending(path: bytes) -> bytes:
    """Return the end of a name in small letters.

    >>> ending(b"a.b/dog.MP4")
    b'.mp4'
    """
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - names are bytes


def stem(path: bytes) -> bytes:
    """Return a path without the end of its name.

    >>> stem(b"a.b/dog.MP4")
    b'a.b/dog'
    """
    return os.path.splitext(path)[0]  # noqa: PTH122 - names are bytes


class BadRowError(ValueError):
    """A row breaks a rule; the catalog adds which library it is in."""


def damaged(library: Location, why: object) -> LibraryError:
    """Return the error for a library whose rows are not what Earsight writes."""
    return LibraryError(
        f"The library {library} is damaged or was changed by hand: {why}. {how_to_remake(library)}"
    )


def how_to_remake(library: Location) -> str:
    """Say what to do where nothing else helps."""
    return f"Delete {library} and index again; the clips themselves are not touched."


def checked_clip(row: Mapping[str, Any]) -> Clip:
    """Return a clip from the values of its row.

    Raises:
        BadRowError: From this and all that follow: a value breaks a rule.
    """
    path = row.get("path")
    if not isinstance(path, bytes) or not is_inside(path):
        raise BadRowError(f"a clip lies at {_shown(path)}, not at a path inside the clips folder")
    if not _READ.search(path):
        raise BadRowError(f"a clip is {_shown(path)}, whose ending is of no kind that is read")
    label = row.get("label")
    return Clip(
        id=_whole(row.get("id"), "the number of a clip", 0),
        path=path,
        size=_whole(row.get("size"), "the size of a clip", 0),
        mtime_ns=_whole(row.get("mtime_ns"), "the time of a clip", -_MOST),
        content=checked_name(row.get("content"), "the content of a clip"),
        label=None if label is None else _text(label, "the label of a clip"),
    )


def checked_content(row: Mapping[str, Any]) -> Content:
    """Return a content; `report` is a JSON text, or what one said."""
    report = _object(row.get("report"), "the report of a content")
    status = row.get("status")
    if status not in _STATUSES:
        raise BadRowError(f"the status of a content is {_shown(status)}")
    again, rows = report.get("again"), report.get("rows")
    if not isinstance(again, bool) or not isinstance(rows, dict):
        raise BadRowError("the report of a content lacks `again` or `rows`")
    for modality, count in rows.items():
        _whole(count, f"the number of rows of {_shown(modality)}", 0)
    _text(report.get("message"), "the message of a report", longest=1 << 20)
    return Content(
        content=checked_name(row.get("content"), "a content"),
        status=status,
        duration=_number(row.get("duration"), "the duration of a content"),
        report=report,
        windows=_whole(row.get("windows"), "the number of windows", 0),
    )


def checked_embedding(row: Mapping[str, Any]) -> Embedding:
    """Return an embedding; `info` is a JSON text, or what one said."""
    info = _object(row.get("info"), "the row of an embedding")
    _text(info.get("space"), "`space` of an embedding")
    for name in ("index", "moved"):
        _text(info.get(name, ""), f"`{name}` of an embedding")
    table = info.get("table")
    form = _TABLE if info.get("index", EMBEDDED) == EMBEDDED else SERVER_TABLE
    if (table is not None or form is SERVER_TABLE) and not (
        isinstance(table, str) and form.fullmatch(table)
    ):
        raise BadRowError(f"the table of an embedding is {_shown(table)}")
    if info.get("dim") is not None:
        _whole(info["dim"], "the width of an embedding", 1, _WIDEST)
    sources = _object(info.get("sources"), "`sources` of an embedding")
    for part, spec in sources.items():
        if part not in PARTS:
            raise BadRowError(f"an extractor of an embedding is for {_shown(part)}")
        _text(spec, "an extractor of an embedding")
    roles = info.get("roles", [])
    if not isinstance(roles, list) or any(one not in _ROLES for one in roles):
        raise BadRowError(f"the roles of an embedding are {_shown(roles)}")
    decision = _object(info.get("decision", {}), "the decision of an embedding")
    _text(decision.get("why", ""), "the reason of a decision")
    _check_model(info.get("model", {}))
    return Embedding(
        id=_whole(row.get("id"), "the number of an embedding", 0, LAST),
        features=checked_name(row.get("features"), "the fingerprint of an embedding"),
        digest=checked_name(row.get("digest"), "the digest of an embedding"),
        n_rows=_whole(row.get("n_rows"), "the number of rows of an embedding", 0),
        made=_text(row.get("made"), "the time of an embedding"),
        info=info,
    )


def checked_settings(kept: object) -> dict[str, Any]:
    """Return the settings of a library: name → text, `exclude` → a list of texts."""
    settings = _object(kept, "the settings")
    for name, value in settings.items():
        if name != "exclude":
            _text(value, f"the setting {_shown(name)}")
            continue
        if not isinstance(value, list | tuple) or len(value) > LONGEST:
            raise BadRowError("the setting `exclude` is no list of patterns")
        for pattern in value:
            _text(pattern, "a pattern of `exclude`", longest=256)
    return settings


def checked_forgotten(kept: object) -> dict[str, list[tuple[bytes, int, int]]]:
    """Return content → (path, size, mtime_ns) of the files that held it."""
    found = {}
    for content, files in _object(kept, "the list of forgotten clips").items():
        checked_name(content, "a forgotten content")
        if not isinstance(files, list):
            raise BadRowError("the files of a forgotten clip are no list")
        found[content] = [_forgotten_file(file) for file in files]
    return found


def is_inside(path: bytes) -> bool:
    """Whether a path is relative and stays below its folder, with no hidden part.

    >>> is_inside(b"dog/a.wav"), is_inside(b"../a.wav"), is_inside(b"/a.wav"), is_inside(b".a/b")
    (True, False, False, False)
    """
    return 0 < len(path) <= LONGEST and _OUTSIDE.search(path) is None


def _forgotten_file(file: object) -> tuple[bytes, int, int]:
    if not isinstance(file, list) or len(file) != 3 or not isinstance(file[0], str):
        raise BadRowError("a file of a forgotten clip is not its path, size and time")
    try:
        path = bytes.fromhex(file[0])
    except ValueError:
        raise BadRowError("the path of a forgotten clip is not in hexadecimal digits") from None
    if not is_inside(path):
        raise BadRowError(f"a forgotten clip lay at {_shown(path)}")
    size, time = (_whole(x, "the size or time of a forgotten clip", -_MOST) for x in file[1:])
    return path, size, time


def _check_model(files: object) -> None:
    for name, digest in _object(files, "the model of an embedding").items():
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise BadRowError(f"the checksum of {_shown(name)} is {_shown(digest)}")


def _object(value: object, what: str) -> dict[str, Any]:
    if isinstance(value, str | bytes):
        try:
            value = parse_json(value, file_names=True)
        except ValueError as error:
            raise BadRowError(f"{what} cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise BadRowError(f"{what} is {_shown(value)}, not a JSON object")
    return value


def _whole(value: object, what: str, least: int, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadRowError(f"{what} is {_shown(value)}")
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadRowError(f"{what} is {_shown(value)}")
    if not 0 <= value < _LATEST:  # nor NaN
        raise BadRowError(f"{what} is {_shown(value)}")
    return float(value)


def checked_name(value: object, what: str) -> str:
    """Return the name of a content, a fingerprint or a digest."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadRowError(f"{what} is {_shown(value)}")
    return value


def _text(value: object, what: str, longest: int = LONGEST) -> str:
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise BadRowError(f"{what} is {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Return a value as a message may show it: short, on one line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"

"""The clips of a library, for people: where, how long, what is in them, what went wrong."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from earsight.errors import InputError
from earsight.library.catalog.records import MODALITIES, Clip, Content, is_text
from earsight.library.catalog.sidecars import texts_of_clips
from earsight.library.catalog.sqlite import Catalog
from earsight.media import Status
from earsight.paths import as_text


@dataclass(frozen=True)
class LibraryClip:
    """One clip of a library.

    Attributes:
        id: Its number; it stays as long as the file stays in the library, also where it moves.
        path: Relative to the clips folder; bytes outside UTF-8 as %XX.
        label: Its class, or None.
        seconds: How long it is; None where it could not be read.
        has: Of "audio" and "visual", what it can be found by.
        status: "ok", "partial", "no_audio", "no_video", "unreadable", or "not read".
        message: What was wrong; empty where nothing was.
        content: SHA-256 of the file; copies share it.
        file: Where it is; NAME:/PATH where this machine does not know the clips folder.
        size, mtime_ns: Of the file as it was read.
        text: Content of the text beside it that it can be found by; None where there is none.
        root: The clips folder; None where this machine does not know it.
    """

    id: int
    path: str
    label: str | None
    seconds: float | None
    has: tuple[str, ...]
    status: str
    message: str
    content: str
    file: Path
    size: int
    mtime_ns: int
    text: str | None = None
    root: Path | None = None

    @property
    def shown(self) -> str:
        """Its absolute path as text; bytes outside UTF-8 as %XX."""
        return as_text(os.fsencode(self.file))


@dataclass(frozen=True)
class Filter:
    """Which clips are wanted; what is None does not matter.

    Attributes:
        label: Of this class.
        min_seconds, max_seconds: At least, and at most, so long.
        name: Part of the path, in any case.
    """

    label: str | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for field in ("min_seconds", "max_seconds"):
            value = getattr(self, field)
            if value is not None and not 0 <= value < float("inf"):
                raise InputError(f"`{field}` must be 0 or more, and finite; got {value}.")

    @property
    def is_empty(self) -> bool:
        """Whether every clip passes."""
        return self == Filter()

    def passes(self, clip: LibraryClip) -> bool:
        """Whether a clip is wanted; a length that is unknown is no length."""
        if self.label is not None and clip.label != self.label:
            return False
        if self.name is not None and self.name.casefold() not in clip.path.casefold():
            return False
        if self.min_seconds is None and self.max_seconds is None:
            return True
        if clip.seconds is None:
            return False
        return (self.min_seconds or 0.0) <= clip.seconds <= (self.max_seconds or float("inf"))


def list_clips(catalog: Catalog, features: str) -> list[LibraryClip]:
    """Return the clips of a library by path, with what the extractors `features` found in them."""
    return _listed(catalog, catalog.clips_and_texts(), catalog.contents(features))


def clips_by_content(
    catalog: Catalog,
    features: str,
    clips: Callable[[], list[LibraryClip]],
    *,
    at_once: bool,
) -> Mapping[str, list[LibraryClip]]:
    """Return content → the clips that hold it.

    Args:
        catalog: The library's.
        features: Fingerprint of the extractors.
        clips: Returns all clips.
        at_once: Read all of them at once, as for many questions.
    """
    if at_once:
        return clips_by("content", clips())
    return ClipsByContent(catalog, features, clips)


class ClipsByContent(Mapping[str, list[LibraryClip]]):
    """Content → the clips that hold it: each is looked up, until all are gone through.

    Args:
        catalog: The catalog of the library.
        features: Fingerprint of the extractors.
        clips: Returns all clips.
    """

    def __init__(
        self, catalog: Catalog, features: str, clips: Callable[[], Iterable[LibraryClip]]
    ) -> None:
        self._catalog, self._features, self._clips = catalog, features, clips
        self._found: dict[str, list[LibraryClip]] = {}

    @cached_property
    def _all(self) -> dict[str, list[LibraryClip]]:
        return clips_by("content", self._clips())

    def __getitem__(self, content: str) -> list[LibraryClip]:
        if "_all" in self.__dict__:
            return self._all[content]
        if content not in self._found:
            files, read = self._catalog.around(content, self._features)
            clips = [file for file in files if file.content == content and not is_text(file.path)]
            texts = [file for file in files if is_text(file.path)]
            self._found[content] = _listed(self._catalog, (clips, texts), read)
        if not self._found[content]:
            raise KeyError(content)
        return self._found[content]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def clips_by(key: str, clips: Iterable[LibraryClip]) -> dict[str, list[LibraryClip]]:
    """Return "content" or "text" → the clips that have it."""
    found: dict[str, list[LibraryClip]] = {}
    for clip in clips:
        if (content := getattr(clip, key)) is not None:
            found.setdefault(content, []).append(clip)
    return found


def _listed(
    catalog: Catalog, files: tuple[list[Clip], list[Clip]], contents: Mapping[str, Content]
) -> list[LibraryClip]:
    known, texts = files[0], texts_of_clips(*files)
    clips = []
    for clip in known:
        found = contents.get(clip.content)
        said = texts.get(clip.path)
        text = contents.get(said.content) if said else None
        rows = found.report["rows"] if found else {}
        clips.append(
            LibraryClip(
                id=clip.id,
                path=catalog.name_of(clip),
                label=clip.label,
                seconds=found.duration if found and found.status != Status.UNREADABLE else None,
                has=tuple(modality for modality in MODALITIES if rows.get(modality)),
                status=found.status if found else "not read",
                message=found.report["message"] if found else "",
                content=clip.content,
                file=catalog.file_of(clip),
                size=clip.size,
                mtime_ns=clip.mtime_ns,
                text=text.content if text and text.windows else None,
                root=catalog.root if catalog.knows_root else None,
            )
        )
    return clips

"""What has changed in a folder of clips since it was last read.

A file is unchanged when path, size and time are. Otherwise its content decides: a known content
under a new name is a move (the old name is gone) or a copy, and neither is read again.
"""

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from earsight.errors import LibraryError
from earsight.library.store import Clip
from earsight.media import MEDIA_SUFFIXES
from earsight.paths import as_text


@dataclass(frozen=True)
class File:
    """One media file on disk, its path relative to the clips folder."""

    path: bytes
    size: int
    mtime_ns: int


@dataclass
class Scan:
    """The files of a folder against the clips of its library.

    Attributes:
        same: Clips that need no work.
        fresh: Files that are new or may have changed; their content is not known yet.
        missing: Clips whose file is gone, or has moved (`match_moves` tells).
        closed: Folders that cannot be read, with the reason; their clips stay as they are.
        passed_over: How many files were not media by the end of their name.
    """

    same: list[Clip] = field(default_factory=list)
    fresh: list[File] = field(default_factory=list)
    missing: list[Clip] = field(default_factory=list)
    closed: dict[bytes, str] = field(default_factory=dict)
    passed_over: int = 0


def scan(root: Path, clips: Iterable[Clip], exclude: Iterable[str] = ()) -> Scan:
    """Walk `root` and compare it with the clips that the library knows.

    Hidden files and folders are skipped (`.earsight`, `._clip.mp4`), and so is what matches a
    pattern of `exclude`. Links to files are read, links to folders are not followed.

    Args:
        root: The clips folder.
        clips: The library's clips.
        exclude: Patterns (`*` and `?` also match slashes) for relative paths, or for the name of
            any folder on the way.

    Raises:
        LibraryError: `root` is not a folder that can be read.
    """
    known = {clip.path: clip for clip in clips}
    result = Scan()
    seen = set()
    patterns = tuple(filter(None, exclude))
    for path, info in _walk(os.fsencode(root), b"", patterns, result.closed):
        if Path(os.fsdecode(path)).suffix.lower() not in MEDIA_SUFFIXES:
            result.passed_over += 1
            continue
        seen.add(path)
        clip = known.get(path)
        if clip and (clip.size, clip.mtime_ns) == (info.st_size, info.st_mtime_ns):
            result.same.append(clip)
        else:
            result.fresh.append(File(path, info.st_size, info.st_mtime_ns))
    shut = tuple(folder + b"/" for folder in result.closed)
    for path, clip in known.items():
        if path not in seen:
            (result.same if path.startswith(shut) else result.missing).append(clip)
    return result


def _walk(
    root: bytes, below: bytes, exclude: tuple[str, ...], closed: dict[bytes, str]
) -> Iterator[tuple[bytes, os.stat_result]]:
    try:
        entries = sorted(os.scandir(os.path.join(root, below)), key=lambda entry: entry.name)
    except OSError as error:
        if not below:
            raise LibraryError(
                f"The folder {as_text(root)} cannot be read: {error.strerror}."
            ) from error
        closed[below] = f"The folder cannot be read: {error.strerror}."
        return
    for entry in entries:
        path = os.path.join(below, entry.name)
        if entry.name.startswith(b".") or _excluded(path, exclude):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path, exclude, closed)
        elif not entry.is_dir():
            try:
                info = entry.stat()
            except OSError:  # a link to nothing, or a file deleted just now: not there
                continue
            if stat.S_ISREG(info.st_mode):
                yield path, info


def _excluded(path: bytes, patterns: tuple[str, ...]) -> bool:
    text, name = as_text(path), as_text(os.path.basename(path))
    return any(
        fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(name, pattern.rstrip("/"))
        for pattern in patterns
    )


def content_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def match_moves(missing: Iterable[Clip], arrived: Iterable[tuple[File, str]]) -> dict[bytes, bytes]:
    """Return old path → new path for clips that went missing while their content arrived.

    Args:
        missing: Clips whose file is gone.
        arrived: Files under new names, with their contents.
    """
    places: dict[str, list[bytes]] = {}
    for clip in missing:
        places.setdefault(clip.content, []).append(clip.path)
    return {places[content].pop(0): file.path for file, content in arrived if places.get(content)}

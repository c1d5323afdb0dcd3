"""Scan a folder of clips: which files are new, changed or gone since it was last read.

A file is unchanged if its path, size and time are. Otherwise its content decides: a known content
under a new name is a move (if the old name is gone) or a copy, and neither is read again.
"""

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earsight.errors import LibraryError
from earsight.library.catalog.records import Clip, ending, is_text, stem
from earsight.library.catalog.sidecars import choose_texts
from earsight.library.catalog.sqlite import Catalog
from earsight.media import MEDIA_SUFFIXES
from earsight.paths import as_text
from earsight.storage import Location
from earsight.untrusted import content_hash

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


_DEEPEST = 200  # folders inside each other


@dataclass(frozen=True)
class File:
    """One file on disk, its path relative to the clips folder."""

    path: bytes
    size: int
    mtime_ns: int


@dataclass
class Found:
    """Files on disk against those that a library knows.

    Attributes:
        same: Files that need no work.
        fresh: Files that are new or may have changed; their content is not known yet.
        missing: Known files that are gone, or have moved (`match_moves` tells).
    """

    same: list[Clip] = field(default_factory=list)
    fresh: list[File] = field(default_factory=list)
    missing: list[Clip] = field(default_factory=list)

    def beside(self, clips: Iterable[bytes]) -> "Found":
        """Return the texts of these clips; those of others are missing, if they were known."""
        stems = {stem(path) for path in clips}
        return Found(
            [text for text in self.same if stem(text.path) in stems],
            [text for text in self.fresh if stem(text.path) in stems],
            self.missing + [text for text in self.same if stem(text.path) not in stems],
        )


@dataclass
class Scan(Found):
    """The clips of a folder against those of its library.

    Attributes:
        texts: The same for the texts beside clips.
        closed: Folders that cannot be read, with the reason; their clips stay as they are.
        linked: Folders that are links; they are not followed.
        odd: What is neither file nor folder, with what it is: links to nothing, pipes, sockets,
            devices. It is not opened: reading a pipe may never end.
        passed_over: How many files were not media by the end of their name, nor a clip's text.
    """

    texts: Found = field(default_factory=Found)
    closed: dict[bytes, str] = field(default_factory=dict)
    linked: list[bytes] = field(default_factory=list)
    odd: dict[bytes, str] = field(default_factory=dict)
    passed_over: int = 0


def scan(root: Path, files: Iterable[Clip], exclude: Iterable[str] = ()) -> Scan:
    """Walk `root` and compare it with the files that the library knows.

    Hidden files and folders are skipped (`.earsight`, `._clip.mp4`), and so is what matches a
    pattern of `exclude`. Links to files are read, links to folders are not followed.

    Args:
        root: The clips folder.
        files: The library's clips, and the texts beside them.
        exclude: Patterns (`*` and `?` also match slashes) for relative paths, or for the name of
            any folder on the way.

    Raises:
        LibraryError: `root` is not a folder that can be read.
    """
    result = Scan()
    patterns = tuple(filter(None, exclude))
    return compare_files(_walk(os.fsencode(root), b"", patterns, result), files, result)


def refuse_empty(root: Path, library: Location, found: Scan, exclude: Sequence[str]) -> None:
    """Refuse to empty a library because its folder holds no clips: its disk may not be there.

    Raises:
        LibraryError: The folder holds no media at all.
    """
    if found.same or found.fresh:
        return
    if any(exclude) and scan(root, ()).fresh:
        raise LibraryError(
            f"Everything in {root} is left out by --exclude {' '.join(exclude)}. Nothing was "
            "changed. To leave out nothing: --exclude ''."
        )
    if found.missing:
        raise LibraryError(
            f"{root} holds no media now, but its library knows {len(found.missing)} clips. "
            f"Is the disk there? Nothing was changed. To forget them all, delete {library}."
        )
    others = f" ({found.passed_over} files of other kinds)" if found.passed_over else ""
    raise LibraryError(
        f"{root} holds nothing playable: no file whose name ends like that of a video, a "
        f"sound or a picture{others}."
    )


def compare_files(here: Iterable[File], files: Iterable[Clip], result: Scan) -> Scan:
    """Compare the files of a folder with those that are known; return `result`, filled.

    Args:
        here: Every file there.
        files: The known clips, and the texts beside them.
        result: What the walk noted: folders that are closed or links.
    """
    known = {file.path: file for file in files}
    media: dict[bytes, File] = {}
    texts: dict[bytes, File] = {}
    for file in here:
        if os.fsdecode(ending(file.path)) in MEDIA_SUFFIXES:
            media[file.path] = file
        elif is_text(file.path):
            texts[file.path] = file
        else:
            result.passed_over += 1
    used = choose_texts(texts, media)
    result.passed_over += len(texts) - len(used)
    shut = tuple(folder + b"/" for folder in result.closed)
    clips = {path: clip for path, clip in known.items() if not is_text(path)}
    _compare(result, media, clips, shut)
    others = {path: text for path, text in known.items() if is_text(path)}
    _compare(result.texts, {path: texts[path] for path in used}, others, shut)
    return result


def _compare(
    found: Found,
    here: Mapping[bytes, File],
    known: Mapping[bytes, Clip],
    shut: tuple[bytes, ...],
) -> None:
    for path in sorted(here):
        file, clip = here[path], known.get(path)
        if clip and (clip.size, clip.mtime_ns) == (file.size, file.mtime_ns):
            found.same.append(clip)
        else:
            found.fresh.append(file)
    for path, clip in known.items():
        if path not in here:
            (found.same if path.startswith(shut) else found.missing).append(clip)


def _walk(root: bytes, below: bytes, exclude: tuple[str, ...], result: Scan) -> Iterator[File]:
    if below.count(b"/") >= _DEEPEST:
        result.closed[below] = f"It lies in more than {_DEEPEST} folders, and is not looked into."
        return
    try:
        entries = sorted(os.scandir(os.path.join(root, below)), key=lambda entry: entry.name)
    except OSError as error:
        if not below:
            raise LibraryError(
                f"The folder {as_text(root)} cannot be read: {error.strerror}."
            ) from error
        result.closed[below] = f"The folder cannot be read: {error.strerror}."
        return
    for entry in entries:
        path = os.path.join(below, entry.name)
        if is_excluded(path, exclude):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path, exclude, result)
            continue
        try:
            info = entry.stat()
        except OSError:  # a link to nothing or in a circle; or a file deleted just now
            if entry.is_symlink():
                result.odd[path] = "a link that cannot be followed"
            continue
        if stat.S_ISDIR(info.st_mode):
            result.linked.append(path)
        elif stat.S_ISREG(info.st_mode):
            yield File(path, info.st_size, info.st_mtime_ns)
        else:
            result.odd[path] = _KINDS.get(stat.S_IFMT(info.st_mode), "no file")


def is_excluded(path: bytes, patterns: tuple[str, ...]) -> bool:
    """Return whether a file or folder is hidden, or matches a pattern of what to exclude."""
    text, name = as_text(path), as_text(os.path.basename(path))
    return name.startswith(".") or any(
        fnmatch.fnmatchcase(text, pattern) or fnmatch.fnmatchcase(name, pattern.rstrip("/"))
        for pattern in patterns
    )


def match_moves(missing: Iterable[Clip], arrived: Iterable[tuple[File, str]]) -> dict[bytes, bytes]:
    """Return old path → new path for clips that went missing while their content arrived.

    Args:
        missing: Clips whose file is gone.
        arrived: Files under new names, with their contents.
    """
    paths: dict[str, list[bytes]] = {}
    for clip in missing:
        paths.setdefault(clip.content, []).append(clip.path)
    return {paths[content].pop(0): file.path for file, content in arrived if paths.get(content)}


def without_forgotten(catalog: Catalog, found: Scan, *, remember: bool = False) -> tuple[Scan, int]:
    """Return a scan without what was forgotten, and how many files that were.

    A file is hashed once, and only if it has the size of a forgotten one.

    Args:
        catalog: The catalog of the library.
        found: Its folder, scanned.
        remember: Note where forgotten contents are now; only a writer can.
    """
    forgotten = {
        name: [File(*file) for file in files] for name, files in catalog.forgotten().items()
    }
    if not forgotten:
        return found, 0
    sizes = {file.size for files in forgotten.values() for file in files}
    seen = {file: content for content, files in forgotten.items() for file in files}
    fresh: list[File] = []
    here: dict[str, list[File]] = {}
    for file in found.fresh:
        content = seen.get(file)
        if content is None and file.size in sizes:
            content = hash_if_readable(catalog.root / os.fsdecode(file.path))
        if content in forgotten:
            here.setdefault(content, []).append(file)
        else:
            fresh.append(file)
    hidden = {file.path for files in here.values() for file in files}
    # A clip may hold now what was forgotten; or a kill came before its row had gone.
    gone = [clip for clip in catalog.files() if clip.content in forgotten or clip.path in hidden]
    if remember:
        catalog.forget(forgotten_rows(here))
    same = [clip for clip in found.same if clip not in gone]
    paths = [clip.path for clip in same] + [file.path for file in fresh]
    staying = {stem(path) for path in paths if not is_text(path)}
    fresh = [file for file in fresh if not is_text(file.path) or stem(file.path) in staying]
    missing = found.missing + [clip for clip in gone if clip not in found.missing]
    texts = found.texts.beside([clip.path for clip in same] + [file.path for file in fresh])
    return replace(found, same=same, fresh=fresh, missing=missing, texts=texts), len(hidden)


def forgotten_rows(files: Mapping[str, Iterable[File]]) -> dict[str, list[list[Any]]]:
    """Return content → its files, as the catalog keeps what was forgotten."""
    return {
        content: [[file.path.hex(), file.size, file.mtime_ns] for file in some]
        for content, some in files.items()
    }


def hash_if_readable(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where it cannot be read."""
    try:
        return content_hash(path)
    except OSError:
        return None

"""Take clips out of a library while their files stay on disk, and keep them out.

The content of a file is forgotten, not its name: its copies leave too, with the texts beside them,
and neither a move nor a new name brings them back; `undo_forget` does. The next `index` removes
what was read of them from disk. To leave out a folder or a name, use `index --exclude`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.open import open_for_writing, open_library
from earsight.library.catalog.records import Clip, stem
from earsight.library.catalog.scan import File, forgotten_rows, hash_if_readable
from earsight.library.catalog.sqlite import Catalog
from earsight.paths import as_text
from earsight.storage import Location


@dataclass(frozen=True)
class Forgotten:
    """The files that left a library, or may come back.

    Attributes:
        paths: Files, relative to the clips folder.
        copies: How many of them were not named, but have the content of a named one.
        n_clips: Clips that the library has now.
    """

    paths: list[str]
    copies: int
    n_clips: int


def forget_clips(library: str | Location, clips: Sequence[str | Path]) -> Forgotten:
    """Take clips out of the library; their files are not touched.

    Args:
        library: The clips folder, or the library folder itself.
        clips: Files as seen from here, or relative to the clips folder.

    Raises:
        InputError: One of them is no clip of the library; nothing was changed.
        LibraryError: No library, no clip would be left, or it cannot be written.
    """
    with open_for_writing(library) as catalog:
        known = catalog.clips()
        chosen = [_find_clip(catalog, known, clip) for clip in clips]
        contents = {clip.content for clip in chosen}
        leaving = [clip for clip in known if clip.content in contents]
        if len(leaving) == len(known):
            raise LibraryError(
                f"These are all {len(known)} clips of {catalog.folder}. To forget a whole library, "
                "delete that folder; the clips themselves are not in it."
            )
        files = _forgotten_files(catalog)
        for clip in leaving:
            file = File(clip.path, clip.size, clip.mtime_ns)
            files.setdefault(_hash_of_file(catalog, clip), []).append(file)
        catalog.forget(forgotten_rows(files))  # first: a kill after this loses nothing
        staying = {stem(clip.path) for clip in known if clip not in leaving}
        texts = [text for text in catalog.texts() if stem(text.path) not in staying]
        catalog.drop([*leaving, *texts])
        return Forgotten(
            paths=[catalog.name_of(clip) for clip in leaving],
            copies=len(leaving) - len({clip.path for clip in chosen}),
            n_clips=len(known) - len(leaving),
        )


def undo_forget(library: str | Location, clips: Sequence[str | Path]) -> Forgotten:
    """Let forgotten clips come back at the next `index`.

    Args:
        library, clips: As for `forget`.

    Raises:
        InputError: One of them was not forgotten; nothing was changed.
        LibraryError: No library, or it cannot be written.
    """
    with open_for_writing(library) as catalog:
        files = _forgotten_files(catalog)
        by_path = {file.path: content for content, some in files.items() for file in some}
        back = set()
        for clip in clips:
            path = next((one for one in _possible_paths(catalog, clip) if one in by_path), None)
            if path is None:
                raise InputError(
                    f"{clip} was not forgotten. To see what was: earsight forget --list."
                )
            back.add(by_path[path])
        paths = [as_text(file.path) for content in sorted(back) for file in files[content]]
        catalog.take_back(back)
        return Forgotten(paths=paths, copies=len(paths) - len(clips), n_clips=len(catalog.clips()))


def list_forgotten(library: str | Location) -> list[str]:
    """Return the files that were forgotten, relative to the clips folder, as last seen there."""
    with open_library(library) as catalog:
        return forgotten_paths(catalog)


def forgotten_paths(catalog: Catalog) -> list[str]:
    """Return the files that were forgotten from an open library."""
    return sorted(
        as_text(file.path) for some in _forgotten_files(catalog).values() for file in some
    )


def _forgotten_files(catalog: Catalog) -> dict[str, list[File]]:
    return {name: [File(*file) for file in files] for name, files in catalog.forgotten().items()}


def _find_clip(catalog: Catalog, clips: Sequence[Clip], clip: str | Path) -> Clip:
    """Return the clip that a user names: as `status` shows it, or as a path."""
    by_name = {catalog.name_of(one): one for one in clips}
    if str(clip) in by_name:
        return by_name[str(clip)]
    by_path = {one.path: one for one in clips}
    for path in _possible_paths(catalog, clip):
        if path in by_path:
            return by_path[path]
        if any(one.startswith(path + b"/") for one in by_path):
            raise InputError(
                f"{clip} is a folder; forget takes clips. To leave out a folder: "
                f"earsight index CLIPS --exclude '{as_text(path)}'."
            )
    name = os.fsencode(Path(clip).name)
    alike = [catalog.name_of(one) for one in clips if one.path.rpartition(b"/")[2] == name]
    hint = f" Is it {' or '.join(sorted(alike)[:3])}?" if alike else ""
    raise InputError(
        f"{clip} is no clip of the library {catalog.folder}; nothing was changed. Name a clip "
        f"relative to the clips folder, or as seen from here.{hint}"
    )


def _possible_paths(catalog: Catalog, clip: str | Path) -> Iterator[bytes]:
    """Yield the paths in the clips folder that a name may mean."""
    if not catalog.knows_root:
        return
    given = Path(os.path.abspath(clip))  # noqa: PTH100 - a link to a clip is a clip
    for path in (given, given.parent.resolve() / given.name):
        for base in (catalog.root, catalog.root.resolve()):
            if path.is_relative_to(base):
                yield os.fsencode(path.relative_to(base))
    yield os.fsencode(os.path.normpath(clip))


def _hash_of_file(catalog: Catalog, clip: Clip) -> str:
    """Return the hash of a clip's file; the content of an unreadable clip is another one."""
    return (hash_if_readable(catalog.file_of(clip)) if catalog.knows_root else None) or clip.content

"""Let clips leave a library while their files stay on disk, and keep them out.

What is forgotten is what a file holds, as everything here belongs to contents: its copies leave
with it, and the text beside it, and it stays out wherever it is moved and whatever it is called,
until it is taken back. To leave out a place or a name there is `index --exclude`. What reading gave
of a forgotten clip is removed from disk by the next `index`; no answer shows it from now on.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.base import Store, writing
from earsight.library.catalog.location import drop_own_folder, find
from earsight.library.catalog.machines import OF_A_FOLDER
from earsight.library.catalog.records import Clip
from earsight.library.catalog.scan import File, Scan, content_of
from earsight.library.catalog.sidecars import is_text, stem
from earsight.paths import as_text
from earsight.storage import Place, Remote

_Places = dict[str, list[File]]  # content → the files that hold it, as last seen


@dataclass(frozen=True)
class Forgotten:
    """What left a library, or was taken back.

    Attributes:
        paths: Files, relative to the clips folder.
        copies: How many of them were not named, but hold what a named one holds.
        n_clips: Clips that the library has now.
    """

    paths: list[str]
    copies: int
    n_clips: int


def forget(library: str | Place, clips: Sequence[str | Path]) -> Forgotten:
    """Let clips leave the library; their files are not touched.

    Args:
        library: The clips folder, or the library folder itself.
        clips: Files as seen from here, or relative to the clips folder.

    Raises:
        InputError: One of them is no clip of the library; nothing was changed.
        LibraryError: No library, no clip would be left, or it cannot be written.
    """
    with writing(library) as store:
        known = store.clips()
        named = [_named(store, known, clip) for clip in clips]
        contents = {clip.content for clip in named}
        leaving = [clip for clip in known if clip.content in contents]
        if len(leaving) == len(known):
            raise LibraryError(
                f"These are all {len(known)} clips of {store.folder}. To forget a whole library, "
                "delete that folder; the clips themselves are not in it."
            )
        places = _load(store)
        for clip in leaving:
            file = File(clip.path, clip.size, clip.mtime_ns)
            places.setdefault(_true_content(store, clip), []).append(file)
        _save(store, places)  # first: what is in this list goes, should a kill come between
        staying = {(clip.folder, stem(clip.path)) for clip in known if clip not in leaving}
        texts = [text for text in store.texts() if (text.folder, stem(text.path)) not in staying]
        store.drop([*leaving, *texts])
        return Forgotten(
            [store.name_of(clip) for clip in leaving],
            len(leaving) - len({(clip.folder, clip.path) for clip in named}),
            len(known) - len(leaving),
        )


def forget_folder(library: str | Place, folder: str) -> Forgotten:
    """Let a folder of clips leave a library on S3, as one whose machine is gone for good.

    Its contents are not forgotten: what another folder holds of them stays, and the folder comes
    back with all its clips when its machine indexes it again.

    Args:
        library: Its address.
        folder: MACHINE:FOLDER, or what else `status` names it.

    Raises:
        InputError: No such folder feeds it, or the library lies on a disk.
        LibraryError: No library, no other folder feeds it, or it cannot be written.
    """
    with writing(library) as store:
        if not isinstance(store.folder, Remote):
            raise InputError(
                f"The library {store.folder} lies on a disk and has one folder of clips. To do "
                "without it, delete that folder; the clips themselves are not in it."
            )
        files = store.everything()
        # One that was being indexed while it left has clips, and a name no more.
        feeding = {file.folder: file.folder for file in files} | store.fed_by
        found = [one for one, name in feeding.items() if folder in (one, name)]
        if not found:
            raise InputError(
                f"No folder {folder} feeds the library {store.folder}; nothing was changed. Those "
                f"that do: {', '.join(feeding.values())}."
            )
        gone = [file for file in files if file.folder in found]
        if len(found) == len(feeding):
            raise LibraryError(
                f"No other folder feeds the library {store.folder}. To do without it, delete what "
                "is there; the clips themselves are not in it."
            )
        paths = [store.name_of(file) for file in gone if not is_text(file.path)]
        store.drop(gone)  # first: what is left by a kill is still called by the folder's name
        store.unset(f"{kind}:{one}" for kind in OF_A_FOLDER for one in found)
        for one in found:
            drop_own_folder(store.folder, one)
        return Forgotten(paths, 0, len(store.clips()))


def take_back(library: str | Place, clips: Sequence[str | Path]) -> Forgotten:
    """Let forgotten clips come back at the next `index`.

    Args:
        library: The clips folder, or the library folder itself.
        clips: Files as seen from here, or relative to the clips folder.

    Raises:
        InputError: One of them was not forgotten; nothing was changed.
        LibraryError: No library, or it cannot be written.
    """
    with writing(library) as store:
        places = _load(store)
        by_path = {file.path: content for content, files in places.items() for file in files}
        back = set()
        for clip in clips:
            path = next((one for _, one in _ways(store, clip) if one in by_path), None)
            if path is None:
                raise InputError(f"{clip} was not forgotten. What was: earsight forget --list.")
            back.add(by_path[path])
        paths = [as_text(file.path) for content in sorted(back) for file in places[content]]
        store.take_back(back)
        return Forgotten(paths, len(paths) - len(clips), len(store.clips()))


def forgotten(library: str | Place) -> list[str]:
    """Return the files that were forgotten, relative to the clips folder, as last seen there."""
    with Store.open(find(library)) as store:
        return forgotten_paths(store)


def forgotten_paths(store: Store) -> list[str]:
    """Return the files that were forgotten from an open library."""
    return sorted(as_text(file.path) for files in _load(store).values() for file in files)


def leave_out(store: Store, found: Scan, *, keep: bool = False) -> tuple[Scan, int]:
    """Return a scan without what was forgotten, and how many files that were.

    Only files of a forgotten one's size are hashed, and each once: where it lies is remembered.

    Args:
        store: The library.
        found: Its folder, scanned.
        keep: Remember where forgotten contents were found now (for writers).
    """
    places = _load(store)
    if not places:
        return found, 0
    sizes = {file.size for files in places.values() for file in files}
    seen = {file: content for content, files in places.items() for file in files}
    fresh: list[File] = []
    here: _Places = {}
    for file in found.fresh:
        content = seen.get(file)
        if content is None and file.size in sizes:
            content = _hash(store.root / os.fsdecode(file.path))
        if content in places:
            here.setdefault(content, []).append(file)
        else:
            fresh.append(file)
    hidden = {file.path for files in here.values() for file in files}
    # A clip may hold now what was forgotten; or a kill came before its row had gone.
    gone = [clip for clip in store.files() if clip.content in places or clip.path in hidden]
    if keep:
        _save(store, places | here)
    same = [clip for clip in found.same if clip not in gone]
    paths = [clip.path for clip in same] + [file.path for file in fresh]
    staying = {stem(path) for path in paths if not is_text(path)}
    fresh = [file for file in fresh if not is_text(file.path) or stem(file.path) in staying]
    missing = found.missing + [clip for clip in gone if clip not in found.missing]
    texts = found.texts.beside([*(clip.path for clip in same), *(file.path for file in fresh)])
    return replace(found, same=same, fresh=fresh, missing=missing, texts=texts), len(hidden)


def _named(store: Store, clips: Sequence[Clip], clip: str | Path) -> Clip:
    called = {store.name_of(one): one for one in clips}
    if str(clip) in called:
        return called[str(clip)]
    known = {(store.root_of(one), one.path): one for one in clips}
    for root, path in _ways(store, clip):
        if (root, path) in known:
            return known[root, path]
        if any(one.startswith(path + b"/") for place, one in known if place == root):
            raise InputError(
                f"{clip} is a folder; forget takes clips. To leave out a folder: "
                f"earsight index CLIPS --exclude '{as_text(path)}'."
            )
    name = os.fsencode(Path(clip).name)
    alike = [store.name_of(one) for one in clips if one.path.rpartition(b"/")[2] == name]
    hint = f" Is it {' or '.join(sorted(alike)[:3])}?" if alike else ""
    raise InputError(
        f"{clip} is no clip of the library {store.folder}; nothing was changed. Its clips are "
        f"named relative to their folder, or as seen from here.{hint}"
    )


def _ways(store: Store, clip: str | Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the clips folders of this machine and paths in them that a name may mean."""
    given = Path(os.path.abspath(clip))  # noqa: PTH100 - a link to a clip is a clip
    for path in (given, given.parent.resolve() / given.name):
        for root in store.roots:
            for base in (root, root.resolve()):
                if path.is_relative_to(base):
                    yield root, os.fsencode(path.relative_to(base))
    for root in store.roots:
        yield root, os.fsencode(os.path.normpath(clip))


def _true_content(store: Store, clip: Clip) -> str:
    """Return the hash of the file; that of a clip which could not be read is not its file's."""
    here = store.root_of(clip) is not None
    return (_hash(store.file_of(clip)) if here else None) or clip.content


def _hash(file: Path) -> str | None:
    try:
        return content_of(file)
    except OSError:
        return None


def _load(store: Store) -> _Places:
    return {
        content: [File(*file) for file in files] for content, files in store.forgotten().items()
    }


def _save(store: Store, places: _Places) -> None:
    store.forget(
        {
            content: [[file.path.hex(), file.size, file.mtime_ns] for file in files]
            for content, files in places.items()
        },
    )

"""The text beside a clip: `dog.txt` or `dog.srt`, in the folder of `dog.mp4`, says what it is of.

A text is of every clip with its name, so that a picture and its sound can share one. Of two texts
with one name the .txt is taken: somebody wrote it, where subtitles are often made by a machine.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from earsight.library.catalog.records import TEXT_SUFFIXES, Clip, ending, is_text, stem


def choose_texts(texts: Iterable[bytes], clips: Iterable[bytes]) -> set[bytes]:
    """Return the texts that are beside a clip, one for each name.

    >>> sorted(choose_texts([b"a.srt", b"a.txt", b"b.srt", b"c.txt"], [b"a.mp4", b"b.mp4"]))
    [b'a.txt', b'b.srt']
    """
    stems = {stem(path) for path in clips}
    ordered = sorted(texts, key=lambda path: (TEXT_SUFFIXES.index(ending(path)), path))
    first: dict[bytes, bytes] = {}
    for path in ordered:
        if stem(path) in stems:
            first.setdefault(stem(path), path)
    return set(first.values())


def texts_of_clips(clips: Iterable[Clip], texts: Iterable[Clip]) -> dict[bytes, Clip]:
    """Return path of a clip → its text, for the clips that have one."""
    by_stem = {stem(text.path): text for text in texts}
    return {clip.path: by_stem[stem(clip.path)] for clip in clips if stem(clip.path) in by_stem}


def text_file_of(clip: Path) -> Path | None:
    """Return the text file beside a file on disk; None where there is none."""
    folder = os.fsencode(clip.parent)
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are bytes
    except OSError:
        return None
    like = stem(os.fsencode(clip.name))
    texts = [os.path.join(folder, name) for name in names if is_text(name) and stem(name) == like]
    files = [text for text in texts if os.path.isfile(text)]  # noqa: PTH113 - no pipe, for one
    found = choose_texts(files, [os.path.join(folder, os.fsencode(clip.name))])
    return Path(os.fsdecode(found.pop())) if found else None

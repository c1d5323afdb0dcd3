"""Faults of a disk, run in a mount namespace of their own: python _disk.py CASE DISK CLIPS."""

import subprocess
import sys
from pathlib import Path

from _clips import make_clip
from earsight.errors import LibraryError
from earsight.library.indexing.pipeline import index
from earsight.library.search.searcher import search


def mount(disk: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(disk)], check=True)


def answers(place: Path) -> list[str]:
    return [result.path for result in search(place, text="blue").results]


def full(disk: Path, clips: Path) -> None:
    """The disk fills while clips are read: a clear message, nothing lost, and on it goes."""
    mount(disk, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    place = disk / "library"
    make_clip(clips / "a.mp4")
    make_clip(clips / "b.mp4", tone=900)
    index(clips, library=place)
    before = answers(place)
    assert len(before) == 2
    for number in range(60):
        make_clip(clips / f"more {number}.wav", 1 + number / 10, tone=100 + 10 * number)
    try:
        index(clips, library=place)
    except LibraryError as error:
        assert "disk is full" in str(error) or "MiB are free" in str(error), error
    else:
        raise AssertionError("60 clips fitted on 2 MiB")
    assert answers(place) == before
    for path in clips.glob("more [1-5]*.wav"):
        path.unlink()
    mount(disk, "-o", "remount,size=200m")
    assert index(clips, library=place).rebuilt
    assert answers(place) == before


def read_only(disk: Path, clips: Path) -> None:
    """A library that cannot be written is searched, and not indexed."""
    make_clip(clips / "a.mp4")
    index(clips)
    expected = answers(clips)
    mount(disk, "-t", "tmpfs", "tmpfs")
    copy = disk / "clips"
    subprocess.run(["cp", "-r", str(clips), str(copy)], check=True)
    mount(disk, "-o", "remount,ro")
    assert answers(copy) == [str(copy / Path(path).name) for path in expected]
    try:
        index(copy)
    except LibraryError as error:
        assert "read-only" in str(error), error
    else:
        raise AssertionError("a read-only library was indexed")


if __name__ == "__main__":
    {"full": full, "read_only": read_only}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))

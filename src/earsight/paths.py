"""Paths as text: a file's name is bytes, and text must be able to show all of them.

And the cache folder.
"""

import os
from pathlib import Path


def as_text(path: bytes) -> str:
    """Return a path's bytes as text; bytes outside UTF-8 as %XX.

    >>> as_text(b"caf\\xc3\\xa9/\\xff.mp4")
    'café/%FF.mp4'
    """
    return escaped(path.decode("utf-8", "surrogateescape"))


def escaped(text: str) -> str:
    """Return text in which bytes that were not UTF-8, kept by `surrogateescape`, are %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


def home() -> Path:
    """Return the cache folder: $EARSIGHT_HOME, or earsight in $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("EARSIGHT_HOME"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "earsight"

"""Paths as text: a file's name is bytes, and text must be able to show all of them.

And the folders of a user: the cache, and the configuration.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from earsight.errors import InputError


def as_text(path: bytes) -> str:
    """Return a path's bytes as text; bytes outside UTF-8 as %XX.

    >>> as_text(b"caf\\xc3\\xa9/\\xff.mp4")
    'café/%FF.mp4'
    """
    return escaped(path.decode("utf-8", "surrogateescape"))


def escaped(text: str) -> str:
    """Return text in which bytes that were not UTF-8, kept by `surrogateescape`, are %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


def on_one_line(text: str) -> str:
    """Return text with an escape for each control character.

    >>> on_one_line("two\\nlines")
    'two\\\\nlines'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def readable(text: str) -> str:
    """Return what `as_text` gave as people want to see it: a sign for each byte that is no letter.

    A %XX that is part of whole UTF-8 is a name that came from a web address; it stays.

    >>> readable("caf%E9, caf%C3%A9")
    'caf\ufffd, caf%C3%A9'
    """
    return re.sub(r"(?:%[89A-F][0-9A-F])+", _signs, text)


def _signs(found: re.Match[str]) -> str:
    try:
        unquote_to_bytes(found[0]).decode()
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}" * (len(found[0]) // 3)
    return found[0]


def home() -> Path:
    """Return the cache folder: $EARSIGHT_HOME, or earsight in $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("EARSIGHT_HOME"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "earsight"


def config_home() -> Path:
    """Return the user's own configuration: $EARSIGHT_CONFIG, or earsight in $XDG_CONFIG_HOME.

    Which is ~/.config where it is not set.

    Raises:
        InputError: There is no home folder, and none was named.
    """
    if chosen := os.environ.get("EARSIGHT_CONFIG"):
        return Path(chosen).expanduser()
    try:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    except RuntimeError as error:
        raise InputError(
            "There is no home folder to keep a configuration in; name one: EARSIGHT_CONFIG=DIR."
        ) from error
    return base / "earsight"

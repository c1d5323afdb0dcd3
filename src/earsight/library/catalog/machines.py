"""The folders of clips that feed a library on S3, by MACHINE:FOLDER."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earsight.library.catalog.records import BadRowError
from earsight.paths import as_text

OF_A_FOLDER = ("folder", "settings", "reads", "numbers", "building")
"""Facts that a folder has one of: KIND:ID."""


def machine() -> str:
    """Return what this machine is called: $EARSIGHT_MACHINE, or its host name."""
    return os.environ.get("EARSIGHT_MACHINE") or socket.gethostname()


def fact_of(root: Path) -> dict[str, str]:
    """Return what others are told of a folder of this machine."""
    return {"machine": machine(), "root": os.fsencode(root).hex()}


def told(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return id → MACHINE:FOLDER of what is known by id.

    Raises:
        BadRowError: A fact is none of a folder.
    """
    try:
        return {
            name: f"{one['machine']}:{as_text(bytes.fromhex(one['root']))}"
            for name, one in sorted(facts.items())
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BadRowError(
            f"a folder that feeds it is not its machine and path ({error})"
        ) from error


def chosen(roots: list[Path]) -> Path | None:
    """Return the folder that is meant: the one that we are in, or the only one."""
    here = Path.cwd()
    inside = [root for root in roots if here.is_relative_to(root)]
    found = inside or roots
    return found[0] if len(found) == 1 else None

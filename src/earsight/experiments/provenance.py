"""What a number came from: a checksum of the data, versions, and the commit of Earsight."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from earsight.errors import InputError
from earsight.features import PairedFeatures

_PACKAGES = ("earsight", "numpy", "scipy", "scikit-learn", "torch")
_COLUMNS = ("labels", "group", "split")


def checksum(data: PairedFeatures) -> str:
    """Return the SHA-256 of all that decides a comparison: views, labels, groups and split.

    >>> one = PairedFeatures({"audio": np.ones((2, 3))}, labels=["dog", "drum"])
    >>> checksum(one) == checksum(PairedFeatures({"audio": np.ones((2, 3))}, labels=["dog", "cat"]))
    False
    """
    digest = hashlib.sha256()
    parts: dict[str, Any] = {f"view {name}": x for name, x in data.views.items()}
    for name in _COLUMNS:
        column = getattr(data, name)
        if isinstance(column, Mapping):
            parts |= {f"{name} of {modality}": values for modality, values in column.items()}
        elif column is not None:
            parts[name] = column
    for name, array in parts.items():
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def steps_checksum(data: PairedFeatures) -> str:
    """Return the SHA-256 of the sequences, which decide what methods that read them find."""
    digest = hashlib.sha256()
    for name, table in data.steps.items():
        digest.update(f"{name} {table.dim} {table.lengths.tolist()};".encode())
        for sequence in table:
            digest.update(sequence.times.tobytes() + sequence.values.tobytes())
    return digest.hexdigest()


def digest_of(facts: Any) -> str:
    """Return a short SHA-256 of something that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache
def versions() -> Mapping[str, str]:
    """Return package → version, of those that have a say in the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """Return the commit of Earsight's own code, with "-dirty" where files of it differ from that.

    None where it was installed from a package: a repository that merely surrounds it says nothing.
    """
    package = Path(__file__).parents[1]
    here = str(Path(__file__).relative_to(package))
    if _git(package, "ls-files", "--error-unmatch", "--", here) is None:
        return None
    found = _git(package, "rev-parse", "--short=12", "HEAD")
    return f"{found}-dirty" if _git(package, "status", "--porcelain", "--", ".") else found


def check_clean() -> None:
    """Check that what is measured now can be measured again: that the code is that of a commit.

    Raises:
        InputError: Files of the code were changed.
    """
    if (commit() or "").endswith("-dirty"):
        raise InputError(
            f"A published table must come from a commit; files in {Path(__file__).parents[1]} "
            "differ from it. Commit or stash these changes, then run the same command again."
        )


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""Packages that come with an extra, such as `earsight[deep]`: one sentence says how to get one."""

import sys
from importlib.util import find_spec

from earsight.errors import EarsightError, InputError

PACKAGES = {  # by extra: the package without which it is not there
    "deep": "torch",
    "foundation": "transformers",
    "milvus": "pymilvus",
    "plot": "matplotlib",
    "ray": "ray",
}


def is_here(extra: str) -> bool:
    """Return whether what an extra brings is installed; nothing is imported."""
    package = PACKAGES[extra]
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None


def command(extra: str) -> str:
    """Return what installs an extra.

    >>> command("deep")
    "pip install 'earsight[deep]'"
    """
    return f"pip install 'earsight[{extra}]'"


def require(extra: str, who: str, error: type[EarsightError] = InputError) -> None:
    """Check that what an extra brings is installed; nothing is imported.

    Args:
        extra: Which one.
        who: What needs it, at the beginning of a sentence.
        error: What is raised.

    Raises:
        EarsightError: It is not; the message says how to get it.
    """
    if not is_here(extra):
        raise error(f"{who} needs {PACKAGES[extra]}, which is not installed: {command(extra)}.")

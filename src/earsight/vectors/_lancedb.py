"""LanceDB, imported in a quarter of the time."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any
from unittest.mock import patch

_IMPORTING = Lock()


@cache
def lancedb() -> Any:
    """Import LanceDB once.

    It imports the client of a remote service, whose validators of 400 models and calls take longer
    to build than a search. Pydantic builds them when they are first used instead, here never; and
    `overrides`, which checks only that methods override others, is left out.
    """
    with _IMPORTING:
        if "lancedb" not in sys.modules:
            with _hurried():
                import lancedb  # noqa: F401
    return sys.modules["lancedb"]


@contextmanager
def _hurried() -> Iterator[None]:
    import overrides
    import pydantic

    validate: Any = pydantic.validate_call

    def later(function: Callable[..., Any]) -> Callable[..., Any]:
        checked: Callable[..., Any] = validate(config={"defer_build": True})(function)
        return checked

    with (
        patch.dict(pydantic.BaseModel.model_config, defer_build=True),
        patch.object(pydantic, "validate_call", later),
        patch.object(overrides, "override", _marked),
    ):
        yield


def _marked(method: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for `overrides.override`: the mark that a base class asks for, without a check."""
    method.__override__ = True  # type: ignore[attr-defined]
    return method

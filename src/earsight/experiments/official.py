"""The log of looks at an official test: each one spoils the next a little, so each is on record."""

import json
from pathlib import Path
from typing import Any

from earsight.errors import InputError
from earsight.experiments.results import Result
from earsight.untrusted import parse_json, read_whole, reason_of

_LOG_BYTES = 64 << 20


def begin_log(log: Path | None) -> None:
    """See to it that looks can be noted, before there is one.

    Raises:
        InputError: No log is given, or it cannot be written.
    """
    if log is None:
        raise InputError("An official test needs a log to note the look in; got none.")
    _append(log, "")


def append_look(log: Path, result: Result) -> None:
    """Append one look, a JSON line: when, which method, which data, which code, what was seen.

    Raises:
        InputError: The log cannot be written.
    """
    facts = result.about
    look = {
        "date": facts["date"],
        "method": result.method,
        "data": facts["data"]["name"],
        "sha256": facts["data"]["sha256"],
        "seeds": len(result.seeds),
        "commit": facts["commit"],
        "error": result.error or (None if result.directions else "stopped"),
        **{name: _seen(figures) for name, figures in result.directions.items()},
    }
    _append(log, json.dumps(look) + "\n")


def _append(log: Path, text: str) -> None:
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"The log of official tests {log} cannot be written: {error}") from error


def _seen(figures: dict[str, Any]) -> dict[str, float]:
    return {name: round(figures[name], 4) for name in ("map", "recall@10") if name in figures}


def _is_look(look: Any) -> bool:
    """Whether a line holds what a table of looks shows."""
    if not isinstance(look, dict) or not {"seeds", "commit", "error"} <= look.keys():
        return False
    texts = all(isinstance(look.get(name), str) for name in ("date", "method", "data", "sha256"))
    figures = [own for name, own in look.items() if "->" in name]
    return texts and all(
        isinstance(own, dict) and all(isinstance(value, int | float) for value in own.values())
        for own in figures
    )


def read_looks(log: Path) -> list[dict[str, Any]]:
    """Return the looks of a log, in order; none where there is no log.

    Raises:
        InputError: A line is not JSON, or not a look.
    """
    if not log.is_file():
        return []
    try:
        lines = read_whole(log, _LOG_BYTES).decode().splitlines()
        looks = [parse_json(line) for line in lines if line]
        if not all(map(_is_look, looks)):
            raise ValueError("a line is not one look")
        return looks
    except (OSError, ValueError) as error:
        raise InputError(f"{log} is not a log of official tests: {reason_of(error)}.") from error

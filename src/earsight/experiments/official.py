"""The log of looks at an official test: each one spoils the next a little, so each is on record."""

import json
from pathlib import Path
from typing import Any

from earsight.errors import InputError
from earsight.experiments.results import Result


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


def read_looks(log: Path) -> list[dict[str, Any]]:
    """Return the looks of a log, in order; none where there is no log.

    Raises:
        InputError: A line is not JSON.
    """
    if not log.is_file():
        return []
    try:
        return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise InputError(f"{log} is not a log of official tests: {error}.") from error

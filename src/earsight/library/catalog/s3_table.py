"""The table that is the state of a library on S3, and what was read of it last."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from earsight.library.catalog.records import damaged
from earsight.storage import Remote
from earsight.untrusted import parse_json
from earsight.vectors import Records

Kept = TypeVar("Kept")


class State:
    """Facts, clips, contents and embeddings as rows; what was read is kept until any commit.

    Args:
        library: The address of the library.
    """

    def __init__(self, library: Remote) -> None:
        self._library = library
        self.rows = Records(library / "state", "library")
        self.leases = Records(library / "state", "leases")  # no commit of theirs changes a library
        self._seen, self._kept = -1, dict[tuple[str, ...], Any]()

    @property
    def exists(self) -> bool:
        """Whether there is a library."""
        return self.rows.exists

    @property
    def version(self) -> int:
        """The number of the last commit; it takes a request."""
        return self.rows.version

    def known(self, kind: str, make: Callable[[], Kept], *more: str) -> Kept:
        """Return what was made of the rows of a kind, made anew after any commit."""
        version = self.version
        if version != self._seen:
            self._seen, self._kept = version, {}
        if (kind, *more) not in self._kept:
            self._kept[kind, *more] = make()
        kept: Kept = self._kept[kind, *more]
        return kept

    def read(self, columns: Sequence[str], **where: str) -> list[dict[str, Any]]:
        """Return the rows whose columns are as `where` says."""
        return self.rows.read(where, columns)

    def put(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Add or replace rows in one commit; return its number, which no other has."""
        return self.rows.put(rows)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove rows."""
        self.rows.remove(keys)

    def facts(self, prefix: str = "") -> dict[str, Any]:
        """Return the facts about the library whose keys begin so, by the rest of their keys."""

        def read() -> dict[str, Any]:
            rows = self.read(["key", "value"], kind="fact")
            return {row["key"].removeprefix("fact:"): self._parsed(row["value"]) for row in rows}

        known = self.known("fact", read)
        return {
            key.removeprefix(prefix): value
            for key, value in known.items()
            if key.startswith(prefix)
        }

    def _parsed(self, value: Any) -> Any:
        try:
            return parse_json(value, file_names=True)
        except (TypeError, ValueError) as error:
            raise damaged(self._library, f"one of its facts cannot be read ({error})") from error

    def forget(self) -> None:
        """Let go of what was read."""
        self._seen, self._kept = -1, {}

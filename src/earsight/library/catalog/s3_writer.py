"""What one machine at a time may do to a library on S3: a row that says who does, and still lives.

S3 has no lock that dies with its holder. So the holder gives a sign of life every minute, and one
that was silent for five is taken for dead, and replaced, by one conditional commit. Clocks of the
machines must agree within minutes. A reply that is lost on its way changes nothing: whose a row is
tells the token in it. These rows have a table of their own, as readers take each commit of the
other for a change of the library.
"""

import json
import os
import secrets
import threading
import time
from contextlib import suppress
from typing import Any

from earsight.errors import LibraryError, StorageError
from earsight.library.catalog.s3_rows import fact_row
from earsight.vectors import Records

BEAT = 60.0  # seconds between two signs of life
SILENCE = 300.0  # seconds after which a holder is taken for dead


class Lease:
    """Held for as long as a `with` goes on.

    Args:
        rows: Who does what alone.
        doing: What is done alone, as in "moving".
        who: The name of this machine.

    Raises:
        LibraryError: Another one is at it.
    """

    def __init__(self, rows: Records, doing: str, who: str) -> None:
        self._rows, self._doing = rows, doing
        self._holder = {"machine": who, "process": os.getpid(), "token": secrets.token_hex(8)}
        self._held: dict[str, Any] = {}
        self._turn = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> "Lease":
        self._rows.create()
        ours = self._now()
        if not self._take(ours):
            raise LibraryError(self._refusal("Another machine was faster"))
        self._held = ours
        threading.Thread(target=self._live, name="earsight-lease", daemon=True).start()
        return self

    def _take(self, ours: dict[str, Any]) -> bool:
        if self._rows.add(ours):
            return True
        before = self._found()
        if before is None:
            self._rows.add(ours)
        elif not self._is_ours(before):
            self._refuse_living(before)
            self._rows.renew([ours], before)
        return self._is_ours(self._found())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # What was done is done, or has its own error; a row that stays is soon taken for dead.
        with self._turn, suppress(LibraryError, StorageError):
            found = self._found()
            if self._is_ours(found):
                self._rows.remove([self._held["key"]], found)
            self._rows.optimize()

    def renew(self) -> None:
        """Give a sign of life.

        Raises:
            LibraryError: Another one took over.
        """
        with self._turn:
            if self._over.is_set():
                return
            ours = self._now()
            if not (self._rows.renew([ours], self._held["value"]) or self._renew_lost(ours)):
                raise LibraryError(
                    f"This process gave no sign of life for {SILENCE / 60:.0f} minutes, and "
                    f"another one is {self._doing} the library {self._library} instead."
                )
            self._held = ours

    def _renew_lost(self, ours: dict[str, Any]) -> bool:
        """Renew what is there if it is ours all the same: the reply to a sign of life was lost."""
        found = self._found()
        if not self._is_ours(found):
            return False
        return found == ours["value"] or bool(self._rows.renew([ours], found))

    def _is_ours(self, value: str | None) -> bool:
        return value is not None and json.loads(value)["token"] == self._holder["token"]

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            try:
                self.renew()
            except (LibraryError, StorageError):  # it is told when it matters: before the end
                continue

    def _now(self) -> dict[str, Any]:
        return fact_row(self._doing, self._holder | {"at": time.time()})

    def _found(self) -> str | None:
        """Return what is known of who holds it; nobody may by now."""
        rows = self._rows.read({"key": f"fact:{self._doing}"}, ["value"])
        return str(rows[0]["value"]) if rows else None

    def _refuse_living(self, value: str) -> None:
        holder = json.loads(value)
        silent = time.time() - holder["at"]
        if silent < SILENCE:
            raise LibraryError(
                self._refusal(
                    f"Machine {holder['machine']} (process {holder['process']}; last sign of life "
                    f"{max(0.0, silent):.0f} s ago)"
                )
            )

    def _refusal(self, who: str) -> str:
        return (
            f"{who} is {self._doing} the library {self._library}. Wait for it; one that is silent "
            f"for {SILENCE / 60:.0f} minutes is taken for dead. Nothing was changed."
        )

    @property
    def _library(self) -> str:
        return str(self._rows.folder).removesuffix("/state")

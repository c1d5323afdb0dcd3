"""Where a feature file is worked on: in its place, or beside the cache until it is sent to S3.

The copy of a file on S3 lies in the cache folder under a hash of its address, with the parts of an
unfinished run beside it, so that a run that is killed, or cannot send, goes on where it was.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from earsight.errors import StorageError
from earsight.paths import home
from earsight.storage import Info, Remote


class Workplace:
    """A local path for an output, and the way from and to its address.

    Args:
        output: A file, or an address on S3.

    Attributes:
        path: The local file to work on.
    """

    def __init__(self, output: Path | Remote) -> None:
        self._remote = output if isinstance(output, Remote) else None
        self._base: Info | None = None
        self._unsent = False
        if isinstance(output, Remote):
            digest = hashlib.sha256(str(output).encode("utf-8", "surrogateescape")).hexdigest()
            self.path = home() / "s3" / digest[:16] / output.name
        else:
            self.path = output

    def fetch(self) -> None:
        """Bring what stands at the address, unless a newer one waits here to be sent.

        Only in a lock on the place.

        Raises:
            StorageError: The address cannot be reached or read.
        """
        if self._remote is None:
            return
        self._remote.check_bucket()
        self._base = self._remote.info()
        if self._is_from(self._base):
            self._unsent = self.path.exists()
            return
        self.path.unlink(missing_ok=True)
        if self._base is not None:
            # A name that a run removes when it begins, so that a half copy never stays.
            copy = self.path.with_name(f".{self.path.name}.fetched.part")
            self._remote.download(copy)
            copy.replace(self.path)
        self._mark.write_text(json.dumps(self._base and asdict(self._base)), encoding="utf-8")

    def _is_from(self, base: Info | None) -> bool:
        """Whether what an earlier run left here was made from what stands at the address now."""
        if not self._mark.exists() or (base is not None and not self.path.exists()):
            return False
        kept = self._mark.read_text(encoding="utf-8")
        return kept == json.dumps(base and asdict(base))

    def send(self, *, changed: bool) -> bool:
        """Put the file at its address, if it is another one; return whether that was done.

        Args:
            changed: Whether the file was written in this run.

        Raises:
            StorageError: It cannot be written, or is not what was fetched any more.
        """
        if self._remote is None or not (changed or self._unsent):
            return changed
        if self._remote.info() != self._base:
            raise StorageError(
                f"{self._remote} was written by another run meanwhile, and was left as it is. Run "
                "the same command again: nothing is read twice."
            )
        self._remote.upload(self.path)
        return True

    def leave(self) -> None:
        """Remove the copy once its address holds it."""
        if self._remote is not None:
            self.path.unlink(missing_ok=True)
            self._mark.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the folder of the copy, unless something waits there."""
        if self._remote is not None:
            with suppress(OSError):
                self.path.parent.rmdir()

    @property
    def _mark(self) -> Path:
        return self.path.with_name("base.json")

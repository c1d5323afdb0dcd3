"""Where a feature file is worked on: in its place, or in the cache until it is sent to S3."""

import hashlib
from pathlib import Path
from typing import Self

from earsight.errors import StorageError
from earsight.paths import home
from earsight.storage import Location, Remote


class WorkingCopy:
    """A feature file of this machine: it is worked on where it lies.

    Attributes:
        path: The local file to work on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self) -> None:
        """Put the file where it belongs, once it is written."""


class RemoteWorkingCopy(WorkingCopy):
    """A feature file on S3: a copy lies in the cache folder for as long as a `with` goes on.

    What was read waits beside the copy (`staging`), so that a run that cannot send is not in vain.

    Raises:
        StorageError: The address cannot be reached or read.
    """

    def __init__(self, output: Remote) -> None:
        digest = hashlib.sha256(str(output).encode("utf-8", "surrogateescape")).hexdigest()
        super().__init__(home() / "s3" / f"{digest[:16]}-{output.name}")
        self._output = output

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        self._output.check_bucket()
        self._base = self._output.tag()
        if self._base is not None:
            self._output.download(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def send(self) -> None:
        """Put the file at its address.

        Raises:
            StorageError: It cannot be written, or is not what was fetched any more.
        """
        if self._output.tag() != self._base:
            raise StorageError(
                f"{self._output} was written by another run meanwhile, and was left as it is. Run "
                "the same command again: nothing is read twice."
            )
        self._output.upload(self.path)


def working_copy(output: Location) -> WorkingCopy:
    """Return where a feature file is worked on."""
    return WorkingCopy(output) if isinstance(output, Path) else RemoteWorkingCopy(output)

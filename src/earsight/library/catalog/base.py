"""The small tables of a library: its clips, and what was made of them.

They are a SQLite file on a disk (`local`), or a table on S3 (`shared`). The large tables (vectors,
sequences) lie beside them and are keyed by a clip's content, so that a moved or copied file costs
nothing. A clip is acknowledged by its row here, which is written after its vectors.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from earsight.errors import LibraryError
from earsight.library.catalog.location import FOLDER, find, locked
from earsight.library.catalog.records import BadRowError, Clip, Content, Embedding, damaged
from earsight.library.catalog.sidecars import is_text
from earsight.library.catalog.trust import Trust
from earsight.paths import as_text
from earsight.storage import Place, Remote


def check_format(library: Place, version: int, reads: int) -> None:
    """Check that this Earsight reads what is there.

    Raises:
        LibraryError: It is of a newer or an older one.
    """
    if version != reads:
        advice = "Update Earsight." if version > reads else anew(library)
        raise LibraryError(
            f"The library {library} has format {version}; this Earsight reads format {reads}. "
            f"{advice}"
        )


def anew(library: Place) -> str:
    """Say what to do where nothing else helps."""
    return f"Delete {library} and index again; the clips themselves are not touched."


class Store(ABC):
    """The clips, contents and embeddings of one library, wherever it is kept.

    Attributes:
        folder: Where the library is.
        shared: Whether folders of several machines may feed it, at the same time.
    """

    folder: Place
    shared: ClassVar[bool] = False

    @staticmethod
    def create(folder: Place, root: Path) -> "Store":
        """Open a library for writing by the clips in `root`; an empty one is made if need be."""
        if isinstance(folder, Remote):
            from earsight.library.catalog.s3 import SharedStore

            return SharedStore.made(folder, root)
        from earsight.library.catalog.sqlite import LocalStore

        return LocalStore.made(folder, root)

    @staticmethod
    def open(folder: Place, *, write: bool = False, root: Path | None = None) -> "Store":
        """Open a library.

        Args:
            folder: Where it is.
            write: It is to be written.
            root: The folder of clips that is meant, where a library on S3 has several here.

        Raises:
            LibraryError: There is none, it was written by a newer Earsight, it is damaged, or it
                must be written and cannot be.
            StorageError: Its place on S3 cannot be reached.
        """
        if isinstance(folder, Remote):
            from earsight.library.catalog.s3 import SharedStore

            return SharedStore.at(folder, root)
        from earsight.library.catalog.sqlite import LocalStore

        return LocalStore.at(folder, write=write)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""

    def optimize(self) -> None:  # noqa: B027 - only where it is needed
        """Make it fast again after many small changes; on a disk it stays so."""

    @contextmanager
    def _believing(self) -> Iterator[None]:
        """Tell of a row that breaks a rule which library it is in."""
        try:
            yield
        except BadRowError as error:
            raise damaged(self.folder, error) from error

    # -- settings --------------------------------------------------------------------------------

    @abstractmethod
    def get(self, key: str, default: Any = None) -> Any:
        """Return one fact about the library."""

    @abstractmethod
    def set(self, key: str, value: Any) -> None:
        """Keep one fact; nothing is written where it is the same."""

    @abstractmethod
    def facts(self, prefix: str) -> dict[str, Any]:
        """Return the facts whose keys begin so, by the rest of their keys."""

    @abstractmethod
    def unset(self, keys: Iterable[str]) -> None:
        """Forget facts, those that are there."""

    @contextmanager
    def alone(self, doing: str) -> Iterator[Callable[[], None]]:
        """Do what one machine at a time may do; give what checks that this one still may.

        On a disk whoever holds the folder is alone.

        Args:
            doing: What it is, as in "moving".

        Raises:
            LibraryError: Another one does.
        """
        yield lambda: None

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `index` was last asked for: what holds for all, and for this folder of clips."""

    @abstractmethod
    def keep_settings(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """Remember settings of the library, and those of this folder of clips."""

    @cached_property
    def trust(self) -> Trust:
        """What the user of this machine agreed to."""
        return Trust(self.folder, self.identity)

    @property
    def identity(self) -> str:
        """What tells this library from another one in its place; on S3 the address does."""
        return ""

    def bind(self, clips: Path, *, agree: bool) -> None:  # noqa: B027 - on S3 each folder is one
        """Let the library be about a folder of clips, by its user's word.

        Args:
            clips: The folder.
            agree: Also where the library says that it was made of another one.

        Raises:
            LibraryError: It is about another folder.
        """

    @property
    def index_command(self) -> str:
        """The command that brings this library up to date."""
        if not self.is_fed_here:
            return f"earsight index CLIPS --library {quote(str(self.folder))}"
        inside = self.folder == self.root / FOLDER
        index = f"earsight index {quote(str(self.root))}"
        return index if inside else f"{index} --library {quote(str(self.folder))}"

    @property
    @abstractmethod
    def root(self) -> Path:
        """The folder of clips that is worked for."""

    @property
    def is_fed_here(self) -> bool:
        """Whether a folder of this machine is worked for, so that there is a `root`."""
        return True

    @property
    def _clips_folder(self) -> str:
        """What the folder of clips is called; where it is not known, LIBRARY: in its place."""
        name = self.folder.name or str(self.folder)
        return str(self.root) if self.is_fed_here else f"{name}:"

    @property
    def roots(self) -> list[Path]:
        """The folders of clips on this machine."""
        return [self.root] if self.is_fed_here else []

    @property
    def folders(self) -> dict[str, int]:
        """Folder → how many clips it has, of all that feed the library."""
        return {self._clips_folder: len(self.clips())}

    @property
    def fed_by(self) -> dict[str, str]:
        """`Clip.folder` → the name of that folder, of all that feed the library."""
        return {"": self._clips_folder}

    @property
    @abstractmethod
    def version(self) -> int:
        """A number that is another one after another process or connection wrote here."""

    # -- clips and contents ----------------------------------------------------------------------

    @abstractmethod
    def files(self) -> list[Clip]:
        """Return all clips and the texts beside them that lie in `root`, by path."""

    @abstractmethod
    def everything(self) -> list[Clip]:
        """Return all clips and texts of the library, whichever folder they are in, by path."""

    def clip_at(self, file: Path) -> Clip | None:
        """Return the clip or text that a file of this machine is, None where it is none."""
        found = (
            one for one in self.everything() if self.root_of(one) and self.file_of(one) == file
        )
        return next(found, None)

    def clips_and_texts(self) -> tuple[list[Clip], list[Clip]]:
        """Return all clips of the library, and all texts beside them, by path."""
        clips: list[Clip] = []
        texts: list[Clip] = []
        for file in self.everything():
            (texts if is_text(file.path) else clips).append(file)
        return clips, texts

    def clips(self) -> list[Clip]:
        """Return all clips of the library, by path."""
        return self.clips_and_texts()[0]

    def texts(self) -> list[Clip]:
        """Return all texts beside clips, by path."""
        return self.clips_and_texts()[1]

    def root_of(self, _clip: Clip) -> Path | None:
        """Return the folder that a clip lies in, None where this machine does not know it."""
        return self.root if self.is_fed_here else None

    def file_of(self, clip: Clip) -> Path:
        """Return where the file of a clip is; of one in a folder that is not known, NAME:PATH."""
        return Path(self._clips_folder) / os.fsdecode(clip.path)

    def name_of(self, clip: Clip) -> str:
        """Return what a clip is called: no two of a library are called alike."""
        return as_text(clip.path)

    @abstractmethod
    def contents(self, features: str) -> dict[str, Content]:
        """Return what has been read by the extractors with this fingerprint, by content."""

    @abstractmethod
    def put_clips(
        self,
        clips: Iterable[tuple[bytes, int, int, str]],
        features: str = "",
        contents: Iterable[Content] = (),
    ) -> None:
        """Add or renew clips of `root` (path, size, mtime_ns, content), and contents, in one step.

        What was read of the contents is written before.
        """

    @abstractmethod
    def move_and_drop(self, moved: dict[bytes, bytes], gone: Iterable[bytes]) -> None:
        """Let clips of `root` follow their files (old → new path, which has a row); drop others."""

    @abstractmethod
    def drop(self, clips: Iterable[Clip]) -> None:
        """Drop clips and texts, whichever folder they are in."""

    @abstractmethod
    def set_labels(self, labels: Mapping[bytes, str | None]) -> bool:
        """Give each clip of `root` its label, or none; return whether any changed."""

    @abstractmethod
    def unused_contents(self, features: str) -> list[str]:
        """Return contents read by these extractors that no clip holds any more."""

    @abstractmethod
    def drop_contents(self, features: str, contents: Iterable[str]) -> None:
        """Forget contents; their vectors are dropped after this."""

    @abstractmethod
    def forgotten(self) -> dict[str, list[tuple[bytes, int, int]]]:
        """Return content → (path, size, mtime_ns) of its files, of what was forgotten."""

    @abstractmethod
    def forget(self, files: Mapping[str, Any]) -> None:
        """Note contents as forgotten, each with the files that held it."""

    @abstractmethod
    def take_back(self, contents: Iterable[str]) -> None:
        """Note that contents are forgotten no more."""

    @abstractmethod
    def problems(self) -> list[str]:
        """Return what is wrong with these tables; nothing where they are whole."""

    # -- embeddings ------------------------------------------------------------------------------

    @abstractmethod
    def current(self) -> Embedding | None:
        """Return the embedding that answers, None where nothing has been embedded yet."""

    @abstractmethod
    def next_embedding(self) -> int:
        """Return a number for the next embedding, larger than all before."""

    @abstractmethod
    def switch(self, embedding: Embedding) -> None:
        """Let `embedding` answer from now on, unless a later one does; earlier ones' rows go."""

    @abstractmethod
    def relocate(self, embedding: Embedding, before: Embedding) -> None:
        """Let the vectors of `embedding` be read from where it says, and later ones be put there.

        Raises:
            OvertakenError: What answers is not what it was before; nothing was changed.
        """

    def reads_by(self, features: str) -> None:  # noqa: B027 - one folder is of one mind
        """Note by which extractors the folder is read, before anything is written."""

    @abstractmethod
    def keep_features(self, features: str) -> frozenset[str]:
        """Forget what extractors read that nobody uses: their vectors are dropped after this.

        Args:
            features: What answers.

        Returns:
            These, and those that other folders are read by.
        """


@contextmanager
def writing(library: str | Place) -> Iterator[Store]:
    """Open a library for a short change of its own rows.

    On a disk it is held meanwhile; on S3 each change is one commit, and nobody waits.

    Raises:
        LibraryError: No library, another process holds it, or it cannot be written.
    """
    place = find(library)
    with ExitStack() as stack:
        if isinstance(place, Path):
            stack.enter_context(locked(place))
        yield stack.enter_context(Store.open(place, write=True))


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

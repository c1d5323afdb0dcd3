"""The active embedding of a library, loaded as far as questions have needed it."""

from collections.abc import Mapping
from functools import cached_property

from earsight.errors import InputError, LibraryError
from earsight.library.catalog.clips import LibraryClip, clips_by_content, list_clips
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import NotTrustedError, only_trusted_plugins, requests_of
from earsight.library.embedding.extraction import TEXT, Sources
from earsight.library.embedding.feature_tables import FeatureTables, embed_in_memory, stored_tables
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.model_files import open_model
from earsight.library.embedding.vector_location import open_table
from earsight.library.search.time_points import TimePoints
from earsight.vectors import InMemoryIndex, VectorTable


class LibrarySnapshot:
    """One embedding of a library; an index run that ends later does not change it.

    Args:
        store: The library.
        embedding: The active one; None: there is none yet.
        in_memory: Load vectors into memory and keep them, for many questions.

    Attributes:
        notes: What the library asks for and cannot have here; told with each result.

    Raises:
        LibraryError: There is no embedding yet.
    """

    def __init__(self, store: Catalog, embedding: Embedding | None, *, in_memory: bool) -> None:
        if embedding is None:
            raise LibraryError(
                f"The library {store.folder} cannot be searched yet; its indexing did not finish, "
                f"or is at work just now. Run: {store.index_command}"
            )
        self.store, self.embedding = store, embedding
        self._in_memory = in_memory
        self._indexes: dict[str, InMemoryIndex | VectorTable] = {}
        self.notes: list[str] = []
        if not store.knows_root:
            self.notes.append(
                f"This machine does not know where the clips of the library {store.folder} are. "
                f"Say so once: {store.index_command}"
            )

    # -- the model and the vectors -----------------------------------------------------------------

    @cached_property
    def space(self) -> JointSpace:
        """The joint space."""
        with only_trusted_plugins(self.store.trust):
            return open_model(self.store.folder, self.embedding)

    def space_name(self, by: str, for_: str) -> str:
        """Return what compares two modalities; the learned part knows nothing of texts."""
        return self.space.zero_shot_name if TEXT in (by, for_) else self.space.name

    @cached_property
    def tables(self) -> FeatureTables:
        """What was extracted from the clips."""
        return stored_tables(self.store, self.embedding)

    @cached_property
    def time_points(self) -> TimePoints:
        """A point for each second of each clip."""
        return TimePoints(self.space, self.tables.sequences, in_memory=self._in_memory)

    def index(self, modality: str) -> InMemoryIndex | VectorTable:
        """Return the vectors of one modality, in memory where that is wanted and they fit."""
        if modality not in self._indexes:
            index = self._table
            if self._in_memory and not isinstance(index, InMemoryIndex):
                index = InMemoryIndex.of(index, {"modality": modality}) or index
            self._indexes[modality] = index
        return self._indexes[modality]

    @cached_property
    def _table(self) -> InMemoryIndex | VectorTable:
        """The vectors, wherever they are; those on a server that is not trusted are made again."""
        try:
            return open_table(self.store, self.embedding)
        except NotTrustedError:
            self.notes.append(
                f"The vectors of this library lie on {self.embedding.index}, which you have not "
                "agreed to (--trust-library) and which was not contacted. They were made again "
                "from the features here."
            )
        read = self.store.contents(self.embedding.features)
        present = {file.content for file in self.store.files()}
        windows = {c: one.windows for c, one in read.items() if one.windows and c in present}
        return embed_in_memory(self.tables, self.space, windows)

    # -- the clips ---------------------------------------------------------------------------------

    @cached_property
    def clips(self) -> list[LibraryClip]:
        """All clips, by path."""
        return list_clips(self.store, self.embedding.features)

    @cached_property
    def by_id(self) -> Mapping[int, LibraryClip]:
        """The clips by their number."""
        return {clip.id: clip for clip in self.clips}

    @cached_property
    def by_content(self) -> Mapping[str, list[LibraryClip]]:
        """The clips by their content."""
        features = self.embedding.features
        return clips_by_content(self.store, features, lambda: self.clips, at_once=self._in_memory)

    def clip(self, number: int) -> LibraryClip:
        """Return a clip by its number.

        Raises:
            InputError: There is none.
        """
        if number not in self.by_id:
            raise InputError(f"There is no clip {number} in this library.")
        return self.by_id[number]

    def forget_clips(self) -> None:
        """Read the list of clips again when it is next needed."""
        for name in ("clips", "by_id", "by_content"):
            self.__dict__.pop(name, None)

    # -- what reads new files and words ------------------------------------------------------------

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of sound and sight that the library reads."""
        return Sources(**self.embedding.sources).modalities

    @cached_property
    def sources(self) -> Sources:
        """The extractors that made this embedding, as they are installed now.

        Raises:
            NotTrustedError: They ask for something that nobody agreed to on this machine.
            LibraryError: They are others: two models' embeddings are never mixed.
        """
        requests = requests_of(self.embedding.sources)
        self.store.trust.check(requests, "Until then only its own clips can be asked by.")
        sources = Sources(**self.embedding.sources)
        if sources.fingerprint != self.embedding.features:
            raise LibraryError(
                f"The library {self.store.folder} was made with other weights or another version "
                "of the extractors than are installed now; their vectors cannot be compared. "
                f"Run: {self.store.index_command}"
            )
        return sources

    @property
    def takes_words(self) -> bool:
        """Whether words can be typed: the zero-shot space has a text network, the same as here."""
        try:
            return self.sources.text is not None
        except LibraryError:
            return False

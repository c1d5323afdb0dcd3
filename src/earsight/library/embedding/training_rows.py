"""The stored rows of a library that have both sound and sight, with labels."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from earsight.errors import LibraryError
from earsight.features import PairedFeatures
from earsight.library.catalog.base import Store
from earsight.library.catalog.labels import agreed_labels
from earsight.library.catalog.location import find
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.extraction import MODALITIES, Sources
from earsight.library.embedding.feature_tables import stored_tables
from earsight.library.embedding.paired_rows import NO_LABEL, PairedRows, load_pairs
from earsight.library.embedding.settings import Settings
from earsight.storage import Place


@dataclass(frozen=True)
class StoredPairs:
    """What a library holds for learning and scoring.

    Attributes:
        rows: Those with both sound and sight.
        n_contents: Contents that were read, also those with one of the two.
        n_paired: Those with both.
        n_copies: Files beyond the first of one content.
        settings: What the library was last indexed with, and the extractors of what answers.
        note: Says if rows had to be sampled.
    """

    rows: PairedRows
    n_contents: int
    n_paired: int
    n_copies: int
    settings: Settings
    note: str


def stored_pairs(library: str | Place) -> StoredPairs:
    """Read the rows of a library; a content that files give several labels has none.

    Raises:
        LibraryError: No library, or none of its clips was read.
    """
    with Store.open(find(library)) as store:
        current = store.current()
        if current is None:
            raise LibraryError(
                f"The library {store.folder} has nothing that answers yet; its indexing did not "
                f"finish, or is at work just now. Run: {store.index_command}"
            )
        settings = replace(Settings.of(store), **asdict(Sources(**current.sources)))
        store.trust.check(requests_of({**current.sources, "learn": settings.learn}, None))
        read = store.contents(current.features)
        clips = store.clips()
        held = {
            clip.content: read[clip.content].windows
            for clip in clips
            if clip.content in read and read[clip.content].windows
        }
        n_paired = sum(all(read[c].report["rows"].get(m) for m in MODALITIES) for c in held)
        rows, note = load_pairs(stored_tables(store, current), held, agreed_labels(clips))
        n_copies = sum(clip.content in held for clip in clips) - len(held)
    return StoredPairs(rows, len(held), n_paired, n_copies, settings, note)


def paired_features(library: str | Place) -> tuple[PairedFeatures, str]:
    """Return the learned-from features of a library as a feature file would hold them.

    Rows without a label are left out where others have one. A clip's windows are one group.

    Returns:
        The features, and a note on what was left out; empty if nothing was.

    Raises:
        LibraryError: No library, or no clip has both sound and sight.
    """
    found = stored_pairs(library)
    rows, note = found.rows, found.note
    named = rows.labels != NO_LABEL
    if named.any() and not named.all():
        note += f"{int((~named).sum())} rows of {len(rows)} have no label and are left out. "
        rows = rows.take(named)
    if not len(rows):
        raise LibraryError(f"No clip of {library} has both sound and sight.")
    provenance = {m: {"extractor": getattr(found.settings, m)} for m in MODALITIES}
    return PairedFeatures(
        {modality: np.asarray(rows.vectors[modality]) for modality in MODALITIES},
        labels=rows.labels if named.any() else None,
        group=rows.clips,
        provenance=provenance,
    ), note.strip()

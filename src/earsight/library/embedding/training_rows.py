"""The rows that a library learns from and is scored by: those with both sound and sight."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.errors import LibraryError
from earsight.features import PairedFeatures
from earsight.library.catalog.labels import labels_by_content
from earsight.library.catalog.open import open_library
from earsight.library.catalog.records import MODALITIES
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import requests_of
from earsight.library.embedding.extraction import Sources
from earsight.library.embedding.feature_tables import FeatureTables, stored_tables
from earsight.library.embedding.settings import Settings
from earsight.storage import Location

LEARN_VERSION = 4  # raised when the same clips would give another embedding
MAX_ROWS = 50_000  # more rows than this are sampled, by whole clips, to learn from
NO_LABEL = ""


@dataclass(frozen=True)
class TrainingPlan:
    """What an embedding is made from.

    Attributes:
        features: Fingerprint of the extractors.
        windows: Content of a clip → its number of windows.
        texts: The same for the texts beside clips.
        labels: Content → label.
        digest: Of all that decides the outcome.
    """

    features: str
    windows: dict[str, int]
    texts: dict[str, int]
    labels: Mapping[str, str]
    digest: str


def training_plan(
    catalog: Catalog, features: str, settings: Settings, labels: Mapping[str, str]
) -> TrainingPlan:
    """Return what an embedding of the clips would be made from, as they were read."""
    contents = catalog.contents(features)
    read = {name: content.windows for name, content in contents.items() if content.windows}
    windows, texts = (
        {file.content: read[file.content] for file in files if file.content in read}
        for files in catalog.clips_and_texts()
    )
    facts = [features, settings.learn, LEARN_VERSION, [(c, labels.get(c)) for c in sorted(windows)]]
    facts += [sorted(texts)]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return TrainingPlan(features, windows, texts, labels, digest)


@dataclass(frozen=True)
class PairedRows:
    """Rows with both sound and sight, in memory.

    Attributes:
        clips: (n,) content of each row; rows of one content are not independent.
        labels: (n,) class of each row, `NO_LABEL` where it has none.
        vectors: Role → (n, d).
    """

    clips: Labels
    labels: Labels
    vectors: dict[str, FloatArray]

    def __len__(self) -> int:
        return len(self.clips)

    def take(self, which: IntArray | Labels) -> "PairedRows":
        """Return some of the rows, by index or truth value."""
        vectors = {role: x[which] for role, x in self.vectors.items()}
        return PairedRows(self.clips[which], self.labels[which], vectors)

    def one_per_clip(self) -> "PairedRows":
        """Return each clip's middle window: the units of every figure are clips."""
        rows_of: dict[str, list[int]] = {}
        for i, clip in enumerate(self.clips):
            rows_of.setdefault(clip, []).append(i)
        return self.take(np.array([rows[len(rows) // 2] for rows in rows_of.values()], dtype=int))

    @property
    def n_clips(self) -> int:
        """Number of contents."""
        return len(np.unique(self.clips))


def load_paired_rows(
    tables: FeatureTables, contents: Mapping[str, int], labels: Mapping[str, str], *, seed: int = 0
) -> tuple[PairedRows, str]:
    """Read the rows that have both sound and sight; a note tells if they had to be sampled."""
    contents, note = _sampled(contents, seed)
    keys: dict[str, list[str]] = {}
    parts: dict[str, list[FloatArray]] = {}
    roles: dict[str, list[str]] = {}
    for modality in MODALITIES:
        keys[modality] = []
        for piece in tables.read(modality, contents):
            keys[modality] += [row.key for row in piece.rows]
            roles[modality] = list(piece.vectors)
            for role, part in piece.vectors.items():
                parts.setdefault(role, []).append(part)
    both = sorted(set(keys["audio"]) & set(keys["visual"]))
    if not both:
        return PairedRows(np.array([]), np.array([]), {}), note
    vectors: dict[str, FloatArray] = {}
    for modality in MODALITIES:
        where = {key: i for i, key in enumerate(keys[modality])}
        order = [where[key] for key in both]
        for role in roles[modality]:
            vectors[role] = np.concatenate(parts[role])[order]
    clips = [key.partition(":")[0] for key in both]
    classes = [labels.get(clip, NO_LABEL) for clip in clips]
    return PairedRows(np.array(clips), np.array(classes), vectors), note


def _sampled(contents: Mapping[str, int], seed: int) -> tuple[Mapping[str, int], str]:
    n_rows = sum(contents.values())
    if n_rows <= MAX_ROWS:
        return contents, ""
    share = MAX_ROWS / n_rows
    order = np.random.default_rng(seed).permutation(len(contents))
    names = sorted(contents)
    chosen = [names[i] for i in order[: int(share * len(contents))]]
    note = f"Learned from {len(chosen)} of {len(contents)} clips, drawn with seed {seed}. "
    return {name: contents[name] for name in chosen}, note


@dataclass(frozen=True)
class StoredPairs:
    """What a library holds for learning and scoring.

    Attributes:
        rows: Those with both sound and sight.
        n_contents: Contents that were read, also those with one of the two.
        n_paired: Those with both.
        n_copies: Files beyond the first of one content.
        settings: Of the library, with the extractors of the active embedding.
        note: Says if rows had to be sampled.
    """

    rows: PairedRows
    n_contents: int
    n_paired: int
    n_copies: int
    settings: Settings
    note: str


def stored_pairs(library: str | Location) -> StoredPairs:
    """Read the rows of a library; a content that files give several labels has none.

    Raises:
        LibraryError: No library, or none of its clips was read.
    """
    with open_library(library) as catalog:
        current = catalog.current()
        if current is None:
            raise LibraryError(
                f"The library {catalog.folder} has no embedding yet: indexing did not finish, or "
                f"is at work now. Run: {catalog.index_command}"
            )
        settings = replace(Settings.of(catalog), **asdict(Sources(**current.sources)))
        catalog.trust.check(requests_of({**current.sources, "learn": settings.learn}))
        read = catalog.contents(current.features)
        clips = catalog.clips()
        readable = {
            clip.content: read[clip.content].windows
            for clip in clips
            if clip.content in read and read[clip.content].windows
        }
        n_paired = sum(all(read[c].report["rows"].get(m) for m in MODALITIES) for c in readable)
        rows, note = load_paired_rows(
            stored_tables(catalog, current), readable, labels_by_content(clips)
        )
        n_copies = sum(clip.content in readable for clip in clips) - len(readable)
    return StoredPairs(
        rows=rows,
        n_contents=len(readable),
        n_paired=n_paired,
        n_copies=n_copies,
        settings=settings,
        note=note,
    )


def paired_features(library: str | Location) -> tuple[PairedFeatures, str]:
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

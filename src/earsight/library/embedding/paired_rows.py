"""The rows of a library that have both sound and sight, in memory, to learn from and to score."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.library.embedding.extraction import MODALITIES
from earsight.library.embedding.feature_tables import Tables

MAX_ROWS = 50_000  # more rows than this are sampled, by whole clips, to learn from
NO_LABEL = ""


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
        places: dict[str, list[int]] = {}
        for i, clip in enumerate(self.clips):
            places.setdefault(clip, []).append(i)
        return self.take(np.array([rows[len(rows) // 2] for rows in places.values()], dtype=int))

    @property
    def n_clips(self) -> int:
        """Number of contents."""
        return len(np.unique(self.clips))


def load_pairs(
    tables: Tables, contents: Mapping[str, int], labels: Mapping[str, str], *, seed: int = 0
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

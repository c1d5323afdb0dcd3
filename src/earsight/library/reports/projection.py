"""The joint space in two dimensions, for people to look at."""

from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.records import MODALITIES
from earsight.library.client import Library

MAX_CLIPS = 4000
"""More clips than this are sampled: a map of more points shows no more."""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """The first two principal components of all points, sound and sight together.

        (x, y) = (z − mean) [a₁ a₂]

    Each axis points to where its largest coordinate is positive, so that the map of a library is
    the same on every machine.

    Attributes:
        clips: n clips, those of sound first.
        modalities: n times "audio" or "visual".
        points: (n, 2); a clip of several windows lies at their mean.
        explained: The axes' share of the variance, in [0, 1].
        total: Points before sampling.
        mean: (k,) of all points.
        axes: (k, 2), orthonormal.
    """

    clips: list[LibraryClip]
    modalities: list[str]
    points: FloatArray
    explained: float
    total: int
    mean: FloatArray
    axes: FloatArray

    def project(self, point: FloatArray) -> tuple[float, float] | None:
        """Return where a point (k,) falls; None where it is of a space of another width."""
        if np.shape(point) != self.mean.shape:
            return None
        x, y = (np.asarray(point, dtype=np.float64) - self.mean) @ self.axes
        return float(x), float(y)


def project_library(library: Library, most: int = MAX_CLIPS) -> Projection:
    """Return the map of a library; of more than `most` clips, a sample that is always the same.

    Raises:
        LibraryError: The library has no embedding yet.
    """
    clips: list[LibraryClip] = []
    modalities: list[str] = []
    rows: list[FloatArray] = []
    for modality in MODALITIES:
        found = library.embeddings(modality)
        own, means = _by_clip(found.clips, found.vectors)
        clips += own
        modalities += [modality] * len(own)
        rows.append(means)
    z = np.concatenate(rows).astype(np.float64)  # (n, k)
    mean = z.mean(axis=0)
    centred = z - mean
    variance, axes = np.linalg.eigh(centred.T @ centred / max(len(z), 1))  # ascending
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    total = float(variance.sum())
    shown = _sample(clips, most)
    return Projection(
        clips=[clips[i] for i in shown],
        modalities=[modalities[i] for i in shown],
        points=(centred @ axes)[shown],
        explained=float(variance[-2:].sum() / total) if total > 0 else 1.0,
        total=len(clips),
        mean=mean,
        axes=axes,
    )


def _by_clip(clips: list[LibraryClip], z: FloatArray) -> tuple[list[LibraryClip], FloatArray]:
    """Return each clip once, with the mean of its windows; windows of a clip follow each other."""
    starts = [i for i, clip in enumerate(clips) if i == 0 or clips[i - 1].id != clip.id]
    if not starts:
        return [], np.zeros((0, z.shape[1]))
    sums = np.add.reduceat(np.asarray(z, dtype=np.float64), starts)
    counts = np.diff([*starts, len(clips)])
    return [clips[i] for i in starts], sums / counts[:, None]


def _sample(clips: list[LibraryClip], most: int) -> list[int]:
    """Return places of the points of at most `most` clips, all modalities of each."""
    numbers = sorted({clip.id for clip in clips})
    if len(numbers) > most:
        numbers = np.random.default_rng(0).choice(numbers, most, replace=False).tolist()
    chosen = set(numbers)
    return [i for i, clip in enumerate(clips) if clip.id in chosen]

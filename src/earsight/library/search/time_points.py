"""A point in the space for each second of each clip, from the sequences that the library stores.

The point of a second is the mean of the steps in the three seconds around it, put into the space as
a whole clip is: what a clip of these three seconds would be. Nothing more is stored for it.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.features import FeatureSequence
from earsight.library.embedding.extraction import zero_shot_role
from earsight.library.embedding.joint_space import JointSpace
from earsight.similarity import GRID
from earsight.vectors import SequenceStore

AROUND = 3  # seconds that are heard and seen as one
MAX_BYTES = 600_000_000
"""Points of one modality that take more than this stay on disk: 108 hours of 384 dimensions."""

_BATCH_STEPS = 1 << 14  # steps read at a time: 25 MB of 384 dimensions; or one clip that has more
_PIECE = 512  # seconds pooled at a time

Flags = npt.NDArray[np.bool_]


def n_seconds(duration: float) -> int:
    """Return how many seconds a clip has; less than half of one belongs to the one before.

    >>> n_seconds(9.2), n_seconds(9.5), n_seconds(0.0)
    (9, 10, 1)
    """
    return max(1, math.floor(duration + 0.5))


def pooled(sequence: FeatureSequence, n: int, around: int = AROUND) -> tuple[FloatArray, Flags]:
    """Pool a sequence around each second i: Σ wₜ xₜ / Σ wₜ over t in [i − 1, i + 2).

    At the ends of a clip these are its first or its last three seconds, and a step that lies up to
    a second beyond them; so each second of a clip of three stands for the whole clip.

    A second without a step of its own has the nearest one, if that is no further away than half of
    what a step sees or of what lies between two steps; otherwise it has nothing.

    Args:
        sequence: (n_steps, dim), its times ascending.
        n: How many seconds, from 0.
        around: How many seconds count as one, odd; the formula has 3.

    Returns:
        (n, dim) float32, zeros where there is nothing, and (n,) whether there is something.

    >>> steps = FeatureSequence(np.eye(8, dtype=np.float32), np.arange(8) + 0.5)
    >>> pooled(steps, 8)[0][3].round(2)
    array([0.  , 0.  , 0.33, 0.33, 0.33, 0.  , 0.  , 0.  ], dtype=float32)
    """
    times = sequence.times
    begin = (np.arange(n) - around // 2).clip(0, max(0, n - around))
    end = np.where(begin < n - around, begin + around, n + 1)
    low = np.searchsorted(times, np.where(begin > 0, begin, -1))  # (n,) first step of each second
    high = np.searchsorted(times, end)  # (n,) one past its last
    empty = np.flatnonzero(low == high)
    if len(empty):
        nearest, near = _nearest(sequence, empty + 0.5)
        low[empty], high[empty] = nearest, nearest + near
    means = np.zeros((n, sequence.dim), np.float32)
    for first in range(0, n, _PIECE):
        piece = slice(first, first + _PIECE)
        means[piece] = _means(sequence, low[piece], high[piece])
    return means, high > low


def _nearest(sequence: FeatureSequence, middles: FloatArray) -> tuple[npt.NDArray[np.intp], Flags]:
    """Return the step nearest to each of (n,) times, and whether it is near enough to stand."""
    times = sequence.times
    if not len(times):
        nothing = np.zeros(len(middles), np.intp)
        return nothing, nothing.astype(bool)
    after = np.searchsorted(times, middles).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(middles - times[before] <= times[after] - middles, before, after)
    hop = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    reach = max(sequence.span, hop) / 2
    return nearest, np.abs(times[nearest] - middles) <= reach + 1e-9


def _means(
    sequence: FeatureSequence, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]
) -> FloatArray:
    """Return the means of the steps low[i] … high[i] − 1: (n, dim); zeros where there is none."""
    first, last = int(low.min()), int(high.max())
    values = sequence.values[first:last].astype(np.float64)
    weights = np.ones(last - first)
    if sequence.weights is not None:
        weights = sequence.weights[first:last].astype(np.float64)
    low, high = low - first, high - first
    mass = _sums(weights[:, None], low, high)
    sums = _sums(values * weights[:, None], low, high)
    if not (mass > 0).all():  # where nothing weighs anything, all steps count alike
        count = (high - low)[:, None]
        plain = _sums(values, low, high)
        sums, mass = np.where(mass > 0, sums, plain), np.where(mass > 0, mass, count)
    return np.divide(sums, mass, out=np.zeros_like(sums), where=mass > 0)


def _sums(x: FloatArray, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> FloatArray:
    """Return Σ x[low[i] … high[i] − 1], (n, d), each added up by itself.

    A running sum would leave of a loud step a trace in all quiet ones after it.
    """
    ends = np.stack([low, high], axis=1).ravel()  # every second stretch runs on to the next: unused
    padded = np.concatenate([x, np.zeros((1, x.shape[1]))])
    sums: FloatArray = np.add.reduceat(padded, ends, axis=0)[::2]
    sums[low == high] = 0.0
    return sums


@dataclass(frozen=True)
class Block:
    """The seconds of some contents, one content after another.

    Attributes:
        contents: m hashes.
        bounds: (m + 1,); content i has the rows bounds[i] up to bounds[i + 1].
        points: (n, k) float32 of unit length, zeros where there is nothing.
        present: (n,) whether a second has something to hear or see.
    """

    contents: Sequence[str]
    bounds: npt.NDArray[np.intp]
    points: FloatArray
    present: Flags

    def of(self, content: str) -> "Block":
        """Return the seconds of one of the contents."""
        at = self.contents.index(content)
        rows = slice(self.bounds[at], self.bounds[at + 1])
        bounds = np.array([0, rows.stop - rows.start])
        return Block([content], bounds, self.points[rows], self.present[rows])

    def scores(self, vector: FloatArray) -> FloatArray:
        """Return cosines with a point (k,): (n,) float64, −∞ where there is nothing.

        They are rounded to multiples of 2⁻²⁰, as all scores are.
        """
        found = np.rint((self.points @ vector.astype(np.float32)) * GRID) / GRID
        return np.where(self.present, found.astype(np.float64), -np.inf)


@dataclass(frozen=True)
class Curves:
    """The scores of many clips over time, one after another.

    Attributes:
        contents: m hashes.
        bounds: (m + 1,); content i has scores[bounds[i]:bounds[i + 1]].
        scores: (n,) float64, −∞ where there is nothing.
    """

    contents: list[str]
    bounds: npt.NDArray[np.intp]
    scores: FloatArray


class TimePoints:
    """The points of one library; read when asked for, unless they are kept in memory and fit.

    Args:
        space: The joint space.
        sequences: Where the steps are stored.
        in_memory: Keep the points in memory, for many questions.
    """

    def __init__(self, space: JointSpace, sequences: SequenceStore, *, in_memory: bool) -> None:
        self._space, self._sequences, self._in_memory = space, sequences, in_memory
        self._loaded: dict[str, Block] = {}
        self._covered: dict[str, frozenset[str]] = {}  # what was asked for when it was loaded
        learned = space.learned
        self._dim = int(space.zero_shot.n_components_) + (learned.n_components_ if learned else 0)

    def score(
        self,
        vector: FloatArray,
        modality: str,
        durations: Mapping[str, float],
        only: Container[str],
    ) -> Curves:
        """Return the inner products of a point (k,) with each second of some contents.

        Args:
            vector: The point.
            modality: "audio" or "visual".
            durations: As `blocks` takes them.
            only: The contents that are scored.
        """
        contents: list[str] = []
        scores: list[FloatArray] = [np.zeros(0)]
        lengths: list[npt.NDArray[np.intp]] = []
        for block in self.blocks(modality, durations, only):
            ours = np.array([content in only for content in block.contents], dtype=bool)
            each = np.diff(block.bounds)
            found = block.scores(vector)
            scores.append(found if ours.all() else found[np.repeat(ours, each)])
            lengths.append(each[ours])
            contents += [c for c, our in zip(block.contents, ours.tolist(), strict=True) if our]
        bounds = np.concatenate([[0], *lengths]).cumsum().astype(np.intp)
        return Curves(contents, bounds, np.concatenate(scores))

    def blocks(
        self, modality: str, durations: Mapping[str, float], only: Container[str] | None = None
    ) -> Iterator[Block]:
        """Yield the points of contents, in no fixed order; those of others may be among them.

        What is in memory is one block; otherwise a block is a few clips, or one long one.

        Args:
            modality: "audio" or "visual".
            durations: Content → seconds, of all that may be asked for. One whose sequences are not
                stored is in no block.
            only: The contents that this question is about; None: all.
        """
        if modality in self._loaded and durations.keys() <= self._covered[modality]:
            yield self._loaded[modality]
        elif self._in_memory and 4 * self._dim * _n_rows(durations) <= MAX_BYTES:
            self._loaded[modality] = self._load(modality, durations)
            self._covered[modality] = frozenset(durations)
            yield self._loaded[modality]
        else:
            some = {c: s for c, s in durations.items() if only is None or c in only}
            yield from self._read(modality, some)

    def of(self, modality: str, content: str, duration: float) -> Block | None:
        """Return the points of one content; None: its sequences are not stored."""
        return self.some(modality, {content: duration}).get(content)

    def some(self, modality: str, durations: Mapping[str, float]) -> dict[str, Block]:
        """Return the points of a few contents, by content."""
        loaded = self._loaded.get(modality)
        if loaded is not None and all(content in loaded.contents for content in durations):
            return {content: loaded.of(content) for content in durations}
        blocks = self._read(modality, durations)
        return {content: block.of(content) for block in blocks for content in block.contents}

    def _load(self, modality: str, durations: Mapping[str, float]) -> Block:
        """Return all of it as one block; what is read goes where it stays."""
        points = np.empty((_n_rows(durations), self._dim), np.float32)
        present = np.empty(len(points), bool)
        contents: list[str] = []
        bounds = [0]
        for block in self._read(modality, durations):
            rows = slice(bounds[-1], bounds[-1] + len(block.present))
            points[rows], present[rows] = block.points, block.present
            contents += block.contents
            bounds += (bounds[-1] + block.bounds[1:]).tolist()
        return Block(contents, np.array(bounds), points[: bounds[-1]], present[: bounds[-1]])

    def _read(self, modality: str, durations: Mapping[str, float]) -> Iterator[Block]:
        zero_shot = zero_shot_role(self._space.zero_shot_name, modality)
        roles = sorted({zero_shot, *([modality] if self._space.learned is not None else [])})
        steps = self._sequences.lengths({"source": roles})
        for batch in _batches(durations, roles, steps):
            stored = self._sequences.get(f"{content}:{role}" for content in batch for role in roles)
            # What was deleted since its steps were counted is as if it had not been stored.
            some = [c for c in batch if all(f"{c}:{role}" in stored for role in roles)]
            if not some:
                continue
            lengths = [n_seconds(durations[content]) for content in some]
            means: dict[str, FloatArray] = {}
            present = np.ones(sum(lengths), bool)
            for role in roles:
                own = [stored[f"{content}:{role}"].sequence for content in some]
                each = [pooled(steps, n) for steps, n in zip(own, lengths, strict=True)]
                means[role] = np.concatenate([values for values, _ in each])
                present &= np.concatenate([flags for _, flags in each])
            points = np.zeros((len(present), self._dim), np.float32)
            if present.any():
                rows = {role: values[present] for role, values in means.items()}
                points[present] = self._space.embed(modality, rows)
            yield Block(some, np.cumsum([0, *lengths]), points, present)


def _batches(
    durations: Mapping[str, float], roles: Sequence[str], steps: Mapping[str, int]
) -> Iterator[list[str]]:
    """Yield contents that are stored, so many at a time that they have `_BATCH_STEPS` steps."""
    some: list[str] = []
    n_steps = 0
    for content in sorted(durations):
        lengths = [steps.get(f"{content}:{role}", 0) for role in roles]
        if not all(lengths):
            continue
        if some and n_steps + sum(lengths) > _BATCH_STEPS:
            yield some
            some, n_steps = [], 0
        some.append(content)
        n_steps += sum(lengths)
    if some:
        yield some


def _n_rows(durations: Mapping[str, float]) -> int:
    return sum(map(n_seconds, durations.values()))

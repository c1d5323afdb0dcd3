"""Query expansion: a query is moved towards what goes with its like in this library.

What the networks cannot name on both sides they often tell apart on one: all hammers sound alike,
whatever they are taken for. And what sounds alike is seen together with its sights, in the very
recordings that are searched. So a sound that asks for sights is moved towards the sights of what
sounds like it, as far as those are alike themselves: pseudo-relevance feedback, after Rocchio.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.library.embedding.extraction import TEXT
from earsight.library.search.peaks import best_peaks
from earsight.library.search.query import EmbeddedQuery
from earsight.library.search.snapshot import LibrarySnapshot

FEEDBACK_MOMENTS = 10  # moments like the query whose other side is looked at
FEEDBACK_WEIGHT = 4.0  # the weight of what they agree on; the query's own is 1
MAX_SECONDS = 400_000  # 111 hours: a longer library is not looked through


def expand_query(vector: FloatArray, weights: FloatArray, points: FloatArray) -> FloatArray:
    """Return the query with what goes with its like added to it.

        q′ ∝ q + 4·ρ·u/‖u‖,  u = Σ wᵢxᵢ,  ρ = Σ wᵢwⱼ xᵢ·xⱼ / Σ wᵢwⱼ over i ≠ j, at least 0

    Points that have nothing in common, as with music laid over pictures, have a ρ around 0, and the
    query stays where it is.

    Args:
        vector: (k,) of unit length, the query.
        weights: (m,) above 0, how much each moment is like it.
        points: (m, k) of unit length, what goes with them, in the modality that is asked for.

    Returns:
        (k,) float32 of unit length.

    >>> expand_query(np.array([1.0, 0.0]), np.ones(2), np.array([[0.0, 1.0], [0.0, 1.0]])).round(2)
    array([0.24, 0.97], dtype=float32)
    >>> expand_query(np.array([1.0, 0.0]), np.ones(2), np.array([[0.0, 1.0], [0.0, -1.0]]))
    array([1., 0.], dtype=float32)
    """
    pairs = weights.sum() ** 2 - (weights**2).sum()
    if pairs <= 0:  # none, or one: nothing to agree with
        return vector.astype(np.float32)
    x = points.astype(np.float64)
    common = weights @ x  # (k,)
    agreement = (common @ common - weights**2 @ (x * x).sum(axis=1)) / pairs
    if agreement <= 0:
        return vector.astype(np.float32)
    moved = vector + FEEDBACK_WEIGHT * agreement * common / np.linalg.norm(common)
    return np.asarray(moved / np.linalg.norm(moved), dtype=np.float32)


def expand_from_library(
    snapshot: LibrarySnapshot, embedded: EmbeddedQuery, own: tuple[str, float, float] | None = None
) -> EmbeddedQuery:
    """Return a query by sound for sights, or the other way round, expanded; others as they are.

    Args:
        snapshot: The library; its clips that have both are looked through, whatever is searched.
        embedded: The query.
        own: A content and the seconds of it, from and to, that are the query itself and are left
            out; default: all of the query's own content. The benchmark of moments asks so.
    """
    by, for_ = embedded.by, embedded.for_
    if by == for_ or TEXT in (by, for_):
        return embedded
    clips = snapshot.by_content
    both = {c: s for c, s in durations_of(snapshot, by).items() if for_ in clips[c][0].has}
    if sum(both.values()) > MAX_SECONDS:
        embedded.notes.append(
            "The library is too long to look through for what goes with the like of this query; "
            "the query was not expanded."
        )
        return embedded
    curves = snapshot.time_points.score(embedded.vector, by, durations_of(snapshot, by), only=both)
    content, begin, end = own or (embedded.content, 0.0, np.inf)
    if content in curves.contents:
        at = curves.contents.index(content)
        curve = curves.scores[curves.bounds[at] : curves.bounds[at + 1]]
        middles = np.arange(len(curve)) + 0.5
        curve[(middles > begin) & (middles < end)] = -np.inf
    similar = [
        (curves.contents[curve], second, score)
        for curve, second, score in similar_seconds(curves.scores, curves.bounds)
    ]
    wanted = {content: both[content] for content, _, _ in similar}
    blocks = snapshot.time_points.some(for_, wanted) if wanted else {}
    weights, points = [], []
    for content, second, score in similar:
        if content in blocks and blocks[content].present[second]:
            weights.append(score)
            points.append(blocks[content].points[second])
    if not points:
        return embedded
    vector = expand_query(embedded.vector, np.array(weights), np.stack(points))
    return replace(embedded, vector=vector)


def similar_seconds(
    scores: FloatArray, bounds: npt.NDArray[np.intp]
) -> list[tuple[int, int, float]]:
    """Return curve, second and score of the highest second of each of the ten best moments.

    Args:
        scores, bounds: As `best_peaks` takes them; what is not above 0 is not alike.
    """
    found = []
    for peak in best_peaks(scores, bounds, FEEDBACK_MOMENTS):
        run = scores[bounds[peak.curve] + peak.start : bounds[peak.curve] + peak.end]
        if peak.score > 0:
            found.append((peak.curve, peak.start + int(run.argmax()), peak.score))
    return found


def durations_of(snapshot: LibrarySnapshot, modality: str) -> dict[str, float]:
    """Return content → seconds, of those that have a modality."""
    return {
        content: clips[0].seconds or 0.0
        for content, clips in snapshot.by_content.items()
        if modality in clips[0].has
    }

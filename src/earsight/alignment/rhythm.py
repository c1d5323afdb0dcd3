"""Whose sight caused this sound? Many sights against one sound, or many sounds against one sight.

Meaning does not tell two drummers apart; their timing does. What begins to sound is set against
what begins to move, and how loud it is against how much moves; both may be off by a little. How
well other sounds fit a restless sight is taken off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earsight.alignment.offset import BANDS, BLOCKS, N_KINDS, smoothed
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.features import FeatureSequence

RATE = 25  # steps a second of what is compared
HEARD = (0, 0, 1, 1)  # which of onset and loudness each kind of motion is set against …
KINDS = ("rising difference", "rising flow", "difference", "flow")  # … and the kinds
PARTS = 8  # blocks that are kept of each kind: those where most happens
LISTENED = 3  # of these, at each lag, the best
LONGEST = 60.0  # seconds that are compared
TRUST = 4.0  # others in one place count against so many of those in all places
USUAL = 0.1  # how far correlations spread where there are no others
CLEAR = 1.0  # spreads that a timing must stand out by before it counts, …
GAIN = 0.1  # … and what each spread above counts beside a cosine
TINY = 1e-9


def heard(onsets: FeatureSequence) -> FeatureSequence:
    """Return onset strength and loudness, 25 steps a second: (n, 2).

    Args:
        onsets: The sequence of the extractor `onsets`.

    Raises:
        InputError: It is the sequence of another extractor.
    """
    _check(onsets, 2 * BANDS, "onsets")
    fine = smoothed(onsets.values)
    both = np.stack([fine[:, :BANDS].sum(axis=1), fine[:, BANDS:].sum(axis=1)], axis=1)
    return _slower(both, onsets.times)


def seen(motion: FeatureSequence) -> FeatureSequence:
    """Return how motion begins and how much there is, 25 steps a second: (n, 4·8).

    Columns 8·k … 8·k + 7 are the eight blocks that vary most of kind k of `KINDS`.

    Args:
        motion: The sequence of the extractor `motion`.

    Raises:
        InputError: It is the sequence of another extractor.
    """
    _check(motion, N_KINDS * BLOCKS, "motion")
    difference, flow, _, _, *rising = np.split(smoothed(motion.values), N_KINDS, axis=1)
    kept = [
        kind[:, np.sort(np.argsort(-kind.var(axis=0), kind="stable")[:PARTS])]
        for kind in (*rising, difference, flow)
    ]
    return _slower(np.concatenate(kept, axis=1), motion.times)


@dataclass(frozen=True)
class Fits:
    """How well sounds fit sights.

    Attributes:
        heights: (4, sounds, sights) float32, the highest correlation of each kind within reach.
        offsets: (sounds, sights) seconds by which the sound is late where all four fit best.
    """

    heights: FloatArray
    offsets: FloatArray


def fits(
    sounds: Sequence[FeatureSequence], sights: Sequence[FeatureSequence], *, reach: float = 0.5
) -> Fits:
    """Correlate every sound with every sight at every lag up to `reach`.

        r(ℓ) = Σₜ aₜ₊ℓ vₜ / √(Σₜ aₜ² Σₜ vₜ²),  a and v of mean 0, zero where they are not,

    so that a short overlap gives a low correlation. Of each kind the mean of the best 3 of 8
    blocks counts, at each lag.

    Args:
        sounds: What `heard` returned; times say how they lie to each other.
        sights: What `seen` returned.
        reach: Seconds.

    Raises:
        InputError: `reach` is not above 0, there is nothing to compare, or it is something else.
    """
    if not 0 < reach < float("inf"):
        raise InputError(f"`reach` must be above 0, in seconds; got {reach}.")
    if not sounds or not sights:
        raise InputError("`fits` needs at least one sound and one sight.")
    for given, dim, name in ((sounds, 2, "heard"), (sights, len(KINDS) * PARTS, "seen")):
        for sequence in given:
            _check(sequence, dim, name)
            if not len(sequence):
                raise InputError(
                    f"`fits` needs sequences of at least one step; got an empty `{name}`."
                )
    steps = max(1, round(reach * RATE))
    both = [*sounds, *sights]
    first = min(map(_first, both)) - steps
    n = max(_first(one) + len(one) for one in both) - first + steps
    a, v = (_side_by_side(side, first, n) for side in (sounds, sights))
    kinds = [_kind(a[i], v[PARTS * k : PARTS * (k + 1)], steps) for k, i in enumerate(HEARD)]
    together = np.sum(kinds, axis=0)  # (lags, sounds, sights)
    offsets = (together.argmax(axis=0) - steps) / RATE
    return Fits(np.stack([kind.max(axis=0) for kind in kinds]), offsets)


def stand_out(
    heights: FloatArray, others: FloatArray, use: npt.NDArray[np.bool_] | None = None
) -> FloatArray:
    """Return how far each pair stands above what others reach in its place.

        mean over kinds of (r − m)/s,
        m = (Σ x + 4·x̄)/(n + 4) over the n others in use, x̄ their mean over all places,

    s² the variance of x − m over all of them. s is one number for each kind: the spread in a single
    place is too uncertain to divide by. Without others m = 0 and s = 0.1.

    Args:
        heights: (4, n) of one sound with n sights, or of one sight with n sounds.
        others: (4, m, n) of m other sounds with the n sights (of m other sights with the sounds).
        use: (m, n) which of them count; a sight's own sound must not. None: all.

    Returns:
        (n,).
    """
    counted = np.ones(others.shape[1:], dtype=bool) if use is None else use
    n = counted.sum(axis=0)  # (n,)
    if not n.any():
        return np.asarray(heights.mean(axis=0) / USUAL)
    x = np.where(counted, others, 0.0).astype(np.float64)  # (4, m, n)
    usual = x.sum(axis=(1, 2), keepdims=True) / n.sum()  # (4, 1, 1)
    mean = (x.sum(axis=1, keepdims=True) + TRUST * usual) / (n + TRUST)  # (4, 1, n)
    square = np.where(counted, (x - mean) ** 2, 0.0).sum(axis=(1, 2)) / n.sum()  # (4,)
    scale = np.sqrt(square)[:, None]
    above = np.where(scale > TINY, (heights - mean[:, 0]) / np.maximum(scale, TINY), 0.0)
    return np.asarray(above.mean(axis=0))


def raised(scores: FloatArray, timings: FloatArray) -> FloatArray:
    """Return scores by which to rank, those raised whose timing clearly stands out.

        score + 0.1·max(0, timing − 1)

    Meaning keeps its order where nothing stands out, and a timing by chance does not lift what
    means something else above what fits.

    Args:
        scores: (n,) cosines.
        timings: (n,) what `stand_out` returned; NaN where there is none.

    >>> raised(np.array([0.5, 0.4, 0.4]), np.array([0.9, 4.0, np.nan])).round(6).tolist()
    [0.5, 0.7, 0.4]
    """
    return np.asarray(scores + GAIN * np.maximum(0.0, np.nan_to_num(timings, nan=0.0) - CLEAR))


def part(
    sequence: FeatureSequence, start: float, seconds: float, *, margin: float = 0.0
) -> FeatureSequence:
    """Return what lies in [start, start + seconds), at most 60 s, its times counted from `start`.

    Args:
        sequence: What `heard` or `seen` returned.
        start: Seconds.
        seconds: How much is wanted.
        margin: Seconds around it that come as well, where they are there.
    """
    first = round(start * RATE) / RATE
    cut = sequence.between(first - margin - 1e-6, first + min(seconds, LONGEST) + margin - 1e-6)
    return FeatureSequence(cut.values, cut.times - first, cut.span)


def _side_by_side(sequences: Sequence[FeatureSequence], first: int, n: int) -> FloatArray:
    """Return the sequences on one grid of n steps from `first`, each channel of mean 0 and norm 1.

    Returns:
        (channels, sequences, n) float32, zero where a sequence is not, or does not vary.
    """
    placed = np.zeros((sequences[0].dim, len(sequences), n), dtype=np.float32)
    for k, one in enumerate(sequences):
        values = one.values - one.values.mean(axis=0)
        norm = np.sqrt((values.astype(np.float64) ** 2).sum(axis=0))
        varies = norm > 1e-4  # what a constant leaves is rounding
        begin = _first(one) - first
        placed[:, k, begin : begin + len(one)] = (
            np.where(varies, values / np.where(varies, norm, 1.0), 0.0)
        ).T
    return placed


def _first(sequence: FeatureSequence) -> int:
    return round(float(sequence.times[0]) * RATE)


def _kind(sound: FloatArray, sight: FloatArray, reach: int) -> FloatArray:
    """Return how (sounds, n) and (8, sights, n) fit at each lag: (lags, sounds, sights)."""
    # Row (lag, sound): the sound shifted to where it meets the sight; one product does them all.
    shifted = np.zeros((2 * reach + 1, *sound.shape), dtype=np.float32)
    for row, lag in zip(shifted, range(-reach, reach + 1), strict=True):
        if lag >= 0:
            row[:, : sound.shape[1] - lag] = sound[:, lag:]
        else:
            row[:, -lag:] = sound[:, :lag]
    flat = shifted.reshape(-1, sound.shape[1])  # (lags·sounds, n)
    best = _best(flat @ block.T for block in sight)  # (lags·sounds, sights)
    return best.reshape(len(shifted), len(sound), -1)


def _best(each: Iterable[FloatArray]) -> FloatArray:
    """Return the mean of the 3 highest of several arrays, place by place, in one pass."""
    top: list[FloatArray] = []
    for x in each:
        if not top:
            top = [np.full_like(x, -np.inf) for _ in range(LISTENED)]
        for held in top:
            x, held[:] = np.minimum(held, x), np.maximum(held, x)
    return np.asarray(sum(top) / LISTENED)


def _slower(values: FloatArray, times: FloatArray) -> FeatureSequence:
    """Return every second step, those at whole multiples of 1/25 s."""
    keep = np.round(times * 2 * RATE).astype(np.int64) % 2 == 0
    return FeatureSequence(values[keep].astype(np.float32), times[keep], 1 / RATE)


def _check(sequence: FeatureSequence, dim: int, name: str) -> None:
    if sequence.dim != dim:
        raise InputError(f"This needs the {dim} values a step of `{name}`; got {sequence.dim}.")

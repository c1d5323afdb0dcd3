"""By how much the sound of a clip is off, from ten estimates that look at different things.

Each estimate is a curve over lags. Their consensus, Σ exp(z), z in standard deviations below the
curve's own peak, is highest at the offset that most of them favour. How high a single curve peaks
says little. Where exactly it lies is told by curves that look from frame to frame: what happens
between two frames is seen in that very step.

There is an answer where most estimates agree, where no other offset fits as well, and none further
off than is looked for fits better, where sound and sight do not both repeat themselves in a steady
beat, and where the clip's own sound, cut into pieces and put together in another order, fits worse.
"""

import math
from dataclasses import dataclass

import numpy as np

from earsight.alignment.lags import Overlap, canonical, correlations, weight
from earsight.arrays import FloatArray, IntArray
from earsight.errors import InputError
from earsight.features import FeatureSequence

RATE = 50  # steps a second of both sequences
BANDS, BLOCKS = 8, 64
N_KINDS = 6  # of motion: difference, flow, divergence, jolt, rising difference, rising flow
BEST = 8  # blocks that a curve listens to, at each lag
COMPONENTS = 6  # of motion, for canonical correlation
ESTIMATES = (
    "onsets, difference",
    "onsets, flow",
    "onsets, divergence",
    "onsets, where difference falls",
    "onsets, where difference rises",
    "onsets, where flow rises",
    "energy, difference",
    "energy, flow",
    "CCA of onsets and rising difference",
    "CCA of energies and difference",
)
SHARPER = (
    "onsets, jolt",
    "onsets, difference rising from frame to frame",
    "onsets, flow rising from frame to frame",
    "CCA of onsets and difference rising from frame to frame",
)
PLACED = (0, 1, 2, 10, 11, 12, 6, 7, 13, 9)  # the ten, with the sharper ones in place of slopes
NEAR = 0.15  # seconds around the answer in which an estimate agrees
ENOUGH = 8  # of the ten
CLEAR = 0.2  # how far the consensus must stand above any other lag, as a share of its height
APART = 0.2  # seconds: what is nearer belongs to the same peak
MORE = 5.0  # seconds beyond the reach, where another offset may fit better
SHARED = 0.4  # of the largest overlap: at a lag that shares less, anything may fit
STEADY = 0.75  # of 1: how like themselves a while later sound and sight may be, one times the other
SHUFFLES, PIECES = 19, 4  # other orders of the sound's own pieces, …
CHANCE = 0.1  # … and the share of them that may fit as well
QUIET = 0.2  # mean onset strength that a hum stays below
SHORTEST = 2.0  # seconds that sound and sight must share


@dataclass(frozen=True)
class Offset:
    """What the estimates say.

    Attributes:
        seconds: By how much the sound comes after its sight (below 0: before); None: no answer.
        best: The offset that the consensus favours, answer or not.
        agreement: How many of the ten independent estimates peak within ±0.15 s of it.
        why: For people: why there is no answer; empty where there is one.
        lags: (n,) seconds.
        consensus: (n,) the score of each lag.
        curves: (10, n) the estimates' own curves, in the order of `ESTIMATES`.
    """

    seconds: float | None
    best: float
    agreement: int
    why: str
    lags: FloatArray
    consensus: FloatArray
    curves: FloatArray


def estimate(sound: FeatureSequence, sight: FeatureSequence, *, reach: float = 2.5) -> Offset:
    """Return by how much the sound is off, if enough estimates agree.

    Args:
        sound: The sequence of the extractor `onsets`.
        sight: The sequence of the extractor `motion`.
        reach: The largest offset looked for, in seconds.

    Returns:
        The offset, or why there is none: nothing sounds or moves, too little time in common, too
        few estimates agree, another offset fits as well, as with a steady beat, one that is up to
        5 s beyond `reach` fits better, or sound and sight both repeat themselves.

    Raises:
        InputError: `reach` is not above 0, or the sequences are of other extractors.
    """
    if not 0 < reach < float("inf"):
        raise InputError(f"`reach` must be above 0, in seconds; got {reach}.")
    for sequence, dim, kind in ((sound, 2 * BANDS, "onsets"), (sight, N_KINDS * BLOCKS, "motion")):
        if sequence.dim != dim:
            raise InputError(
                f"`estimate` needs the {dim} values of the extractor {kind}; got {sequence.dim}."
            )
    lags = np.arange(-round(reach * RATE), round(reach * RATE) + 1) / RATE
    nothing = _nothing(sound, sight)
    if nothing:
        flat = np.zeros((len(ESTIMATES), len(lags)))
        return Offset(None, 0.0, 0, nothing, lags, flat[0], flat)
    near, seen = _near(sound, sight, reach), _near(sight, sound, reach)
    whole = curves(near, seen, reach, sharper=True)
    found = whole[: len(ESTIMATES)]
    consensus = agreed(found)
    around = peak(consensus, lags)
    agreement = _agreement(found, lags, around)
    why = _further(sound, sight, reach, agreement)
    why = why or _doubt(found, lags, around, agreement, shared=shares(near, seen, reach))
    if not why and (beat := _beat(near, seen, reach)):
        why = (
            f"Sound and sight both repeat themselves every {beat:.1f} s: a beat more fits as well."
        )
    if not why and _shuffled_fits(found, near, seen, reach):
        why = "The sound's own pieces, put together in another order, fit as well."
    here = np.abs(lags - around) <= NEAR
    best = peak(agreed(whole[list(PLACED)])[here], lags[here])
    return Offset(None if why else best, best, agreement, why, lags, consensus, found)


def _nothing(sound: FeatureSequence, sight: FeatureSequence) -> str:
    """Say why there is nothing to set against each other; nothing where there is something."""
    shared = 0.0
    if len(sound) and len(sight):
        shared = min(sound.times[-1], sight.times[-1]) - max(sound.times[0], sight.times[0])
    if shared < SHORTEST - 1 / RATE:
        return f"Sound and sight share {max(shared, 0.0):.1f} s; it takes {SHORTEST:.0f} s."
    if not _begins(sound):
        return "Nothing begins to sound, or only once."
    return "" if np.ptp(sight.values, axis=0).any() else "Nothing moves."


def _near(one: FeatureSequence, other: FeatureSequence, reach: float) -> FeatureSequence:
    """Return the steps of one side that the other meets at some lag."""
    return one.between(other.times[0] - reach - 1e-6, other.times[-1] + reach + 1e-6)


def _begins(sound: FeatureSequence) -> bool:
    """Whether onsets take up a hundredth of the time: a hum, or a single bang, has not enough."""
    strength = sound.values[:, :BANDS].mean(axis=1)
    return bool(np.quantile(strength, 0.99) > QUIET and np.ptp(strength) > 0)


def curves(
    sound: FeatureSequence, sight: FeatureSequence, reach: float, *, sharper: bool = False
) -> FloatArray:
    """Return the ten independent estimates over lags −reach … reach seconds: (10, 2·50·reach + 1).

    Like is set against like: what begins to sound against what begins to move, how loud it is
    against how much moves; and onsets against motion itself, which peaks before a stroke lands.
    With `sharper` the four of `SHARPER` follow, (14, …).
    """
    first, steps = _first(sound, sight), round(reach * RATE)
    onsets, energies = np.split(smoothed(sound.values), [BANDS], axis=1)
    difference, flow, divergence, *sharp = np.split(smoothed(sight.values), N_KINDS, axis=1)
    slope = np.gradient(difference, axis=0)
    falls, rises = np.maximum(-slope, 0.0), np.maximum(slope, 0.0)
    begins = [difference, flow, divergence, falls, rises, np.maximum(np.gradient(flow, axis=0), 0)]

    def local(heard: FloatArray, seen: list[FloatArray]) -> list[FloatArray]:
        both = correlations(
            heard.sum(axis=1, keepdims=True), np.concatenate(seen, axis=1), steps, first=first
        )
        return [_best_blocks(r) for r in np.split(both[:, 0], len(seen), axis=1)]

    def joint(motion: FloatArray) -> FloatArray:
        return canonical(onsets, _components(motion), steps, first=first)[:, 0]

    loud = canonical(energies, _components(difference), steps, first=first)
    found = [*local(onsets, begins), *local(energies, [difference, flow])]
    found += [joint(rises), np.sqrt((loud**2).sum(axis=1))]
    if sharper:
        found += [*local(onsets, sharp), joint(sharp[1])]
    return np.stack(found)


def shares(sound: FeatureSequence, sight: FeatureSequence, reach: float) -> FloatArray:
    """Return √(overlap/largest overlap) at each lag, by which the estimates are weighted."""
    steps = round(reach * RATE)
    return weight(Overlap.of(len(sound), len(sight), steps, _first(sound, sight)))


def _first(sound: FeatureSequence, sight: FeatureSequence) -> int:
    return round((float(sound.times[0]) - float(sight.times[0])) * RATE)


def smoothed(values: FloatArray) -> FloatArray:
    """Return (n, d) smoothed (σ 30 ms) minus its own average (σ 0.5 s), at 50 steps a second."""
    from scipy.ndimage import gaussian_filter1d

    x = values.astype(np.float64)
    fine, slow = (gaussian_filter1d(x, s * RATE, axis=0, mode="nearest") for s in (0.03, 0.5))
    return np.asarray(fine - slow)


def agreed(found: FloatArray) -> FloatArray:
    """Return Σ exp((c − max c)/σ) over the curves: (estimates, n) → (n,)."""
    spread = np.maximum(found.std(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.exp((found - found.max(axis=1, keepdims=True)) / spread).sum(axis=0))


def peak(curve: FloatArray, lags: FloatArray) -> float:
    """Return the lag of a curve's peak, between the lags by a parabola.

    >>> peak(np.array([0.0, 3.0, 4.0, 3.0, 0.0]), np.arange(-2, 3) / 50)
    0.0
    """
    i = int(curve.argmax())
    if i in (0, len(curve) - 1):
        return float(lags[i])
    left, top, right = curve[i - 1 : i + 2]
    bend = left - 2 * top + right
    return float(lags[i] + (0.5 * (left - right) / bend if bend < 0 else 0.0) / RATE)


def _agreement(found: FloatArray, lags: FloatArray, best: float) -> int:
    """Return how many estimates peak near an offset."""
    votes = lags[found.argmax(axis=1)]
    return int((np.abs(votes - best) <= NEAR + 1e-9).sum())


def _further(sound: FeatureSequence, sight: FeatureSequence, reach: float, agreement: int) -> str:
    """Say that an offset beyond the reach fits best; nothing where none does.

    Where too few estimates agree, there as well as within the reach, that is the better reason.
    """
    far = reach + MORE
    lags = np.arange(-round(far * RATE), round(far * RATE) + 1) / RATE
    found = curves(_near(sound, sight, far), _near(sight, sound, far), far)
    best = peak(agreed(found), lags)
    if abs(best) < reach or max(agreement, _agreement(found, lags, best)) < ENOUGH:
        return ""
    return (
        f"It may be off by about {best:+.1f} s, more than the {reach:g} s looked for; "
        f"earsight align --reach {math.ceil(abs(best) + 0.5)} looks further."
    )


def _doubt(
    found: FloatArray, lags: FloatArray, best: float, agreement: int, *, shared: FloatArray
) -> str:
    """Say why the favoured offset is no answer; nothing where it is one."""
    if agreement < ENOUGH:
        return (
            f"Only {agreement} of {len(ESTIMATES)} independent estimates agree; it takes {ENOUGH}. "
            "The sound may be continuous, or its source not in the picture."
        )
    if best in (lags[0], lags[-1]):
        return (
            f"{1000 * best:+.0f} ms fits best, the largest offset that is looked for; it may be "
            "further off."
        )
    here = np.abs(lags - best)
    consensus = agreed(found)
    elsewhere = np.where(here > APART, consensus, 0.0)
    # A second that is shared counts alike at every lag: the weight only helps to find the peak.
    height = found.mean(axis=0) / np.maximum(shared, 1e-9)
    rivals = np.where((here > APART) & (shared**2 >= SHARED), height, -np.inf)
    for rival, as_well in (
        (elsewhere, consensus.max() - elsewhere.max() < CLEAR * consensus.max()),
        (rivals, rivals.max() >= height[here <= 3 / RATE].max()),
    ):
        if as_well:
            other = float(lags[rival.argmax()])
            at = f"{1000 * best:+.0f} ms and {1000 * other:+.0f} ms"
            return f"{at} fit alike, as with a steady beat."
    return ""


def _beat(sound: FeatureSequence, sight: FeatureSequence, reach: float) -> float:
    """Return after how many seconds both sides repeat themselves; 0 where they do not.

    What is like itself a while later on both sides fits as well a beat further off, even where the
    pieces that are left by a large offset happen to fit better there.
    """
    onsets, difference = sound.values[:, :BANDS], sight.values[:, :BLOCKS]
    n = min(len(onsets), len(difference))
    steps = min(round(reach * RATE), int((1 - SHARED) * n))
    both = np.ones(steps + 1)  # lags 0 … steps
    for values in (onsets, difference):
        x = smoothed(values).sum(axis=1, keepdims=True)
        r = correlations(x, x, steps)[steps:, 0, 0]
        both *= np.maximum(r / weight(Overlap.of(len(x), len(x), steps))[steps:], 0)
    both[: round(APART * RATE) + 1] = 0
    return float(both.argmax() / RATE) if both.max() > STEADY else 0.0


def _shuffled_fits(
    found: FloatArray, sound: FeatureSequence, sight: FeatureSequence, reach: float
) -> bool:
    """Whether too many of 19 other orders of the sound's pieces fit as well, at any lag.

    They hold the same sounds, so how well they fit is what this sound can reach by chance.
    """
    rng, height = np.random.default_rng(0), found.mean(axis=0).max()
    as_well = 0
    for _ in range(SHUFFLES):
        other = FeatureSequence(sound.values[_another_order(len(sound), rng)], sound.times)
        as_well += int(curves(other, sight, reach).mean(axis=0).max() >= height)
    return (1 + as_well) / (1 + SHUFFLES) > CHANCE


def _another_order(n: int, rng: np.random.Generator) -> IntArray:
    """Return 0 … n − 1 cut into 4 pieces, about alike, none of which follows or leads as before.

    >>> sorted(_another_order(120, np.random.default_rng(0)).tolist()) == list(range(120))
    True
    """
    places = np.arange(1, PIECES) + rng.uniform(-1 / 3, 1 / 3, PIECES - 1)
    pieces = np.split(np.arange(n), np.round(n * places / PIECES).astype(int))
    while True:
        order = rng.permutation(PIECES)
        if order[0] != 0 and (np.diff(order) != 1).all():
            return np.concatenate([pieces[k] for k in order])


def _best_blocks(r: FloatArray) -> FloatArray:
    """Return the mean of the highest 8 of 64 at each lag: (lags, 64) → (lags,)."""
    return np.asarray(np.partition(r, -BEST, axis=1)[:, -BEST:].mean(axis=1))


def _components(values: FloatArray) -> FloatArray:
    """Return the largest principal components of (n, d): (n, 6)."""
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, ::-1][:, :COMPONENTS])

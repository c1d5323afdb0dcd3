"""By how much the sound of a clip is off, from ten witnesses that look at different things.

Each witness is a curve over lags. Their consensus, Σ exp(z), z in standard deviations below the
curve's own peak, is highest at the offset that most of them favour. How many of them peak near it
is the confidence; how high a single curve peaks says little.
"""

from dataclasses import dataclass

import numpy as np

from earsight.alignment.lags import canonical, correlations
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.features import FeatureSequence

RATE = 50  # steps a second of both sequences
BANDS, BLOCKS = 8, 64
BEST = 8  # blocks that a curve listens to, at each lag
COMPONENTS = 6  # of motion, for canonical correlation
WITNESSES = (
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
NEAR = 0.15  # seconds around the answer in which a witness agrees
ENOUGH = 8  # of the ten
CLEAR = 0.2  # how far the consensus must stand above any other lag, as a share of its height
APART = 0.2  # seconds: what is nearer belongs to the same peak
QUIET = 0.2  # mean onset strength that a hum stays below
SHORTEST = 2.0  # seconds that sound and sight must share


@dataclass(frozen=True)
class Offset:
    """What the witnesses say.

    Attributes:
        seconds: By how much the sound comes after its sight (below 0: before); None: no answer.
        best: The offset that the consensus favours, answer or not.
        agreement: How many of the ten witnesses peak within ±0.15 s of it.
        why: For people: why there is no answer; empty where there is one.
        lags: (n,) seconds.
        consensus: (n,) the score of each lag.
        curves: (10, n) the witnesses' own curves, in the order of `WITNESSES`.
    """

    seconds: float | None
    best: float
    agreement: int
    why: str
    lags: FloatArray
    consensus: FloatArray
    curves: FloatArray


def estimate(sound: FeatureSequence, sight: FeatureSequence, *, reach: float = 2.5) -> Offset:
    """Return by how much the sound is off, if enough witnesses agree.

    Args:
        sound: The sequence of the extractor `onsets`.
        sight: The sequence of the extractor `motion`.
        reach: The largest offset looked for, in seconds.

    Returns:
        The offset, or why there is none: nothing sounds or moves, too little time in common, too
        few witnesses agree, or another offset fits as well, as with a steady beat.

    Raises:
        InputError: `reach` is not above 0, or the sequences are of other extractors.
    """
    if not 0 < reach < float("inf"):
        raise InputError(f"`reach` must be above 0, in seconds; got {reach}.")
    for sequence, dim, kind in ((sound, 2 * BANDS, "onsets"), (sight, 3 * BLOCKS, "motion")):
        if sequence.dim != dim:
            raise InputError(
                f"`estimate` needs the {dim} values of the extractor {kind}; got {sequence.dim}."
            )
    lags = np.arange(-round(reach * RATE), round(reach * RATE) + 1) / RATE
    shared = min(sound.times[-1], sight.times[-1]) - max(sound.times[0], sight.times[0])
    for nothing in (
        f"Sound and sight share {max(shared, 0.0):.1f} s; it takes {SHORTEST:.0f} s."
        if shared < SHORTEST - 1 / RATE
        else "",
        "" if _begins(sound) else "Nothing begins to sound, or only once.",
        "" if np.ptp(sight.values, axis=0).any() else "Nothing moves.",
    ):
        if nothing:
            flat = np.zeros((len(WITNESSES), len(lags)))
            return Offset(None, 0.0, 0, nothing, lags, flat[0], flat)
    found = curves(sound, sight, reach)
    consensus = agreed(found)
    best = peak(consensus, lags)
    votes = lags[found.argmax(axis=1)]
    agreement = int((np.abs(votes - best) <= NEAR + 1e-9).sum())
    why = _doubt(consensus, lags, best, agreement)
    return Offset(None if why else best, best, agreement, why, lags, consensus, found)


def _begins(sound: FeatureSequence) -> bool:
    """Whether onsets take up a hundredth of the time: a hum, or a single bang, has not enough."""
    strength = sound.values[:, :BANDS].mean(axis=1)
    return bool(np.quantile(strength, 0.99) > QUIET)


def curves(sound: FeatureSequence, sight: FeatureSequence, reach: float) -> FloatArray:
    """Return the ten witnesses over lags −reach … reach seconds: (10, 2·50·reach + 1).

    Like is set against like: what begins to sound against what begins to move, how loud it is
    against how much moves; and onsets against motion itself, which peaks before a stroke lands.
    """
    first = round((float(sound.times[0]) - float(sight.times[0])) * RATE)
    steps = round(reach * RATE)
    onsets, energies = np.split(smoothed(sound.values), [BANDS], axis=1)
    difference, flow, divergence = np.split(smoothed(sight.values), 3, axis=1)
    onset, energy = (x.sum(axis=1, keepdims=True) for x in (onsets, energies))
    change, flow_change = (np.gradient(x, axis=0) for x in (difference, flow))
    rising = np.maximum(change, 0.0)
    pairs = (
        (onset, difference),
        (onset, flow),
        (onset, divergence),
        (onset, np.maximum(-change, 0.0)),
        (onset, rising),
        (onset, np.maximum(flow_change, 0.0)),
        (energy, difference),
        (energy, flow),
    )
    local = [_best_blocks(correlations(a, v, steps, first=first)[:, 0]) for a, v in pairs]
    begins = canonical(onsets, _components(rising), steps, first=first)[:, 0]
    loud = canonical(energies, _components(difference), steps, first=first)
    return np.stack([*local, begins, np.sqrt((loud**2).sum(axis=1))])


def smoothed(values: FloatArray) -> FloatArray:
    """Return (n, d) smoothed (σ 30 ms) minus its own average (σ 0.5 s), at 50 steps a second."""
    from scipy.ndimage import gaussian_filter1d

    x = values.astype(np.float64)
    fine, slow = (gaussian_filter1d(x, s * RATE, axis=0, mode="nearest") for s in (0.03, 0.5))
    return np.asarray(fine - slow)


def agreed(found: FloatArray) -> FloatArray:
    """Return Σ exp((c − max c)/σ) over the curves: (witnesses, n) → (n,)."""
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


def _doubt(consensus: FloatArray, lags: FloatArray, best: float, agreement: int) -> str:
    """Say why the favoured offset is no answer; nothing where it is one."""
    if agreement < ENOUGH:
        return (
            f"Only {agreement} of {len(WITNESSES)} witnesses agree; it takes {ENOUGH}. The sound "
            "may be continuous, or its source not in the picture."
        )
    elsewhere = np.where(np.abs(lags - best) > APART, consensus, 0.0)
    if consensus.max() - elsewhere.max() < CLEAR * consensus.max():
        other = float(lags[elsewhere.argmax()])
        return f"{1000 * best:+.0f} ms and {1000 * other:+.0f} ms fit alike, as with a steady beat."
    return ""


def _best_blocks(r: FloatArray) -> FloatArray:
    """Return the mean of the highest 8 of 64 at each lag: (lags, 64) → (lags,)."""
    return np.asarray(np.partition(r, -BEST, axis=1)[:, -BEST:].mean(axis=1))


def _components(values: FloatArray) -> FloatArray:
    """Return the largest principal components of (n, d): (n, 6)."""
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, ::-1][:, :COMPONENTS])

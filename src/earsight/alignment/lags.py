"""How well two sequences fit at each shift of one against the other.

A lag ℓ pairs sound[t + ℓ] with sight[t]: above 0, what is heard comes later than what is seen.
Both are sampled alike; `first` is the sound's first step minus the sight's, in steps.
"""

from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Overlap:
    """Which steps meet at each lag.

    Attributes:
        lags: (n,) steps.
        start: (n,) first step of the sight that has a partner.
        stop: (n,) one past the last.
        shift: (n,) partner of sight step t is sound step t + shift.
    """

    lags: IntArray
    start: IntArray
    stop: IntArray
    shift: IntArray

    @classmethod
    def of(cls, n_sound: int, n_sight: int, reach: int, first: int = 0) -> "Overlap":
        """Return the overlaps of lags −reach … reach."""
        lags = np.arange(-reach, reach + 1)
        shift = lags - first
        start = np.clip(-shift, 0, n_sight)
        stop = np.clip(n_sound - shift, start, n_sight)
        return cls(lags, start, stop, shift)

    @property
    def count(self) -> IntArray:
        """(n,) pairs at each lag."""
        return self.stop - self.start

    def sums(self, sound: FloatArray, sight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what each side sums to over its steps that meet: (n, …) each."""
        return (
            _ranges(sound, self.start + self.shift, self.stop + self.shift),
            _ranges(sight, self.start, self.stop),
        )

    def products(self, sound: FloatArray, sight: FloatArray) -> FloatArray:
        """Return Σₜ sound[t + ℓ, i]·sight[t, j] at each lag, by FFT: (n, channels, channels)."""
        from scipy import fft

        size = fft.next_fast_len(len(sound) + len(sight), real=True)
        a = fft.rfft(sound, size, axis=0)  # (f, i)
        v = fft.rfft(sight, size, axis=0)  # (f, j)
        crossed = fft.irfft(a[:, :, None] * v[:, None, :].conj(), size, axis=0)
        return np.asarray(np.where(self.count[:, None, None] > 0, crossed[self.shift % size], 0.0))


def _ranges(values: FloatArray, start: IntArray, stop: IntArray) -> FloatArray:
    running = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    start, stop = (np.clip(bound, 0, len(values)) for bound in (start, stop))
    return np.asarray(running[stop] - running[start])


def correlations(sound: FloatArray, sight: FloatArray, reach: int, *, first: int = 0) -> FloatArray:
    """Return Pearson's correlation of every pair of channels at every lag, over what overlaps.

        r(ℓ) = Σₜ (aₜ₊ℓ − ā)(vₜ − v̄) / √(Σₜ (aₜ₊ℓ − ā)² Σₜ (vₜ − v̄)²) · √(overlap/largest overlap)

    with means over the overlap itself. The last factor keeps a short overlap, where any two
    things correlate, from winning. A side that does not vary has correlation 0.

    Args:
        sound: (n, i) steps.
        sight: (m, j) steps of the same rate.
        reach: The largest lag, in steps.
        first: The sound's first step minus the sight's.

    Returns:
        (2·reach + 1, i, j), lags −reach … reach.
    """
    sound = sound - sound.mean(axis=0)  # for the FFT's precision; correlation does not mind
    sight = sight - sight.mean(axis=0)
    met = Overlap.of(len(sound), len(sight), reach, first)
    n = np.maximum(met.count, 1)[:, None]
    (a, v), (aa, vv) = met.sums(sound, sight), met.sums(sound**2, sight**2)
    crossed = met.products(sound, sight) - a[:, :, None] * (v / n)[:, None, :]
    spread_a = np.maximum(aa - a * a / n, 0.0)
    spread_v = np.maximum(vv - v * v / n, 0.0)
    scale = np.sqrt(spread_a[:, :, None] * spread_v[:, None, :])
    tiny = 1e-9 * max(1e-300, float(np.sqrt(aa.max(initial=0) * vv.max(initial=0))))
    r = np.where(scale > tiny, crossed / np.maximum(scale, tiny), 0.0)
    return np.asarray(r * weight(met)[:, None, None])


def weight(met: Overlap) -> FloatArray:
    """Return √(overlap/largest overlap) at each lag."""
    return np.asarray(np.sqrt(met.count / max(1, met.count.max(initial=0))))


def canonical(
    sound: FloatArray, sight: FloatArray, reach: int, *, first: int = 0, shrinkage: float = 0.3
) -> FloatArray:
    """Return the canonical correlations at every lag, over what overlaps.

    Σ is shrunk: (1 − s)·Σ + s·tr(Σ)/p·I; then ρ are the singular values of Wₐᵀ Σₐᵥ Wᵥ, times
    √(overlap/largest overlap) as in `correlations`.

    Returns:
        (2·reach + 1, min(i, j)), descending.
    """
    sound = sound - sound.mean(axis=0)
    sight = sight - sight.mean(axis=0)
    met = Overlap.of(len(sound), len(sight), reach, first)
    n = np.maximum(met.count, 1)[:, None, None]
    a, v = met.sums(sound, sight)
    aa, vv = met.sums(sound[:, :, None] * sound[:, None, :], sight[:, :, None] * sight[:, None, :])
    crossed = (met.products(sound, sight) - a[:, :, None] * v[:, None, :] / n) / n
    whiten_a = _whiteners((aa - a[:, :, None] * a[:, None, :] / n) / n, shrinkage)
    whiten_v = _whiteners((vv - v[:, :, None] * v[:, None, :] / n) / n, shrinkage)
    rho = np.linalg.svd(whiten_a @ crossed @ whiten_v.transpose(0, 2, 1), compute_uv=False)
    return np.asarray(rho * weight(met)[:, None])


def _whiteners(covariances: FloatArray, shrinkage: float) -> FloatArray:
    """Return L⁻¹ of each shrunk covariance LLᵀ; zero where nothing varies."""
    p = covariances.shape[-1]
    scale = np.trace(covariances, axis1=1, axis2=2) / p
    alive = scale > 1e-9 * max(1e-300, float(scale.max(initial=0.0)))
    safe = np.where(alive, scale, 1.0)[:, None, None]
    shrunk = (1 - shrinkage) * covariances + shrinkage * safe * np.eye(p)
    shrunk[~alive] = np.eye(p)
    inverse = np.linalg.inv(np.linalg.cholesky(shrunk))
    return np.asarray(np.where(alive[:, None, None], inverse, 0.0))

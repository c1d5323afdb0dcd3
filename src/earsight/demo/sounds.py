"""The sounding: struck bodies, plucked strings, shaped noise, a room to hear them in."""

from collections.abc import Iterable

import numpy as np

from earsight.arrays import FloatArray

RATE = 44_100  # samples a second


def at_sample(t: float) -> float:
    """Return `t` moved to the nearest sample, so that an event's time is exact.

    >>> at_sample(0.5) == 0.5, round(at_sample(0.1234567) * RATE)
    (True, 5444)
    """
    return round(t * RATE) / RATE


def seconds(duration: float) -> FloatArray:
    """Return the times of the samples of `duration` seconds, (n,) in s."""
    return np.arange(round(duration * RATE)) / RATE


def place(track: FloatArray, t: float, sound: FloatArray, gain: float = 1.0) -> None:
    """Add `gain`·`sound` to `track` so that its first sample falls on `t` seconds.

    What would sound before the track begins or after it ends is not heard.
    """
    start = round(t * RATE)
    first, last = max(start, 0), min(start + len(sound), len(track))
    if first < last:
        track[first:last] += gain * sound[first - start : last - start]


def modes(
    frequencies: Iterable[float], decays: Iterable[float], gains: Iterable[float], duration: float
) -> FloatArray:
    """Sound a struck body: Σ gᵢ·sin(2π fᵢ t)·exp(−t/τᵢ), (n,) samples.

    Args:
        frequencies: Hz, one for each mode.
        decays: τ in seconds.
        gains: Amplitudes.
        duration: Seconds.
    """
    t = seconds(duration)
    sound = np.zeros_like(t)
    for frequency, decay, gain in zip(frequencies, decays, gains, strict=True):
        if frequency < RATE / 2.2:
            sound += gain * np.sin(2 * np.pi * frequency * t) * np.exp(-t / decay)
    return sound


def sweep(frequency: FloatArray) -> FloatArray:
    """Sound a sine whose frequency (n,) in Hz changes from sample to sample."""
    return np.sin(2 * np.pi * np.cumsum(frequency) / RATE)


def noise(
    rng: np.random.Generator, duration: float, low: float, high: float, *, tilt: float = 0.0
) -> FloatArray:
    """Return noise between `low` and `high` Hz with soft edges and a unit RMS.

    Args:
        rng: Where the randomness comes from.
        duration: Seconds.
        low: Hz, half power.
        high: Hz, half power.
        tilt: Power of the frequency by which the spectrum falls: 0 white, 0.5 pink.
    """
    n = round(duration * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 1.0)
    shape = f**-tilt / np.sqrt((1 + (low / f) ** 6) * (1 + (f / high) ** 6))
    sound = np.fft.irfft(spectrum * shape, n)
    return np.asarray(sound / np.sqrt(np.mean(sound**2)))


def burst(
    rng: np.random.Generator, duration: float, low: float, high: float, *, decay: float
) -> FloatArray:
    """Return noise between `low` and `high` Hz that starts at once and dies away, τ = `decay` s."""
    return np.asarray(noise(rng, duration, low, high) * np.exp(-seconds(duration) / decay))


def pluck(
    rng: np.random.Generator,
    frequency: float,
    duration: float,
    decay: float,
    *,
    bright: float = 0.5,
) -> FloatArray:
    """Pluck a string: y[n] = g·((1 − s)·y[n − N] + s·y[n − N − 1]), N = RATE/f.

    Args:
        rng: The shape of the pluck.
        frequency: Hz.
        duration: Seconds.
        decay: τ of the fundamental, seconds: g = exp(−N/(RATE·τ)).
        bright: 0 (a soft thumb, s = 0.5) to 1 (a hard pick, s = 0.1).

    Reference: Karplus & Strong, Digital Synthesis of Plucked-String and Drum Timbres, 1983.
    """
    period = round(RATE / frequency)
    stretch = 0.5 - 0.4 * bright
    gain = np.exp(-period / (RATE * decay))
    start = rng.uniform(-1, 1, period + 1)
    start -= start.mean()
    string = np.empty(round(duration * RATE) + period + 1)
    string[: period + 1] = start
    for first in range(period + 1, len(string), period):
        last = min(first + period, len(string))
        string[first:last] = gain * (
            (1 - stretch) * string[first - period : last - period]
            + stretch * string[first - period - 1 : last - period - 1]
        )
    return string[period + 1 :]


def in_room(rng: np.random.Generator, sound: FloatArray, decay: float, wet: float) -> FloatArray:
    """Add a room's echo after the direct sound, which stays where it is.

    Args:
        rng: The shape of the room.
        sound: (n,) samples.
        decay: Seconds until the echo has fallen by 60 dB.
        wet: RMS of the echo against that of the sound, when both are noise.
    """
    tail = noise(rng, 1.2 * decay, 100, 6000, tilt=0.3) * 10 ** (-3 * seconds(1.2 * decay) / decay)
    tail[: round(0.006 * RATE)] = 0.0
    tail *= wet / np.sqrt(np.sum(tail**2))
    n = len(sound) + len(tail) - 1
    size = 1 << (n - 1).bit_length()
    echo = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    return np.asarray(sound + echo[: len(sound)])


def master(sound: FloatArray, peak_db: float) -> FloatArray:
    """Fade the first and last 5 ms, and set the peak to `peak_db` dB below full scale (float32)."""
    ramp = round(0.005 * RATE)
    sound = sound - sound.mean()
    sound[:ramp] *= np.linspace(0, 1, ramp)
    sound[-ramp:] *= np.linspace(1, 0, ramp)
    return np.asarray(sound * (10 ** (peak_db / 20) / np.abs(sound).max()), dtype=np.float32)

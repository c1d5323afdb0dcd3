"""The log-mel front end of the AudioSet networks, streaming, in numpy.

16 kHz mono; frames of 25 ms every 10 ms, periodic Hann; magnitude of a 512-point FFT; 64 triangles
on the HTK mel scale from 125 to 7500 Hz; log(mel + offset), offset 0.001 for YAMNet, 0.01 for
VGGish.
Reference: https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
"""

from functools import cache

import numpy as np

from earsight.arrays import FloatArray

RATE = 16_000  # Hz
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
N_FFT = 512
N_MELS = 64
LOW, HIGH = 125.0, 7500.0  # Hz


def hz_to_mel(frequency: FloatArray | float) -> FloatArray:
    """Return the HTK mel scale, 1127 ln(1 + f/700).

    >>> float(hz_to_mel(700.0).round(1))
    781.2
    """
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency) / 700.0))


@cache
def mel_matrix() -> FloatArray:
    """Return the triangles as (257, 64) float32: straight lines in mel, height 1, none on DC."""
    bins = hz_to_mel(np.linspace(0.0, RATE / 2, N_FFT // 2 + 1))[:, None]  # (257, 1)
    edges = np.linspace(hz_to_mel(LOW), hz_to_mel(HIGH), N_MELS + 2)  # (66,)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    triangles[0] = 0.0
    return np.maximum(triangles, 0.0).astype(np.float32)


def log_mel(samples: FloatArray, offset: float = 0.001) -> FloatArray:
    """Return log(mel + offset) of every whole frame.

    Args:
        samples: (n,) float32 in [−1, 1] at 16 kHz, n ≥ 400.
        offset: What keeps the logarithm of silence finite.

    Returns:
        (1 + (n − 400) // 160, 64) float32.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]  # (frames, 400)
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(frames * hann, N_FFT))  # (frames, 257)
    return np.log(magnitude.astype(np.float32) @ mel_matrix() + np.float32(offset))


class LogMelStream:
    """Log-mel frames of a stream, in groups cut at global frame numbers.

    A group is always computed by one call of one shape, so its bits don't depend on how the
    samples were cut into blocks.

    Args:
        group: Frames in a group.
        every: Frames from the start of one group to the next; None: `group`, end to end.
        offset: What keeps the logarithm of silence finite.
    """

    def __init__(self, group: int, *, every: int | None = None, offset: float = 0.001) -> None:
        self._stride = (every or group) * HOP
        self._reach = (group - 1) * HOP + WINDOW
        self._offset = offset
        self._rest = np.zeros(0, dtype=np.float32)
        self.n_samples = 0

    def push(self, samples: FloatArray) -> list[FloatArray]:
        """Take the next samples; return the groups they complete, each (group, 64) float32."""
        self.n_samples += len(samples)
        rest = np.concatenate([self._rest, samples])
        n_groups = max(0, 1 + (len(rest) - self._reach) // self._stride)
        starts = range(0, n_groups * self._stride, self._stride)
        groups = [log_mel(rest[start : start + self._reach], self._offset) for start in starts]
        self._rest = rest[n_groups * self._stride :].copy()
        return groups

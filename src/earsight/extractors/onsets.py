"""When sounds begin: onset strength and energy in eight bands, fifty times a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing import time_steps
from earsight.extractors.preprocessing.log_mel import hz_to_mel
from earsight.features import FeatureSequence
from earsight.media import AudioBlock

RATE = 16_000  # Hz
WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 ms every 10 ms
N_MELS, LOW, HIGH = 64, 60.0, 7600.0
BANDS = 8
FLOOR = 1e-3  # of the clip's loudest mel band
BACK = 2  # frames between what is compared
TOGETHER = 100  # frames multiplied at once, always as many: no bit depends on how blocks were cut


@dataclass(kw_only=True)
class Onsets(FeatureExtractor):
    """Spectral flux and log energy of eight bands, 50 steps a second; no weights.

        L[t, m] = log(max(mel[t, m], 10⁻³ · loudest)),
        flux[t, m] = max(0, L[t, m] − max(L[t−2, m−1], L[t−2, m], L[t−2, m+1])).

    The neighbouring bands keep a gliding tone from looking like an onset. Flux is smoothed (σ 10
    ms) and its mean in a band stands as a square root. An attack counts in a logarithm as soon as
    it enters a window, so flux belongs to the window's end, energy to its middle. Values 0–7 are
    onset strengths from low to high, values 8–15 log energies. Step k belongs to second k/50
    exactly.

    Reference: Böck, Widmer, Maximum filter vibrato suppression for onset detection, DAFx 2013.
    """

    name: ClassVar[str] = "onsets"
    modality: ClassVar[str] = "audio"
    version: ClassVar[int] = 2
    dims: ClassVar[Mapping[str, int]] = {"embedding": 2 * BANDS}
    needs: ClassVar[int] = RATE
    hop: ClassVar[float] = 1 / time_steps.RATE  # seconds

    def _session(self) -> "_Session":
        return _Session()


class _Session:
    def __init__(self) -> None:
        self._start = 0.0
        self._n_samples = 0
        self._rest = np.zeros(0, dtype=np.float32)
        self._mels: list[FloatArray] = []

    def feed(self, block: AudioBlock) -> None:
        if self._n_samples == 0:
            self._start = block.start
        self._n_samples += len(block.samples)
        self._push(block.samples)

    def close(self) -> dict[str, FeatureSequence]:
        if self._n_samples == 0:
            return {}
        n = max(
            1, 1 + (self._n_samples - WINDOW) // HOP
        )  # shorter than a window: silence up to one
        left = n - len(self._mels) * TOGETHER
        if left > 0:
            silence = np.zeros(TOGETHER * HOP + WINDOW, dtype=np.float32)
            self._push(silence)
        mel = np.concatenate(self._mels)[:n]  # (frames, 64)
        centres = self._start + (np.arange(n) * HOP + WINDOW / 2) / RATE
        values = np.concatenate([_onsets(mel), _energies(mel)], axis=1)
        return {"embedding": time_steps.on_grid(values, centres)}

    def _push(self, samples: FloatArray) -> None:
        rest = np.concatenate([self._rest, samples])
        stride, reach = TOGETHER * HOP, (TOGETHER - 1) * HOP + WINDOW
        n = max(0, 1 + (len(rest) - reach) // stride)
        starts = range(0, n * stride, stride)
        self._mels += [_mel_frames(rest[start : start + reach]) for start in starts]
        self._rest = rest[n * stride :]


@cache
def _triangles() -> FloatArray:
    """Return 64 mel triangles from 60 to 7600 Hz as (257, 64) float32, straight lines in mel."""
    bins = hz_to_mel(np.linspace(0.0, RATE / 2, N_FFT // 2 + 1))[:, None]
    edges = np.linspace(hz_to_mel(LOW), hz_to_mel(HIGH), N_MELS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.maximum(triangles, 0.0).astype(np.float32)


def _mel_frames(samples: FloatArray) -> FloatArray:
    """Return the mel magnitudes of every whole window: (frames, 64) float32."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    return np.abs(np.fft.rfft(frames * hann, N_FFT)).astype(np.float32) @ _triangles()


def _log(mel: FloatArray) -> FloatArray:
    loudest = float(mel.max(initial=0.0))
    return np.log(np.maximum(mel, FLOOR * loudest if loudest > 0 else 1.0))


def _onsets(mel: FloatArray) -> FloatArray:
    """Return the square root of the mean flux of each band: (frames, 8)."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    level = _log(mel)
    before = maximum_filter1d(level, 3, axis=1, mode="nearest")
    flux = np.zeros_like(level)
    flux[BACK // 2 : -BACK // 2] = np.maximum(level[BACK:] - before[:-BACK], 0.0)
    flux = gaussian_filter1d(flux, 1.0, axis=0, mode="nearest")  # σ of one hop, 10 ms
    return _later(np.sqrt(_banded(flux)), WINDOW / 2 / HOP)


def _later(values: FloatArray, frames: float) -> FloatArray:
    """Return values of `frames` frames before, interpolated; zero before the first."""
    n = np.arange(len(values))
    columns = [np.interp(n - frames, n, column, left=0.0) for column in values.T]
    return np.stack(columns, axis=1)


def _energies(mel: FloatArray) -> FloatArray:
    return _banded(_log(mel))


def _banded(values: FloatArray) -> FloatArray:
    return np.asarray(values.reshape(len(values), BANDS, -1).mean(axis=2))

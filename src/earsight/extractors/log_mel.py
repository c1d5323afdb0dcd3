"""Log-mel statistics: sound without any pretrained weights, for tests and for the impatient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing import log_mel
from earsight.features import FeatureSequence
from earsight.media import AudioBlock

FRAMES = 96  # in a step
SPAN = FRAMES * log_mel.HOP / log_mel.RATE  # 0.96 s


@dataclass(kw_only=True)
class LogMel(FeatureExtractor):
    """The mean and the deviation over time of 64 log-mel bands, for each 0.96 s.

    The last step is as long as the clip allows. A clip shorter than one frame (25 ms) is padded
    with silence to one.
    """

    name: ClassVar[str] = "log_mel"
    modality: ClassVar[str] = "audio"
    dims: ClassVar[Mapping[str, int]] = {"embedding": 2 * log_mel.N_MELS}
    needs: ClassVar[int] = log_mel.RATE
    hop: ClassVar[float] = SPAN

    def _session(self) -> "_Session":
        return _Session()


class _Session:
    def __init__(self) -> None:
        self._start = 0.0
        self._stream = log_mel.LogMelStream(FRAMES)
        self._steps: list[FloatArray] = []

    def feed(self, block: AudioBlock) -> None:
        if self._stream.n_samples == 0:
            self._start = block.start
        self._steps += map(_statistics, self._stream.push(block.samples))

    def close(self) -> dict[str, FeatureSequence]:
        n = self._stream.n_samples
        if n == 0:
            return {}
        done = len(self._steps) * FRAMES
        left = max(1, 1 + (n - log_mel.WINDOW) // log_mel.HOP) - done
        if left > 0:
            silence = np.zeros(FRAMES * log_mel.HOP + log_mel.WINDOW, dtype=np.float32)
            self._steps.append(_statistics(self._stream.push(silence)[0][:left]))
        ends = np.minimum(SPAN * np.arange(1, len(self._steps) + 1), n / log_mel.RATE)
        times = self._start + (SPAN * np.arange(len(self._steps)) + ends) / 2
        return {"embedding": FeatureSequence(np.stack(self._steps), times, SPAN)}


def _statistics(frames: FloatArray) -> FloatArray:  # (n, 64) -> (128,)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0)])

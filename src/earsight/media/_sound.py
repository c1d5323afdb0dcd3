"""From decoded audio frames to mono blocks at every asked rate, on the clip's clock."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.media._source import check_rate
from earsight.media._types import AudioBlock

Samples = npt.NDArray[np.float32]

# Timestamps of real files jitter by a packet (20 ms) around the true count of samples, so sound is
# set right by them only beyond JITTER; but at once where a packet is known to be lost.
JITTER = 0.05
ROUNDING = 0.002  # of timestamps in milliseconds


def to_mono(frame: Any) -> Samples:
    """Return the mean of the channels of a decoded frame: (n,) float32, full scale ±1."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    mono = array.mean(axis=0, dtype=np.float64)
    if array.dtype.kind != "f":
        full_scale = 2.0 ** (8 * array.itemsize - 1)
        mono = (mono - full_scale * (array.dtype.kind == "u")) / full_scale
    return np.asarray(mono, dtype=np.float32)


class Sound:
    """One sound track. Memory: about a second for each rate.

    Missing stretches are filled with silence, so that the samples of one rate are consecutive
    from the first block to the last; overlapping ones are cut. Both are counted in `missing`.
    A jump longer than `max_gap` is not believed: time goes on, and an error is counted.
    """

    def __init__(self, rates: Sequence[int], max_gap: float) -> None:
        self._lanes = [_Lane(rate) for rate in dict.fromkeys(rates)]
        self._max_gap = max_gap
        self.first = 0.0  # time of the first sample
        self._rate = 0  # of the source
        self._start = 0.0  # time of the first sample at this source rate
        self._count = 0  # source samples since then
        self._shift = 0.0  # seconds added to timestamps after a jump that was not believed
        self.has_lost = False  # set from outside: a packet of this track could not be decoded
        self.seconds = 0.0
        self.missing = 0.0
        self.n_errors = 0

    @property
    def end(self) -> float:
        """Seconds at which the next sample is due."""
        return self._start + (self._count / self._rate if self._rate else 0.0)

    @property
    def is_read(self) -> bool:
        """Whether any of it could be read."""
        return self.seconds > 0

    def feed(self, frame: Any, time: float | None) -> Iterator[AudioBlock]:
        """Take the next decoded frame, whose first sample lies at `time` s (None: unknown).

        Raises:
            MediaError: Its sample rate is none that sound has.
        """
        check_rate(frame.sample_rate)
        mono = self._finite(to_mono(frame))
        if not self._rate:
            self.first = self._start = time or 0.0
        if frame.sample_rate != self._rate:
            yield from self._restart(frame.sample_rate)
        jump = 0.0 if time is None else self._believed(time + self._shift - self.end)
        self.has_lost = False
        if jump > 0:
            self.missing += jump
            yield from self._silence(round(jump * self._rate))
        mono = mono[round(max(-jump, 0.0) * self._rate) :]
        self.seconds += len(mono) / self._rate
        yield from self._push(mono)

    def close(self) -> Iterator[AudioBlock]:
        """Yield what is left."""
        for lane in self._lanes:
            yield from lane.close()

    def _believed(self, jump: float) -> float:
        """Return by how many seconds the next frame is to be moved from where it is due."""
        if abs(jump) > self._max_gap:
            self._shift -= jump
            self.n_errors += 1
            return 0.0
        return jump if abs(jump) > (ROUNDING if self.has_lost else JITTER) else 0.0

    def _finite(self, mono: Samples) -> Samples:
        bad = ~np.isfinite(mono)
        if bad.any():
            self.n_errors += 1
            mono[bad] = 0.0
        return mono

    def _restart(self, rate: int) -> Iterator[AudioBlock]:
        start = self.end
        for lane in self._lanes:
            yield from lane.close()
            lane.restart(rate, start)
        self._rate, self._start, self._count = rate, start, 0

    def _silence(self, n: int) -> Iterator[AudioBlock]:
        for begin in range(0, n, self._rate):
            yield from self._push(np.zeros(min(self._rate, n - begin), dtype=np.float32))

    def _push(self, mono: Samples) -> Iterator[AudioBlock]:
        if not len(mono):
            return
        self._count += len(mono)
        for lane in self._lanes:
            yield from lane.push(mono)


class _Lane:
    """One asked rate: a resampler, and the samples that do not fill a block yet."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._source_rate = rate
        self._start = 0.0
        self._done = 0  # samples delivered since the start
        self._parts: list[Samples] = []
        self._resampler: Any = None

    def restart(self, source_rate: int, start: float) -> None:
        from av import AudioResampler

        self._source_rate, self._start, self._done = source_rate, start, 0
        if source_rate != self.rate:
            self._resampler = AudioResampler(format="fltp", layout="mono", rate=self.rate)
        else:
            self._resampler = None

    def push(self, mono: Samples) -> Iterator[AudioBlock]:
        if self._resampler is None:
            self._parts.append(mono)
        else:
            from av import AudioFrame

            frame = AudioFrame.from_ndarray(mono[None], format="fltp", layout="mono")
            frame.sample_rate = self._source_rate
            self._take(self._resampler.resample(frame))
        while sum(map(len, self._parts)) >= self.rate:
            yield self._block(self.rate)

    def close(self) -> Iterator[AudioBlock]:
        if self._resampler is not None:
            self._take(self._resampler.resample(None))
            self._resampler = None
        while n := sum(map(len, self._parts)):
            yield self._block(min(n, self.rate))

    def _take(self, frames: list[Any]) -> None:
        self._parts += [frame.to_ndarray()[0] for frame in frames]

    def _block(self, n: int) -> AudioBlock:
        samples = np.concatenate(self._parts)
        self._parts = [samples[n:]] if len(samples) > n else []
        start = self._start + self._done / self.rate
        self._done += n
        # A lossy decoder or a resampler may overshoot full scale; players cut there as well.
        return AudioBlock(self.rate, start, np.clip(samples[:n], -1.0, 1.0))

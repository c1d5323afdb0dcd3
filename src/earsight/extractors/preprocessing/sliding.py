"""Networks that slide over a waveform: what each step hears, and how to stream them exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from earsight.arrays import FloatArray


@dataclass(frozen=True)
class Layer:
    """A convolution or a pool along time; it keeps the steps that lie in its input as a whole."""

    kernel: int  # at least `stride`: nothing between two steps goes unheard
    stride: int
    before: int = 0  # zeros before its input
    after: int = 0  # and behind it


@dataclass(frozen=True)
class Stack:
    """Layers, one on top of another.

    >>> stack = Stack((Layer(64, 2, 32, 32), Layer(8, 8)))
    >>> stack.stride, stack.sees, stack.shortest, stack.n_steps(22_050)
    (16, (-32, 46), 14, 1378)
    """

    layers: tuple[Layer, ...]

    @cached_property
    def stride(self) -> int:
        """Samples from one step to the next."""
        return int(np.prod([layer.stride for layer in self.layers]))

    @cached_property
    def sees(self) -> tuple[int, int]:
        """The samples [first, end) on which step 0 depends; the first ones may lie before 0."""
        first, end = 0, 1
        for layer in reversed(self.layers):
            first = first * layer.stride - layer.before
            end = (end - 1) * layer.stride - layer.before + layer.kernel
        return first, end

    @cached_property
    def shortest(self) -> int:
        """Samples that are needed for one step."""
        n = 1
        for layer in reversed(self.layers):
            n = max(1, (n - 1) * layer.stride + layer.kernel - layer.before - layer.after)
        return n

    def n_steps(self, n_samples: int) -> int:
        """Return how many steps that many samples give."""
        n = n_samples
        for layer in self.layers:
            if n < 1:
                return 0  # a layer does not run over its zeros alone
            n = (n + layer.before + layer.after - layer.kernel) // layer.stride + 1
        return max(0, n)

    def middles(self, n_samples: int) -> FloatArray:
        """Return where each step lies, in samples: (n_steps,) float64, rising, inside the sound.

        A step stands for one stride around the middle of what it hears; the ends of the sound cut
        the strides of the outer steps. A sound too short for one step is one, in its middle.
        """
        if n_samples < self.shortest:
            return np.array([n_samples / 2])
        centres = sum(self.sees) / 2 + self.stride * np.arange(self.n_steps(n_samples))
        begins = np.maximum(centres - self.stride / 2, 0)
        ends = np.minimum(centres + self.stride / 2, n_samples)
        return np.asarray((begins + ends) / 2)


class ChunkStream:
    """Runs a stack over a stream in overlapping chunks, with the numbers of one run over all of it.

    Chunks start at multiples of the stride, so early that the steps kept see nothing of the zeros
    that the layers put before a chunk, and end so late that they see none behind it. They are cut
    at global steps, so what comes out does not depend on how the samples came.

    Args:
        stack: The layers.
        network: Runs them over samples (n,): returns (n_steps, dim) float32.
        n_kept: Steps kept of a chunk. Memory: a chunk, and the results.
    """

    def __init__(
        self, stack: Stack, network: Callable[[FloatArray], FloatArray], n_kept: int
    ) -> None:
        first, self._end = stack.sees
        self._stack = stack
        self._network = network
        self._n_kept = n_kept
        self._lead = -(first // stack.stride)  # steps before the first one that sees no zeros
        self._begin = 0  # the step at which the waiting samples begin
        self._waiting: list[FloatArray] = []
        self._n_waiting = 0
        self._done: list[FloatArray] = []
        self._n_done = 0  # steps
        self.n_samples = 0

    def push(self, samples: FloatArray) -> None:
        """Take the next samples; the network runs whenever a chunk is complete."""
        self.n_samples += len(samples)
        self._n_waiting += len(samples)
        self._waiting.append(samples)
        while self._n_waiting >= self._n_needed():
            self._run(self._n_needed())

    def close(self) -> FloatArray:
        """Return all steps, (n_steps, dim). There must have been a sample.

        A sound too short for one step is repeated until it is long enough.
        """
        if self.n_samples < self._stack.shortest:
            return self._network(np.resize(self._joined(), self._stack.shortest))
        if self._stack.n_steps(self.n_samples) > self._n_done:
            self._run(None)
        return np.concatenate(self._done)

    def _n_needed(self) -> int:
        """Return how many samples the next chunk has."""
        last = self._n_done + self._n_kept - 1 - self._begin
        return last * self._stack.stride + self._end

    def _joined(self) -> FloatArray:
        self._waiting = [np.concatenate(self._waiting)]
        return self._waiting[0]

    def _run(self, n_samples: int | None) -> None:
        """Run over the waiting samples: so many of them, or to the end of the sound."""
        samples = self._joined()
        skipped = self._n_done - self._begin
        kept = slice(skipped, None if n_samples is None else skipped + self._n_kept)
        self._done.append(self._network(samples[:n_samples])[kept])
        self._n_done += len(self._done[-1])
        begin = max(0, self._n_done - self._lead)
        left = samples[(begin - self._begin) * self._stack.stride :].copy()
        self._begin, self._waiting, self._n_waiting = begin, [left], len(left)

"""Converted networks in ONNX Runtime: loaded at their first run, once a process, fed in batches."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import WeightsError
from earsight.extractors.runtime.threads import n_threads

Array = npt.NDArray[Any]
Heads = dict[str, FloatArray]


@cache
def load(path: Path) -> Any:
    """Return the ONNX Runtime session of one file.

    Raises:
        WeightsError: The file is not a network that ONNX Runtime can run.
    """
    try:
        return session(path)
    except Exception as error:  # ONNX Runtime's exceptions share no narrower public base
        raise WeightsError(
            f"{path} cannot be run by ONNX Runtime: {error}. "
            f"Remove the folder {path.parent}; it is made anew from the original weights."
        ) from error


def session(model: Path | bytes) -> Any:
    """Return a new session of ONNX Runtime, which raises exceptions of its own."""
    # Nothing leaves the machine: ONNX Runtime's telemetry is on unless told before its import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads()
    options.inter_op_num_threads = 1
    # An arena would keep the largest batch's memory for as long as the process lives.
    options.enable_cpu_mem_arena = False
    # Between batches the decoder needs the cores; threads that wait by spinning take them from it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(path: Path, **inputs: Array) -> Heads:
    """Run one file's network on a batch: named arrays in, named arrays out."""
    session = load(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


class Batches:
    """Runs a network over a stream of items, in batches cut at global item numbers.

    So what comes out doesn't depend on the blocks in which the items came.

    Args:
        network: Maps a batch (n, …) to one array (n, dim) for each head.
        size: Items in a batch; the last may be smaller.

    >>> batches = Batches(lambda items: {"sum": items.sum(axis=1, keepdims=True)}, size=2)
    >>> for item in np.eye(3):
    ...     batches.add(item)
    >>> batches.close()["sum"].shape
    (3, 1)
    """

    def __init__(self, network: Callable[[Array], Heads], size: int) -> None:
        self._network = network
        self._size = size
        self._waiting: list[Array] = []
        self._done: list[Heads] = []

    def add(self, item: Array) -> None:
        """Take one item; the network runs whenever a batch is full."""
        self._waiting.append(item)
        if len(self._waiting) == self._size:
            self._run()

    def close(self) -> Heads:
        """Run what is left and return all results in order; empty if there was no item."""
        if self._waiting:
            self._run()
        if not self._done:
            return {}
        return {head: np.concatenate([d[head] for d in self._done]) for head in self._done[0]}

    def _run(self) -> None:
        self._done.append(self._network(np.stack(self._waiting)))
        self._waiting.clear()

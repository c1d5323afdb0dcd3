"""What moves, where, and what begins, stops or turns: in 8 × 8 blocks, fifty times a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.optical_flow import optical_flow
from earsight.extractors.preprocessing.time_steps import RATE, on_grid
from earsight.features import FeatureSequence
from earsight.media import FrameBlock, FrameRequest

WIDTH, HEIGHT = 160, 128  # pixels that are compared
TOGETHER = 16  # pairs of frames that are measured at once
GRID = 8  # blocks in each direction
BLOCKS = GRID * GRID
KINDS = ("difference", "flow", "divergence", "jolt", "rising difference", "rising flow")
MEASURED = 5  # of each pair of frames: difference, flow, divergence, flow across, flow down
SMALL = np.array([0.5, 0.05, 0.005, 0.05])  # grey levels, pixels, 1, pixels: noise of the codec
SAME = 0.02  # grey levels: less change than this is a frame shown twice
STILL = 0.15  # seconds: the same picture for longer is not a frame shown twice, it is stillness
CUT_SHARE, CUT_TIMES = 0.7, 4.0  # of the blocks, times their median: everything changes at once

Pictures = npt.NDArray[np.uint8]


@dataclass(kw_only=True)
class Motion(FeatureExtractor):
    """What moves in each of 8 × 8 blocks, 50 steps a second; no weights.

    Frames, grey, 160 × 128, each against the one before: x is the mean absolute difference, the
    mean length of the optical flow, or the mean absolute divergence of the flow, and stands as
    log(x + small). A step belongs to the middle of its two frames. Besides, for step k,

        jolt: log(|v[k+1] − v[k−1]| + small), v the mean flow; what starts, stops or turns,
        rising: max(0, log(x[k] + small) − log(x[k−1] + small)) of difference and flow,

    so that what happens between the two frames of step k is told by step k. Frames that a recorder
    doubled are left out, cuts are bridged from their neighbours. Values 64·i … 64·i + 63 are the
    blocks of kind i of `KINDS`, row by row. Step k belongs to second k/50 exactly; values between
    frames are interpolated.

    Reference: Kroeger et al., Fast optical flow using dense inverse search, ECCV 2016.
    """

    name: ClassVar[str] = "motion"
    modality: ClassVar[str] = "visual"
    version: ClassVar[int] = 3
    dims: ClassVar[Mapping[str, int]] = {"embedding": len(KINDS) * BLOCKS}
    needs: ClassVar[FrameRequest] = FrameRequest(fps=None, short_side=HEIGHT)
    hop: ClassVar[float] = 1 / RATE  # seconds

    def _session(self) -> "_Session":
        return _Session()


class _Session:
    def __init__(self) -> None:
        self._last: tuple[float, Pictures] | None = None
        self._shown = 0.0  # when the last picture was last on screen
        self._times: list[float] = []
        self._steps: list[FloatArray] = []
        self._pairs: list[tuple[int, Pictures, Pictures]] = []  # a step, and its two pictures

    def feed(self, block: FrameBlock) -> None:
        for time, grey in zip(block.times, small_grey(block.frames), strict=True):
            self._see(float(time), grey)
        for start in range(0, len(self._pairs), TOGETHER):
            steps, before, after = zip(*self._pairs[start : start + TOGETHER], strict=True)
            for step, moved in zip(steps, _moved(np.stack(before), np.stack(after)), strict=True):
                self._steps[step] = moved
        self._pairs.clear()

    def close(self) -> dict[str, FeatureSequence]:
        if self._last is None:
            return {}
        if not self._steps:  # a single picture: nothing moved
            self._add(self._last[0])
        moved = _bridged(np.stack(self._steps))
        return {"embedding": on_grid(_kinds(moved), np.array(self._times))}

    def _see(self, time: float, grey: Pictures) -> None:
        if self._last is None:
            self._last, self._shown = (time, grey), time
            return
        began, before = self._last
        if np.abs(grey.astype(np.int16) - before).mean() < SAME:
            if time - began > STILL:
                self._add((self._shown + time) / 2)
            self._shown = time
            return
        since = began if time - began <= STILL else self._shown
        if self._add((since + time) / 2):
            self._pairs.append((len(self._steps) - 1, before, grey))
        self._last, self._shown = (time, grey), time

    def _add(self, time: float) -> bool:
        """Add a step in which nothing moved, if it is later than the last one."""
        if self._times and time <= self._times[-1]:
            return False
        self._times.append(time)
        self._steps.append(np.zeros(MEASURED * BLOCKS, dtype=np.float32))
        return True


def small_grey(frames: npt.NDArray[np.uint8]) -> Pictures:
    """Return the grey of frames, scaled by the mean of the area: (n, h, w, 3) → (n, 128, 160)."""
    grey = frames @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # (n, h, w)
    height, width = grey.shape[1:]
    scaled = _areas(height, HEIGHT) @ grey @ _areas(width, WIDTH).T
    return np.rint(scaled).astype(np.uint8)


@cache
def _areas(size: int, wanted: int) -> FloatArray:
    """Return which share of each old pixel is in each new one: (wanted, size), rows sum to 1."""
    edges = np.arange(wanted + 1)[:, None] * (size / wanted)
    covered = np.clip(edges - np.arange(size), 0, 1)  # of each old pixel, up to each edge
    return np.asarray(np.diff(covered, axis=0) * (wanted / size), dtype=np.float32)


def _moved(before: Pictures, after: Pictures) -> FloatArray:
    """Return what is measured of each pair: (pairs, 128, 160) twice → (pairs, 5·64)."""
    change = np.abs(after.astype(np.int16) - before)
    flow = optical_flow(before, after)  # (pairs, 2, 32, 40), a place for each 4 × 4 pixels
    across, down = flow[:, 0], flow[:, 1]
    divergence = np.gradient(across, 4, axis=2) + np.gradient(down, 4, axis=1)
    measured = (change, np.hypot(across, down), np.abs(divergence), across, down)
    return np.concatenate([_blocks(one) for one in measured], axis=1)


def _blocks(values: npt.NDArray[Any]) -> FloatArray:
    """Return the mean of each block: (n, height, width) → (n, 64)."""
    n, height, width = values.shape
    cut = values.reshape(n, GRID, height // GRID, GRID, width // GRID)
    return np.asarray(cut.mean(axis=(2, 4), dtype=np.float64).reshape(n, BLOCKS), dtype=np.float32)


def _kinds(moved: FloatArray) -> FloatArray:
    """Return the six kinds from the five things measured: (pairs, 5·64) → (pairs, 6·64)."""
    velocity = moved[:, 3 * BLOCKS :]
    before, after = (
        np.vstack([velocity[:1], velocity[:-1]]),
        np.vstack([velocity[1:], velocity[-1:]]),
    )
    across, down = np.split(after - before, 2, axis=1)
    shown = np.concatenate([moved[:, : 3 * BLOCKS], np.hypot(across, down)], axis=1)
    told = np.log(shown + np.repeat(SMALL, BLOCKS))
    amount = told[:, : 2 * BLOCKS]
    rising = np.maximum(np.diff(amount, axis=0, prepend=amount[:1]), 0.0)
    return np.concatenate([told, rising], axis=1)


def _bridged(moved: FloatArray) -> FloatArray:
    """Return the steps with cuts replaced by the mean of the steps around them."""
    difference = moved[:, :BLOCKS]
    usual = np.maximum(np.median(difference, axis=0), SMALL[0])
    spikes = (difference > CUT_TIMES * usual).mean(axis=1) > CUT_SHARE
    # A cut is one step that stands out: what goes on for longer is motion.
    alone = spikes & ~np.roll(spikes, 1) & ~np.roll(spikes, -1)
    cuts = np.flatnonzero(alone[1:-1]) + 1
    bridged = moved.copy()
    bridged[cuts] = (moved[cuts - 1] + moved[cuts + 1]) / 2
    return bridged

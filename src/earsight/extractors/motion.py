"""What moves, where, and what begins, stops or turns: in 8 × 8 blocks, fifty times a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.time_steps import RATE as STEPS
from earsight.extractors.preprocessing.time_steps import on_grid
from earsight.features import FeatureSequence
from earsight.media import FrameBlock, FrameRequest

WIDTH, HEIGHT = 160, 128  # pixels that are compared
GRID = 8  # blocks in each direction
BLOCKS = GRID * GRID
KINDS = ("difference", "flow", "divergence", "jolt", "rising difference", "rising flow")
MEASURED = 5  # of each pair of frames: difference, flow, divergence, flow across, flow down
SMALL = np.array([0.5, 0.05, 0.005, 0.05])  # grey levels, pixels, 1, pixels: noise of the codec
SAME = 0.02  # grey levels: less change than this is a frame shown twice
STILL = 0.15  # seconds: the same picture for longer is not a frame shown twice, it is stillness
CUT_SHARE, CUT_TIMES = 0.7, 4.0  # of the blocks, times their median: everything changes at once


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
    version: ClassVar[int] = 2
    dims: ClassVar[Mapping[str, int]] = {"embedding": len(KINDS) * BLOCKS}
    needs: ClassVar[FrameRequest] = FrameRequest(fps=None, short_side=HEIGHT)
    hop: ClassVar[float] = 1 / STEPS  # seconds

    def _session(self) -> "_Session":
        return _Session()


class _Session:
    def __init__(self) -> None:
        import cv2

        create: Any = cv2.DISOpticalFlow.create
        self._flow = create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._last: tuple[float, npt.NDArray[np.uint8]] | None = None
        self._shown = 0.0  # when the last picture was last on screen
        self._times: list[float] = []
        self._steps: list[FloatArray] = []

    def feed(self, block: FrameBlock) -> None:
        import cv2

        for time, frame in zip(block.times, block.frames, strict=True):
            small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            self._see(float(time), cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))

    def close(self) -> dict[str, FeatureSequence]:
        if self._last is None:
            return {}
        if not self._steps:  # a single picture: nothing moved
            self._add(self._last[0], np.zeros(MEASURED * BLOCKS))
        moved = _bridged(np.stack(self._steps))
        return {"embedding": on_grid(_kinds(moved), np.array(self._times))}

    def _see(self, time: float, grey: npt.NDArray[np.uint8]) -> None:
        if self._last is None:
            self._last, self._shown = (time, grey), time
            return
        began, before = self._last
        change = np.abs(grey.astype(np.int16) - before)
        if change.mean() < SAME:
            if time - began > STILL:
                self._add((self._shown + time) / 2, np.zeros(MEASURED * BLOCKS))
            self._shown = time
            return
        since = began if time - began <= STILL else self._shown
        self._add((since + time) / 2, self._moved(change, before, grey))
        self._last, self._shown = (time, grey), time

    def _moved(
        self,
        change: npt.NDArray[np.int16],
        before: npt.NDArray[np.uint8],
        grey: npt.NDArray[np.uint8],
    ) -> FloatArray:
        flow: Any = self._flow.calc(before, grey, None)  # (height, width, 2) pixels
        across, down = flow[..., 0], flow[..., 1]
        divergence = np.gradient(across, axis=1) + np.gradient(down, axis=0)
        measured = (change, np.hypot(across, down), np.abs(divergence), across, down)
        return np.concatenate([_blocks(one) for one in measured])

    def _add(self, time: float, moved: FloatArray) -> None:
        if not self._times or time > self._times[-1]:
            self._times.append(time)
            self._steps.append(moved.astype(np.float32))


def _blocks(values: npt.NDArray[Any]) -> FloatArray:
    """Return the mean of each block: (height, width) → (64,)."""
    cut = values.reshape(GRID, HEIGHT // GRID, GRID, WIDTH // GRID)
    return np.asarray(cut.mean(axis=(1, 3), dtype=np.float64).ravel())


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

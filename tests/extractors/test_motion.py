"""Motion: its scaling, its optical flow against known shifts and OpenCV's, its independence."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from _real_clips import CLIPS, clips_needed
from earsight.extractors.motion import Motion, small_grey
from earsight.extractors.preprocessing.optical_flow import optical_flow
from earsight.media import Decoder, FrameBlock

Y, X = np.mgrid[0:128, 0:160].astype(float)


def texture(seed: int = 0) -> np.ndarray:
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=(128, 160)), 3, mode="wrap")
    return 128 + 40 * rough / rough.std()


def warped(picture: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    moved = map_coordinates(picture, (Y - down, X - across), order=3, mode="wrap")
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("across", "down"), [(0.0, 0.0), (0.4, -0.2), (3.0, 1.5), (-9.0, 6.0)])
def test_a_shift_is_found(across: float, down: float) -> None:
    before = warped(texture(), 0 * X, 0 * Y)
    after = warped(texture(), across + 0 * X, down + 0 * Y)
    flow = optical_flow(before[None], after[None])
    assert flow.shape == (1, 2, 32, 40) and flow.dtype == np.float32
    inner = flow[0, :, 4:-4, 4:-4]
    error = np.hypot(inner[0] - across, inner[1] - down)
    assert np.median(error) < 0.1 + 0.03 * np.hypot(across, down)


def test_what_swells_diverges() -> None:
    grow = 0.04  # of its distance from the middle
    before = warped(texture(), 0 * X, 0 * Y)
    after = warped(texture(), grow * (X - 80), grow * (Y - 64))
    across, down = optical_flow(before[None], after[None])[0]
    divergence = np.gradient(across, 4, axis=1) + np.gradient(down, 4, axis=0)
    assert np.median(divergence[6:-6, 6:-6]) == pytest.approx(2 * grow, rel=0.3)


def test_pairs_do_not_know_each_other() -> None:
    rng = np.random.default_rng(1)
    frames = np.stack([warped(texture(), *rng.normal(0, 3, (2, 1, 1)) + 0 * X) for _ in range(8)])
    together = optical_flow(frames[:-1], frames[1:])
    alone = [optical_flow(a[None], b[None])[0] for a, b in pairwise(frames)]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("size", [(128, 228), (228, 128), (128, 160), (90, 60), (1, 1)])
def test_scaling_takes_the_mean_of_an_area(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = frame @ np.array([0.299, 0.587, 0.114])
    for n, wanted in zip(size, (128, 160), strict=True):  # each pixel as so many finer ones
        fine = expected.T.repeat(wanted, axis=1)  # (other, n · wanted)
        expected = fine.reshape(len(fine), wanted, n).mean(axis=2)
    np.testing.assert_allclose(small_grey(frame[None])[0], expected, atol=0.51)


def test_values_do_not_depend_on_how_frames_come() -> None:
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (40, 128, 200, 3), dtype=np.uint8)
    frames[7] = frames[6]
    found = []
    for size in (40, 16, 7, 1):
        session = Motion()._session()
        for at in range(0, 40, size):
            part = frames[at : at + size]
            session.feed(FrameBlock(Motion.needs, (at + np.arange(len(part))) / 25, part))
        found.append(session.close()["embedding"].values)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-5)


@clips_needed
def test_motion_is_like_opencv_s_on_real_clips() -> None:
    """Where and when it moves: OpenCV's implementation of the same article, block by block."""
    cv2 = pytest.importorskip("cv2")
    reference = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    alike = []
    for clip in CLIPS:
        blocks = Decoder(clip, frames=[Motion.needs])
        frames = np.concatenate([block.frames for block in blocks])[:60]
        grey = small_grey(frames)
        theirs = np.stack([reference.calc(a, b, None) for a, b in pairwise(grey)])
        amount = [np.hypot(*np.moveaxis(theirs, -1, 0)).reshape(-1, 8, 16, 8, 20)]
        flow = optical_flow(grey[:-1], grey[1:])
        amount.append(np.hypot(flow[:, 0], flow[:, 1]).reshape(-1, 8, 4, 8, 5))
        logs = [np.log(a.mean(axis=(2, 4)).ravel() + 0.05) for a in amount]
        alike.append(np.corrcoef(logs)[0, 1])
        scaled = np.stack(
            [
                cv2.cvtColor(
                    cv2.resize(frame, (160, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
                )
                for frame in frames
            ]
        )
        assert np.abs(grey.astype(int) - scaled).max() <= 2
    assert np.mean(alike) > 0.88 and min(alike) > 0.7

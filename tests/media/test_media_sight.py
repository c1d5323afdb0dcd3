"""Sight: grids of times, colours, shapes, orientation."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from _clips import make_clip, plain
from _reading import CORNERS, read
from earsight.media import (
    FrameRequest,
    Status,
)
from earsight.media._sight import Sight


def numbered(t: float) -> np.ndarray:
    """A picture whose grey tells its time: 40 greys a second."""
    return np.full((48, 64, 3), min(20 + round(t * 40), 250), dtype=np.uint8)


def on_screen(times: list[float], end: float, fps: float) -> list[float]:
    """Slow and obvious: for each grid time the last frame that has appeared."""
    shown = []
    k = int(np.floor((times[0] + 1e-3) * fps))
    while k / fps < end - 1e-3:
        past = [t for t in times if t <= k / fps + 1e-3]
        shown.append(past[-1] if past else times[0])
        k += 1
    return shown


VARIABLE = [0.0, 0.04, 0.5, 0.52, 0.6, 1.3, 1.32, 1.5, 2.9, 2.94]


@pytest.mark.parametrize("fps", [0.5, 1.0, 3.0, 10.0, 29.97])
def test_variable_frame_rate_gives_the_frame_on_screen(tmp_path: Path, fps: float) -> None:
    clip = make_clip(
        tmp_path / "a.mkv", audio=False, draw=numbered, frame_times=VARIABLE, size=(64, 48)
    )
    request = FrameRequest(fps, None)
    _, sights, report = read(clip, frames=(request,))
    times, frames = sights[request]
    expected = on_screen(VARIABLE, report.duration, fps)
    np.testing.assert_allclose(times, expected, atol=1e-3)
    greys = frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(greys, [numbered(t).mean() for t in times], atol=2.0)


@pytest.mark.parametrize("fps", [1.0, 7.0, 25.0, 60.0])
def test_constant_frame_rate_gives_seconds_times_fps(tmp_path: Path, fps: float) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2.0, draw=numbered, size=(64, 48))
    request = FrameRequest(fps, None)
    _, sights, _ = read(clip, frames=(request,))
    assert len(sights[request][0]) == round(2.0 * fps)


def test_every_frame_and_several_requests_come_from_one_pass(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2.0, size=(160, 120))
    requests = (FrameRequest(None, 60), FrameRequest(2.0, 60), FrameRequest(5.0, 240))
    _, sights, report = read(clip, frames=requests)
    assert report.n_frames == 50
    assert [sights[r][1].shape for r in requests] == [
        (50, 60, 80, 3),
        (4, 60, 80, 3),
        (10, 240, 320, 3),
    ]
    np.testing.assert_allclose(sights[requests[0]][0], np.arange(50) / 25, atol=1e-6)


def test_clip_shorter_than_a_step_gives_its_first_frame(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 0.2)
    request = FrameRequest(1.0, 32)
    sounds, sights, report = read(clip, frames=(request,))
    assert sights[request][0].tolist() == [0.0]
    assert report.status is Status.OK and len(sounds[16000]) >= 3200


def sight_of(frames: list[float | None], fps: float | None) -> list[float]:
    """Feed frames with these times, a tenth of a second long, and return the times delivered."""
    sight = Sight([FrameRequest(fps, None)], None, 0.1, 100.0)
    blocks = []
    for time in frames:
        frame = av.VideoFrame.from_ndarray(np.zeros((4, 4, 3), np.uint8), format="rgb24")
        frame.time_base = Fraction(1, 1000)
        blocks += list(sight.feed(frame, time))
    blocks += list(sight.close())
    return [round(float(t), 3) for block in blocks for t in block.times]


def test_missing_repeated_and_backward_timestamps() -> None:
    assert sight_of([0.0, None, None], None) == [0.0, 0.1, 0.2]
    assert sight_of([0.0, 0.0, 0.1], None) == [0.0, 0.0, 0.1]
    assert sight_of([0.0, 0.2, 0.1, 0.3], None) == [0.0, 0.2, 0.2, 0.3]
    assert sight_of([0.0, 1000.0, 1000.1], None) == [0.0, 0.1, 0.2]
    assert sight_of([0.03, 0.13], 1.0) == [0.03]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "gray", "bgr0"])
def test_colour_survives_every_pixel_format(tmp_path: Path, pix_fmt: str) -> None:
    colour = (90, 90, 90) if pix_fmt == "gray" else (200, 60, 30)
    clip = tmp_path / "a.mkv"
    write_lossless(clip, plain(colour, (64, 48))(0.0), pix_fmt)
    request = FrameRequest(None, None)
    _, sights, _ = read(clip, frames=(request,))
    assert np.abs(sights[request][1][0].astype(int) - colour).max() <= 3


@pytest.mark.parametrize(("full", "values"), [(False, (16, 126, 235)), (True, (0, 128, 255))])
def test_limited_and_full_range_reach_black_and_white(
    tmp_path: Path, full: bool, values: tuple[int, int, int]
) -> None:
    luma = np.repeat(np.array(values, np.uint8), 32)[None].repeat(64, axis=0)
    planes = np.concatenate([luma.ravel(), np.full(luma.size // 2, 128, np.uint8)])
    frame = av.VideoFrame.from_ndarray(planes.reshape(96, 96), format="yuv420p")
    write_lossless(tmp_path / "a.mkv", frame, "yuv420p", color_range=2 if full else 1)
    request = FrameRequest(None, None)
    _, sights, _ = read(tmp_path / "a.mkv", frames=(request,))
    row = sights[request][1][0][32].mean(axis=1)
    np.testing.assert_allclose(row[[8, 48, 88]], [0, 128, 255], atol=2)


@pytest.mark.parametrize(("height", "matrix"), [(480, "ITU601"), (720, "ITU709")])
def test_unnamed_colour_matrix_follows_the_height(tmp_path: Path, height: int, matrix: str) -> None:
    picture = plain((30, 200, 60), (64, height))(0.0)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv444p", dst_colorspace=matrix, dst_color_range="MPEG"
    )
    frame.colorspace = 2  # unspecified
    write_lossless(tmp_path / "a.mkv", frame, "yuv444p", color_range=1)
    request = FrameRequest(None, None)
    _, sights, _ = read(tmp_path / "a.mkv", frames=(request,))
    assert np.abs(sights[request][1][0].astype(int) - (30, 200, 60)).max() <= 3


def write_lossless(path: Path, picture: Any, pix_fmt: str, color_range: int = 0) -> None:
    """Write one frame with FFV1, which keeps every value."""
    if isinstance(picture, np.ndarray):
        picture = av.VideoFrame.from_ndarray(picture, format="rgb24")
        picture = picture.reformat(format=pix_fmt, dst_colorspace="ITU601", dst_color_range="MPEG")
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, pix_fmt
        stream.codec_context.color_range = color_range
        picture.pts = 0
        out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def test_odd_sizes_and_oblong_pixels(tmp_path: Path) -> None:
    write_lossless(tmp_path / "odd.mkv", plain((9, 99, 199), (61, 47))(0.0), "yuv444p")
    make_clip(tmp_path / "oblong.mp4", 0.2, size=(60, 48), pixel_aspect=Fraction(2))
    request = FrameRequest(1.0, 24)
    shapes = []
    for name in ("odd.mkv", "oblong.mp4"):
        _, sights, report = read(tmp_path / name, frames=(request,))
        shapes.append((*sights[request][1].shape[1:3], report.width, report.height))
    assert shapes == [(24, 31, 61, 47), (24, 60, 120, 48)]


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((1, 0, 0, 1), CORNERS),
        ((0, 1, -1, 0), np.rot90(CORNERS, -1)),  # a telephone held upright: a turn clockwise
        ((0, -1, 1, 0), np.rot90(CORNERS)),
        ((-1, 0, 0, -1), np.rot90(CORNERS, 2)),
        ((-1, 0, 0, 1), CORNERS[:, ::-1]),
    ],
)
def test_display_matrix_turns_the_picture_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], upright: np.ndarray
) -> None:
    clip = make_clip(tmp_path / "a.mp4", 0.2, audio=False, size=(64, 48), draw=lambda _t: CORNERS)
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 44
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[at + place : at + place + 4] = (value << 16).to_bytes(4, signed=True)
    clip.write_bytes(data)
    request = FrameRequest(1.0, None)
    _, sights, report = read(clip, frames=(request,))
    got = sights[request][1][0]
    assert (report.height, report.width) == got.shape[:2] == upright.shape[:2]
    inner = np.s_[4:-4:8, 4:-4:8]
    assert np.abs(got[inner].astype(int) - upright[inner]).max() <= 40


def test_size_change_starts_a_new_block() -> None:
    sight = Sight([FrameRequest(None, None)], None, 0.1, 100.0)
    blocks = []
    for k, side in enumerate([4, 4, 8]):
        frame = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), format="rgb24")
        frame.time_base = Fraction(1, 1000)
        blocks += list(sight.feed(frame, 0.1 * k))
    blocks += list(sight.close())
    assert [b.frames.shape for b in blocks] == [(2, 4, 4, 3), (1, 8, 8, 3)]

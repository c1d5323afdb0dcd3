"""Decoding: rates, grids, colours, and one clock for sound and sight."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from tests._clips import make_clip, plain, sine

from earsight.errors import InputError
from earsight.media import (
    MEDIA_SUFFIXES,
    AudioBlock,
    Decoder,
    FrameBlock,
    FrameRequest,
    Report,
    Status,
    kind,
)
from earsight.media._sight import Sight
from earsight.media._sound import Sound, to_mono

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")


def read(
    path: Path, audio: tuple[int, ...] = (16000,), frames: tuple[FrameRequest, ...] = ()
) -> tuple[dict[int, np.ndarray], dict[FrameRequest, tuple[np.ndarray, np.ndarray]], Report]:
    """Read everything: samples by rate, (times, frames) by request; every block is checked."""
    decoder = Decoder(path, audio=audio, frames=frames, threads=1)
    sounds: dict[int, list[AudioBlock]] = {}
    sights: dict[FrameRequest, list[FrameBlock]] = {}
    for block in decoder:
        if isinstance(block, AudioBlock):
            assert block.samples.dtype == np.float32 and 0 < len(block.samples) <= block.rate
            assert np.abs(block.samples).max() <= 1.0
            before = sounds.setdefault(block.rate, [])
            if before:
                due = before[-1].start + len(before[-1].samples) / block.rate
                assert block.start == pytest.approx(due, abs=1 / block.rate)
            before.append(block)
        else:
            assert block.frames.dtype == np.uint8 and block.frames.ndim == 4
            assert 0 < len(block.times) == len(block.frames) <= 8
            sights.setdefault(block.request, []).append(block)
    return (
        {rate: np.concatenate([b.samples for b in blocks]) for rate, blocks in sounds.items()},
        {
            request: (
                np.concatenate([b.times for b in blocks]),
                np.concatenate([b.frames for b in blocks]),
            )
            for request, blocks in sights.items()
        },
        decoder.report,
    )


# Sound


@pytest.mark.parametrize(
    ("rate", "layout", "wanted"),
    [
        (8000, "mono", 16000),
        (96000, "5.1", 22050),
        (44100, "stereo", 16000),
        (16000, "mono", 16000),
    ],
)
def test_any_rate_and_layout_becomes_the_same_sine(
    tmp_path: Path, rate: int, layout: str, wanted: int
) -> None:
    clip = make_clip(tmp_path / "a.wav", 2.5, rate=rate, layout=layout, tone=440.0)
    sounds, _, report = read(clip, audio=(wanted,))
    assert report.status is Status.NO_VIDEO
    t = np.arange(len(sounds[wanted])) / wanted
    assert len(t) == pytest.approx(2.5 * wanted, abs=1)
    inner = slice(wanted // 10, -wanted // 10)
    np.testing.assert_allclose(sounds[wanted][inner], sine(440.0)(t)[inner], atol=2e-3)


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    def left_only(t: np.ndarray) -> np.ndarray:
        return np.stack([0.8 * np.ones_like(t), -0.2 * np.ones_like(t)])

    clip = make_clip(tmp_path / "a.flac", 0.5, layout="stereo", sound=left_only)
    sounds, _, _ = read(clip)
    np.testing.assert_allclose(sounds[16000], 0.3, atol=1e-4)


@pytest.mark.parametrize("name", ["u8", "s16", "s32", "flt", "dbl", "u8p", "s16p", "fltp", "dblp"])
def test_full_scale_of_every_sample_format(name: str) -> None:
    kinds = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
    dtype = kinds[name.removesuffix("p")]
    if dtype == np.uint8:
        left, right = np.array([255, 128, 0]), np.array([128, 128, 0])
    elif name.startswith("s"):
        low = np.iinfo(dtype).min
        left, right = np.array([-(low + 1), 0, low]), np.array([0, 0, low])
    else:
        left, right = np.array([1.0, 0.0, -1.0]), np.array([0.0, 0.0, -1.0])
    channels = np.stack([left, right]).astype(dtype)
    array = channels if name.endswith("p") else channels.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), format=name, layout="stereo")
    np.testing.assert_allclose(to_mono(frame), [0.5, 0.0, -1.0], atol=0.005)


def test_two_rates_in_one_pass_hear_the_same_click(tmp_path: Path) -> None:
    def click(t: np.ndarray) -> np.ndarray:
        return np.where((t >= 1.7) & (t < 1.701), 0.9, 0.0)

    clip = make_clip(tmp_path / "a.flac", 3.0, rate=48000, sound=click)
    sounds, _, _ = read(clip, audio=(8000, 22050, 48000))
    for rate, samples in sounds.items():
        assert np.abs(samples).argmax() / rate == pytest.approx(1.7005, abs=1e-3)


def sound_frame(samples: np.ndarray, rate: int = 1000) -> Any:
    frame = av.AudioFrame.from_ndarray(
        np.asarray(samples, dtype=np.float32)[None], format="fltp", layout="mono"
    )
    frame.sample_rate = rate
    return frame


def feed(sound: Sound, *frames: tuple[float | None, np.ndarray]) -> tuple[float, np.ndarray]:
    blocks = [b for time, x in frames for b in sound.feed(sound_frame(x), time)]
    blocks += sound.close()
    return blocks[0].start, np.concatenate([b.samples for b in blocks])


def test_gap_is_filled_with_silence_and_counted() -> None:
    sound = Sound([1000], 60.0)
    start, samples = feed(sound, (2.0, np.full(100, 0.5)), (2.4, np.full(100, 0.25)))
    assert start == 2.0 and len(samples) == 500
    assert (samples[:100] == 0.5).all() and (samples[100:400] == 0).all()
    assert (samples[400:] == 0.25).all()
    assert sound.missing == pytest.approx(0.3) and sound.seconds == pytest.approx(0.2)


def test_overlap_is_cut() -> None:
    sound = Sound([1000], 60.0)
    _, samples = feed(sound, (0.0, np.full(300, 0.5)), (0.2, np.full(300, 0.25)))
    assert len(samples) == 500 and (samples[300:] == 0.25).all()


def test_jitter_below_the_tolerance_moves_nothing_unless_a_packet_was_lost() -> None:
    frames = [(0.1 * k + 0.02 * (k % 2), np.full(100, 0.1)) for k in range(6)]
    sound = Sound([1000], 60.0)
    assert len(feed(sound, *frames)[1]) == 600 and sound.missing == 0
    sound = Sound([1000], 60.0)
    list(sound.feed(sound_frame(np.full(100, 0.1)), 0.0))
    sound.has_lost = True
    list(sound.feed(sound_frame(np.full(100, 0.1)), 0.12))
    assert sound.end == pytest.approx(0.22)


def test_wild_jump_is_not_believed_and_counted() -> None:
    sound = Sound([1000], 10.0)
    frames = [(0.0, np.ones(100)), (5000.0, np.ones(100)), (5000.1, np.ones(100))]
    assert len(feed(sound, *frames)[1]) == 300 and sound.n_errors == 1


def test_not_a_number_becomes_silence_and_is_counted() -> None:
    sound = Sound([1000], 10.0)
    _, samples = feed(sound, (0.0, np.array([0.5, np.nan, np.inf, -3.0])))
    assert samples.tolist() == [0.5, 0.0, 0.0, -1.0] and sound.n_errors == 1


# Sight


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


CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32] = (220, 30, 30)  # red: top left
CORNERS[:24, 32:] = (30, 200, 30)  # green: top right
CORNERS[24:, :32] = (30, 30, 220)  # blue: bottom left


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


# One clock


def flash(t: float) -> np.ndarray:
    return np.full((48, 64, 3), 250 if abs(t - 1.0) < 1e-6 else 10, dtype=np.uint8)


ENDINGS = ["mp4", "mov", "mkv", "ts", "webm", "mpg", "flv"]


@pytest.mark.parametrize(
    ("ending", "late"),
    # AVI has no timestamps: a track in it cannot start late.
    [("avi", 0.0), *((ending, late) for ending in ENDINGS for late in (0.0, 0.5))],
)
def test_flash_and_click_come_at_the_same_time(tmp_path: Path, ending: str, late: float) -> None:
    def click(t: np.ndarray) -> np.ndarray:
        t = t + late - 1.0
        return np.where((t >= 0) & (t < 0.005), 0.9 * np.sin(2 * np.pi * 1000 * t), 0.0)

    clip = make_clip(
        tmp_path / f"a.{ending}", 2.5, draw=flash, sound=click, audio_start=late, size=(64, 48)
    )
    heard: dict[int, tuple[float, float]] = {}
    seen: dict[FrameRequest, tuple[float, float]] = {}
    starts: dict[int, float] = {}
    for block in Decoder(
        clip, audio=[8000, 48000], frames=[FrameRequest(25.0, 32), FrameRequest(None, None)]
    ):
        if isinstance(block, AudioBlock):
            starts.setdefault(block.rate, block.start)
            peak = int(np.abs(block.samples).argmax())
            found = (float(abs(block.samples[peak])), block.start + peak / block.rate)
            heard[block.rate] = max(heard.get(block.rate, found), found)
        else:
            light = block.frames.mean(axis=(1, 2, 3))
            found = (float(light.max()), float(block.times[light.argmax()]))
            seen[block.request] = max(seen.get(block.request, found), found)
    for _, click_at in heard.values():
        for _, flash_at in seen.values():
            assert abs(click_at - flash_at) < 1 / 25
    assert starts[8000] == pytest.approx(late, abs=0.07)  # AAC begins up to 64 ms early


# Stills and sound files


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tiff"])
def test_still_is_one_frame_at_time_zero(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(CORNERS).save(path)
    request = FrameRequest(25.0, 24)
    sounds, sights, report = read(path, frames=(request,))
    times, frames = sights[request]
    assert times.tolist() == [0.0] and frames.shape == (1, 24, 32, 3) and not sounds
    assert (report.status, report.duration, report.n_frames) == (Status.NO_AUDIO, 0.0, 1)
    assert (report.width, report.height) == (64, 48)
    assert np.abs(frames[0, 6, 8].astype(int) - (220, 30, 30)).max() <= 25


def test_still_modes(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.putpixel((4, 4), (255, 0, 0, 255))
    clear.save(tmp_path / "clear.png")
    indexed = Image.new("P", (8, 8), 1)
    indexed.putpalette([0, 0, 0, 10, 200, 10])
    indexed.save(tmp_path / "indexed.png", transparency=0)
    Image.fromarray(np.full((8, 8), 51400, np.uint16)).save(tmp_path / "deep.png")
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(tmp_path / "ink.jpg")
    request = FrameRequest(None, None)

    def pixel(name: str, x: int, y: int) -> list[int]:
        _, sights, _ = read(tmp_path / name, frames=(request,))
        value: list[int] = sights[request][1][0, y, x].tolist()
        return value

    assert pixel("clear.png", 0, 0) == [255, 255, 255]
    assert pixel("clear.png", 4, 4) == [255, 0, 0]
    assert pixel("indexed.png", 0, 0) == [10, 200, 10]
    assert pixel("deep.png", 0, 0) == [200, 200, 200]
    assert max(pixel("ink.jpg", 0, 0)) <= 5


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(CORNERS).save(tmp_path / "a.jpg", exif=exif, quality=95)
    request = FrameRequest(1.0, None)
    _, sights, report = read(tmp_path / "a.jpg", frames=(request,))
    upright = np.rot90(CORNERS, -1)
    assert (report.width, report.height) == (48, 64)
    assert np.abs(sights[request][1][0, 4::8, 4::8].astype(int) - upright[4::8, 4::8]).max() <= 12


def test_animated_gif_is_a_video_laid_on_white(tmp_path: Path) -> None:
    frames = []
    for colour in ((200, 0, 0, 255), (0, 0, 200, 255)):
        frame = Image.new("RGBA", (32, 24), 0)
        frame.paste(colour, (0, 0, 16, 24))
        frames.append(frame)
    frames[0].save(
        tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=500, disposal=2
    )
    request = FrameRequest(2.0, None)
    _, sights, report = read(tmp_path / "a.gif", frames=(request,))
    times, pictures = sights[request]
    assert report.status is Status.NO_AUDIO and report.n_frames == 2
    assert times.tolist() == [0.0, 0.5]
    assert pictures[:, 12, 4].tolist() == [[200, 0, 0], [0, 0, 200]]
    assert pictures[:, 12, 28].tolist() == [[255, 255, 255]] * 2


def test_cover_picture_is_not_sight(tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    Image.fromarray(CORNERS).save(cover)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out, av.open(str(cover)) as source:
        sound: Any = out.add_stream("aac", rate=16000, layout="mono")
        art: Any = out.add_stream_from_template(source.streams.video[0])
        art.disposition = av.stream.Disposition.attached_pic
        samples = sine(440.0)(np.arange(16000) / 16000).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            out.mux(packet)
        for packet in source.demux():
            if packet.size:
                packet.stream = art
                out.mux(packet)
    with av.open(str(path)) as made:
        assert len(made.streams.video) == 1
    sounds, sights, report = read(path, frames=(FrameRequest(),))
    assert report.status is Status.NO_VIDEO and not sights and len(sounds[16000]) >= 16000
    assert kind(path) == "audio"


@pytest.mark.parametrize(
    "ending", ["wav", "flac", "mp3", "m4a", "ogg", "opus", "aiff", "mkv", "mp4", "gif", "ts", "avi"]
)
def test_kind_and_suffix_of_each_container(tmp_path: Path, ending: str) -> None:
    clip = make_clip(tmp_path / f"a.{ending}", 0.4)
    sound_alone = ending in ("wav", "flac", "mp3", "m4a", "ogg", "opus", "aiff")
    assert kind(clip) == ("audio" if sound_alone else "visual" if ending == "gif" else "both")
    assert clip.suffix in MEDIA_SUFFIXES
    silent = make_clip(tmp_path / "silent.mp4", 0.4, audio=False)
    assert kind(silent) == "visual"
    _, _, report = read(silent, frames=(FrameRequest(),))
    assert report.status is Status.NO_AUDIO and report.message == ""


# The whole


def test_requests_are_checked() -> None:
    with pytest.raises(InputError, match=r"`fps` must be above 0 and finite.*got 0"):
        FrameRequest(0)
    with pytest.raises(InputError, match=r"`short_side` must be at least 1 pixel.*got 0"):
        FrameRequest(1.0, 0)
    with pytest.raises(InputError, match=r"sample rates of at least 1 Hz; got \[0\]"):
        Decoder(Path("a.wav"), audio=[0])
    with pytest.raises(InputError, match=r"`threads` must be 0 .* got -1"):
        Decoder(Path("a.wav"), threads=-1)


def test_iterating_again_reads_again(tmp_path: Path) -> None:
    decoder = Decoder(make_clip(tmp_path / "a.mp4", 0.5), audio=[16000], frames=[FrameRequest()])
    first, second = [len(list(decoder)) for _ in range(2)]
    assert first == second > 0 and decoder.report.status is Status.OK


MEASURE = r"""
import re, sys
from pathlib import Path
from earsight.media import Decoder, FrameRequest
requests = [FrameRequest(1.0, 256), FrameRequest(25.0, 256)]
decoder = Decoder(Path(sys.argv[1]), audio=[16000, 44100], frames=requests)
for block in decoder:
    pass
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(int(peak[1]) // 1024, decoder.report.status, round(decoder.report.duration))
"""


def looped(path: Path, source: Path, seconds: float, times: int) -> Path:
    """Write `source` over and over into one long file, without encoding anew."""
    with av.open(str(path), "w") as out:
        outs: dict[int, Any] = {}
        for turn in range(times):
            with av.open(str(source)) as clip:
                for stream in clip.streams:
                    if stream.index not in outs:
                        outs[stream.index] = out.add_stream_from_template(stream)
                for packet in clip.demux():
                    if not packet.size:
                        continue
                    shift = round(turn * seconds / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = outs[packet.stream.index]
                    out.mux(packet)
    return path


def measured(path: Path) -> tuple[int, str, int]:
    """Decode in a process of its own: peak memory in MiB, status, seconds."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    peak, status, seconds = done.stdout.split()
    return int(peak), status, int(seconds)


def drifting(t: float) -> np.ndarray:
    ramp = np.arange(1280, dtype=np.uint16)[None, :, None] // 6 + round(t * 25)
    return np.broadcast_to(ramp % 256, (720, 1280, 3)).astype(np.uint8)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)


@needs_proc
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    short = make_clip(tmp_path / "s.mov", 2.0, draw=drifting, size=(1280, 720), rate=48000)
    peak_short, _, _ = measured(looped(tmp_path / "a.mkv", short, 2.0, 2))
    peak_long, status, seconds = measured(looped(tmp_path / "b.mkv", short, 2.0, 12))
    assert (status, seconds) == ("ok", 24)
    assert peak_long < 300 and peak_long - peak_short < 20


@needs_proc
@pytest.mark.long
def test_an_hour_of_720p_needs_less_than_300_mb(tmp_path: Path) -> None:
    short = make_clip(tmp_path / "s.mov", 10.0, draw=drifting, size=(1280, 720), rate=48000)
    peak, status, seconds = measured(looped(tmp_path / "hour.mkv", short, 10.0, 360))
    assert (status, seconds) == ("ok", 3600) and peak < 300


CLIPS = sorted(SHARED.glob("clips/*/*")) + sorted(SHARED.glob("golden/v_*")) if SHARED else []


@needs_shared
@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_real_clips_are_whole(path: Path) -> None:
    requests = (FrameRequest(1.0, 256), FrameRequest(25.0, 128))
    sounds, sights, report = read(path, frames=requests)
    assert report.status is Status.OK and report.n_errors == 0, report.message
    assert report.audio_seconds == pytest.approx(report.visual_seconds, abs=0.1)
    assert len(sounds[16000]) == pytest.approx(16000 * report.audio_seconds, abs=800)
    times, frames = sights[requests[0]]
    assert len(times) == np.ceil(report.visual_seconds - 1e-3) and min(frames.shape[1:3]) == 256
    assert (np.abs(times - np.arange(len(times))) < 0.1).all()


@needs_shared
@pytest.mark.parametrize(
    ("name", "status", "seconds", "n_frames"),
    [
        ("awkward/b.avi", Status.OK, 5.0, 150),
        ("awkward/bbaf2n.mpg", Status.OK, 3.0, 75),
        ("awkward/flipping_a_pancake.mkv", Status.OK, 10.4, 310),
        ("awkward/muted_b.mp4", Status.NO_AUDIO, 5.0, 150),
        ("golden/cricket_rgb.gif", Status.NO_AUDIO, 3.16, 79),
    ],
)
def test_awkward_files(name: str, status: Status, seconds: float, n_frames: int) -> None:
    _, sights, report = read(SHARED / name, frames=(FrameRequest(None, 64),))
    assert (report.status, report.n_frames) == (status, n_frames)
    assert report.duration == pytest.approx(seconds, abs=0.1)
    assert len(sights[FrameRequest(None, 64)][0]) == n_frames

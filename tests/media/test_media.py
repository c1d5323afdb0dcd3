"""Decoding: one clock for sound and sight, stills, kinds, and the shared clips."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from _clips import make_clip, sine
from _reading import CORNERS, read
from earsight.errors import InputError
from earsight.media import (
    MEDIA_SUFFIXES,
    AudioBlock,
    Decoder,
    FrameRequest,
    Status,
    kind,
)

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")


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
    with pytest.raises(InputError, match=r"`fps` must be above 0.*got 0"):
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

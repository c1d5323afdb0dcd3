"""Sound: rates, channels, sample formats, gaps and jitter."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from _clips import make_clip, sine
from _reading import read
from earsight.media import (
    Status,
)
from earsight.media._sound import Sound, to_mono


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

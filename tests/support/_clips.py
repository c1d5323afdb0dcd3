"""Small clips for tests, drawn and sounded by rule, encoded with PyAV."""

import heapq
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

# Codec and pixel format for sight, codec for sound, by the ending of the file's name.
CODECS: dict[str, tuple[str | None, str | None]] = {
    ".mp4": ("libx264", "aac"),
    ".m4v": ("libx264", "aac"),
    ".mov": ("libx264", "pcm_s16le"),
    ".mkv": ("libx264", "flac"),
    ".webm": ("libvpx", "libopus"),
    ".avi": ("mpeg4", "libmp3lame"),
    ".mpg": ("mpeg1video", "mp2"),
    ".ts": ("libx264", "aac"),
    ".flv": ("flv1", "libmp3lame"),
    ".gif": ("gif", None),
    ".wav": (None, "pcm_s16le"),
    ".flac": (None, "flac"),
    ".mp3": (None, "libmp3lame"),
    ".m4a": (None, "aac"),
    ".ogg": (None, "flac"),
    ".opus": (None, "libopus"),
    ".aiff": (None, "pcm_s16be"),
}

# The rates that codecs insist on.
RATES = {".webm": 48000, ".opus": 48000, ".avi": 48000, ".mpg": 48000, ".flv": 44100}

Draw = Callable[[float], np.ndarray]  # seconds -> (height, width, 3) uint8
Sound = Callable[[np.ndarray], np.ndarray]  # seconds (n,) -> (n,) or (channels, n), ±1


def sine(hertz: float, amplitude: float = 0.5) -> Sound:
    """A sine."""
    return lambda t: amplitude * np.sin(2 * np.pi * hertz * t)


def plain(colour: tuple[int, int, int], size: tuple[int, int]) -> Draw:
    """One colour all over; `size` is (width, height)."""
    picture = np.empty((size[1], size[0], 3), dtype=np.uint8)
    picture[:] = colour
    return lambda _t: picture


def make_clip(
    path: Path,
    seconds: float = 1.0,
    *,
    audio: bool = True,
    video: bool = True,
    fps: int = 25,
    size: tuple[int, int] = (160, 120),
    rate: int | None = None,
    layout: str = "mono",
    tone: float = 440.0,
    colour: tuple[int, int, int] = (200, 60, 60),
    draw: Draw | None = None,
    sound: Sound | None = None,
    audio_start: float = 0.0,
    frame_times: list[float] | None = None,
    pixel_aspect: Fraction = Fraction(1),
    options: dict[str, str] | None = None,
) -> Path:
    """Write one clip; its codecs follow from the ending of `path`, and return `path`.

    Args:
        path: Where to.
        seconds: Length of both tracks.
        audio: Whether there is sound (never in a GIF).
        video: Whether there is sight (never in a sound file).
        fps: Frames a second.
        size: (width, height).
        rate: Samples a second; None: 16000, or what the codec insists on.
        layout: Channels, as libav names them: "mono", "stereo", "5.1".
        tone: Hertz of the sine that is heard, unless `sound` is given.
        colour: RGB of what is seen, unless `draw` is given.
        draw: What is seen at a time.
        sound: What is heard at times.
        audio_start: Seconds by which the sound track starts late.
        frame_times: Timestamps of the frames, for a variable rate; they replace `fps`.
        pixel_aspect: Width of a pixel over its height.
        options: libav's options for the container.
    """
    video_codec, audio_codec = CODECS[path.suffix.lower()]
    draw = draw or plain(colour, size)
    sound = sound or sine(tone)
    rate = rate or RATES.get(path.suffix.lower(), 16000)
    with av.open(str(path), "w", options=options or {}) as out:
        tracks: list[Iterator[tuple[float, Any, Any]]] = []
        if video and video_codec:
            stream: Any = out.add_stream(video_codec, rate=fps)
            stream.width, stream.height = size
            stream.pix_fmt = "rgb8" if video_codec == "gif" else "yuv420p"
            stream.codec_context.sample_aspect_ratio = pixel_aspect
            base = Fraction(1, 90000) if frame_times else Fraction(1, fps)
            stream.codec_context.time_base = base
            times = frame_times or [k / fps for k in range(round(seconds * fps))]
            tracks.append(_sights(stream, draw, times, base))
        if audio and audio_codec:
            stream = out.add_stream(audio_codec, rate=rate, layout=layout)
            samples = np.atleast_2d(sound(np.arange(round(seconds * rate)) / rate))
            tracks.append(_sounds(stream, samples, rate, layout, audio_start))
        for _, stream, frame in heapq.merge(*tracks, key=lambda item: item[0]):
            out.mux(stream.encode(frame))
        for stream in out.streams:
            out.mux(stream.encode(None))
    return path


def _sights(
    stream: Any, draw: Draw, times: list[float], base: Fraction
) -> Iterator[tuple[float, Any, Any]]:
    for time in times:
        frame = av.VideoFrame.from_ndarray(draw(time), format="rgb24")
        frame.pts, frame.time_base = round(time / base), base
        yield time, stream, frame


def _sounds(
    stream: Any, samples: np.ndarray, rate: int, layout: str, start: float
) -> Iterator[tuple[float, Any, Any]]:
    """Cut the sound into frames in the encoder's own format."""
    n_channels = av.AudioLayout(layout).nb_channels
    if len(samples) == 1:
        samples = np.repeat(samples, n_channels, axis=0)
    to_format = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=rate)
    for begin in range(0, samples.shape[1], 1024):
        part = np.ascontiguousarray(samples[:, begin : begin + 1024], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = begin + round(start * rate)
        for done in to_format.resample(frame):
            yield start + begin / rate, stream, done

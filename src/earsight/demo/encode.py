"""Writing a clip: H.264 and AAC in an mp4 file, with PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

FPS = 25


def write_clip(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    size: tuple[int, int],
    sound: npt.NDArray[np.float32],
    *,
    rate: int,
) -> None:
    """Encode frames and mono sound that both begin at 0 s.

    Args:
        path: Where to write; always mp4, whatever the name says.
        frames: Each (height, width, 3) uint8 RGB, FPS a second.
        size: (width, height) of the frames, even numbers.
        sound: (n,) float32 in [−1, 1].
        rate: Samples a second.
    """
    import av

    with av.open(str(path), "w", format="mp4") as container:
        options = {"preset": "superfast", "crf": "21", "x264-params": "bframes=0:threads=1"}
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(
            "aac", rate=rate, layout="mono", options={"aac_coder": "fast"}, bit_rate=112_000
        )
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode())

        block = av.AudioFrame.from_ndarray(sound[None, :], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
        container.mux(audio.encode(block))
        container.mux(audio.encode())

"""One clip that is always the same, to measure speed on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from earsight.demo.clip import take
from earsight.demo.encode import FPS, write_clip
from earsight.demo.scenes import LABELS
from earsight.demo.sounds import RATE

SECONDS = 12
SIZE = (640, 360)


def draw_standard(path: Path) -> None:
    """Write 12 s of drawn scenes, 640 × 360 at 25 frames a second, H.264 and AAC."""
    shots = [take(label, 0, 0) for label in LABELS[:4]]
    sound = np.concatenate([shot.sound for shot in shots])[: SECONDS * RATE]

    def frames() -> Iterator[npt.NDArray[np.uint8]]:
        for shot in shots:
            for frame in shot.frames():
                yield np.asarray(Image.fromarray(frame).resize(SIZE))

    first = (frame for _, frame in zip(range(SECONDS * FPS), frames(), strict=False))
    write_clip(path, first, SIZE, sound, rate=RATE)

"""A clip of which it can be told whether its sound is in step: a square jumps at each click."""

from pathlib import Path

import numpy as np

from _clips import make_clip

CLICKS = (0.7, 1.1, 1.9, 2.2, 3.05, 3.9, 4.3, 5.2)  # seconds, in no rhythm


def make_strokes(path: Path, late: float = 0.0) -> Path:
    """Write six seconds in which each click comes `late` seconds after its jump."""

    def sight(t: float) -> np.ndarray:
        picture = np.full((120, 160, 3), 40, dtype=np.uint8)
        place = 10 + 30 * (sum(t >= click for click in CLICKS) % 4)
        picture[place : place + 20, place : place + 24] = (230, 220, 90)
        return picture

    def sound(t: np.ndarray) -> np.ndarray:
        heard = np.zeros_like(t)
        for click in CLICKS:
            since = np.maximum(t - click - late, 0)
            heard += np.exp(-40 * since) * np.sin(9000 * since)
        return 0.6 * heard

    return make_clip(path, 6.0, fps=25, size=(160, 120), draw=sight, sound=sound)

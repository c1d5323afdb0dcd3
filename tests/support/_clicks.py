"""A clip of eight clicks that are seen and heard at once, in no rhythm."""

import numpy as np

CLICKS = (0.7, 1.1, 1.9, 2.2, 3.05, 3.9, 4.3, 5.2)  # seconds, in no rhythm


def flashes(t: float) -> np.ndarray:
    """A square that jumps at each click and rests between."""
    picture = np.full((120, 160, 3), 40, dtype=np.uint8)
    place = 10 + 30 * (sum(t >= click for click in CLICKS) % 4)
    picture[place : place + 20, place : place + 24] = (230, 220, 90)
    return picture


def clicks(t: np.ndarray) -> np.ndarray:
    sound = np.zeros_like(t)
    for click in CLICKS:
        since = t - click
        sound += np.where(since >= 0, np.exp(-40 * np.maximum(since, 0)), 0) * np.sin(9000 * since)
    return 0.6 * sound

"""What a scene is, and what all of them share: the track, the swing of a striking arm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from earsight.arrays import FloatArray
from earsight.demo.sounds import RATE, at_sample
from earsight.demo.stage import Brush

Parameters = dict[str, float | str]


@dataclass(frozen=True)
class Scene:
    """One drawn event or several: what is seen and what it sounds like, before any camera or room.

    Attributes:
        duration: Seconds.
        events: Seconds, each on a sample: when the thing happens that is heard.
        backdrop: What doesn't move, as `stage.canvas` gives it.
        paint: `paint(brush, t)` adds what moves as it is at exactly `t` seconds; it keeps no state.
        sound: (round(duration·RATE),) mono, any level.
        echo: Seconds of reverberation that suit the place, shortest and longest.
        parameters: What was drawn by lot, for the record.
    """

    duration: float
    events: tuple[float, ...]
    backdrop: Image.Image
    paint: Callable[[Brush, float], None]
    sound: FloatArray
    echo: tuple[float, float] = (0.15, 0.5)
    parameters: Parameters = field(default_factory=dict)


def length(rng: np.random.Generator) -> float:
    """Draw a duration of 3 to 4 seconds, a whole number of frames."""
    return int(rng.integers(75, 101)) / 25


def track(duration: float) -> FloatArray:
    """Return silence of that many seconds."""
    return np.zeros(round(duration * RATE))


def beats(rng: np.random.Generator, duration: float, gap: tuple[float, float]) -> tuple[float, ...]:
    """Draw a steady beat with a slightly human hand: a period within `gap` seconds, ±6 %."""
    period = rng.uniform(*gap)
    times, t = [], rng.uniform(0.35, 0.75)
    while t < duration - 0.35:
        times.append(at_sample(t))
        t += period * rng.uniform(0.94, 1.06)
    return tuple(times)


def since(events: Sequence[float], t: float) -> tuple[int, float]:
    """Return the last event at or before `t` and the seconds since; (−1, inf) before the first."""
    last = int(np.searchsorted(events, t, side="right")) - 1
    return (last, t - events[last]) if last >= 0 else (-1, np.inf)


def raised(events: Sequence[float], t: float, *, fall: float = 0.11, rise: float = 0.3) -> float:
    """Return how far a striking arm is raised: 0 at the very moment of an event, 1 at rest.

    It comes down with growing speed in `fall` seconds, rests for 20 ms, and goes back up slowing
    down in `rise` seconds.
    """
    gaps = t - np.asarray(events)
    before, after = -gaps[gaps < 0], gaps[gaps >= 0]
    down = 1 - max(0.0, 1 - before.min() / fall) ** 2 if len(before) else 1.0
    up = min(1.0, max(0.0, after.min() - 0.02) / rise) if len(after) else 1.0
    return float(min(down, 1 - (1 - up) ** 2))

"""Rain on a street, an umbrella in it, and heavy drops from above that plink into a puddle."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from earsight.arrays import FloatArray
from earsight.demo.backdrops import cloudy, wet_street
from earsight.demo.scene import Scene, length, track
from earsight.demo.sounds import at_sample, burst, noise, place, seconds, sweep
from earsight.demo.stage import Brush, Color, curve, darker, hsv, lighter, turned


def _person(brush: Brush, x: float, y: float, color: Color, *, coat: Color) -> None:
    """Draw somebody under an umbrella, seen from behind; the feet stand at (x, y)."""
    brush.soft(x, y + 2, 52, 10, color=(10, 14, 22), alpha=0.7)
    for side in (-1, 1):
        boot = [(x + side * 4 - 6, y - 30), (x + side * 4 + 6, y - 30), (x + side * 6 + 7, y + 2),
                (x + side * 6 - 7, y + 2)]  # fmt: skip
        brush.shaded(boot, darker(coat, 0.6), darker(coat, 0.75))
    body = [(-13, -92), (13, -92), (21, -66), (25, -24), (0, -20), (-25, -24), (-21, -66)]
    brush.shaded(curve(turned(body, (x, y))), lighter(coat, 0.12), darker(coat, 0.4))
    brush.stroke([(x, y - 84), (x, y - 22)], 1, darker(coat, 0.45), 0.6)
    brush.disc(x, y - 100, 12, lighter(coat, 0.05))
    brush.stroke([(x + 18, y - 72), (x + 14, y - 96)], 7, darker(coat, 0.12))
    brush.stroke([(x + 14, y - 84), (x + 14, y - 150)], 2, (60, 52, 50))
    top, rim = (x + 14.0, y - 158.0), y - 112.0
    reach = 66.0
    scallops = np.linspace(-1, 1, 6)
    for k, (a, b) in enumerate(pairwise(scallops)):
        ends = [top[0] + reach * np.sin(v * np.pi / 2) for v in (a, b)]
        outer = [
            (top[0] + reach * np.sin(v * np.pi / 2) * np.sin(h), rim + (top[1] - rim) * np.cos(h))
            for v, hs in ((a, np.linspace(0, np.pi / 2, 9)), (b, np.linspace(np.pi / 2, 0, 9)))
            for h in hs
        ]
        middle = (ends[0] + ends[1]) / 2
        outer[9:9] = [(ends[0] * 0.7 + middle * 0.3, rim - 4), (middle, rim - 5),
                      (ends[1] * 0.7 + middle * 0.3, rim - 4)]  # fmt: skip
        tone = color if k % 2 else lighter(color, 0.4)
        brush.shaded(outer, lighter(tone, 0.18 * (4 - k) / 4), darker(tone, 0.12 + 0.09 * k))
    brush.stroke([(top[0], top[1] - 6), (top[0], top[1])], 2, (60, 52, 50))


@dataclass(frozen=True)
class Shower:
    """Falling streaks: each (n,) has its lane, its speed, its length and its phase."""

    x: FloatArray
    speed: FloatArray
    size: FloatArray
    phase: FloatArray
    wind: float

    def paint(self, brush: Brush, t: float, strength: float) -> None:
        """Draw the share `strength` of all streaks as they are at `t` seconds."""
        shown = int(len(self.x) * min(strength, 1.0))
        for x, v, size, phase in zip(
            self.x[:shown], self.speed[:shown], self.size[:shown], self.phase[:shown], strict=True
        ):
            y = (phase + v * t) % 300 - 30
            tip = (x + self.wind * y, y)
            tail = (tip[0] - self.wind * 14 * size, y - 14 * size)
            brush.stroke([tail, tip], 0.5 + 0.5 * size, (226, 236, 248), 0.2 + 0.22 * size)


def _drip(brush: Brush, px: float, py: float, gone: float) -> None:
    """Draw a heavy drop that meets the water at (px, py), `gone` seconds after it does."""
    if -0.35 < gone < 0:  # falling: it is at the water when gone is 0
        y = py - 520 * -gone - 300 * gone**2
        brush.stroke([(px, y - 9), (px, y)], 2.4, (240, 246, 252), 0.9)
        brush.oval(px, y, 1.9, 2.8, color=(255, 255, 255), alpha=0.95)
    elif 0 <= gone < 0.9:
        for delay in (0.0, 0.1, 0.2):
            age = (gone - delay) / 0.7
            if 0 <= age < 1:
                r = 3 + 40 * age
                brush.ring(
                    px,
                    py,
                    r,
                    r * 0.32,
                    width=1.3,
                    color=(246, 250, 255),
                    alpha=0.95 * (1 - age) ** 1.3,
                )
        if gone < 0.22:
            up = 20 * np.sin(np.pi * gone / 0.22)
            brush.soft(px, py - 2, 16, 9, color=(255, 255, 255), alpha=0.8 * (1 - gone / 0.22))
            for lean in (-0.5, -0.2, 0.15, 0.45):
                bead = (px + lean * 80 * gone, py - up * (1 - 0.6 * abs(lean)))
                brush.disc(*bead, 1.5, (255, 255, 255), alpha=0.95)


def _sound(
    rng: np.random.Generator, duration: float, events: Sequence[float], gust: FloatArray
) -> FloatArray:
    """Sound the hiss of the shower, its many small drops, and the heavy ones."""
    sound = track(duration)
    envelope = np.interp(np.linspace(0, 1, len(sound)), np.linspace(0, 1, 200), gust)
    sound += 0.15 * envelope * noise(rng, duration, 900, 9500, tilt=0.25)
    for t in rng.uniform(0, duration, int(90 * duration)):  # small drops, too many to see each
        place(sound, t, burst(rng, 0.01, 2000, 9000, decay=0.0015), rng.exponential(0.1))
    plinks = rng.uniform(700, 1300, len(events))
    for event, pitch in zip(events, plinks, strict=True):
        t = seconds(0.16)  # a bubble: a tone that rises as it closes
        place(sound, event, sweep(pitch * (1 + 2.2 * t / 0.16)) * np.exp(-t / 0.035), 0.85)
        place(sound, event, burst(rng, 0.03, 800, 8000, decay=0.004), 0.4)
    return sound


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    ground = rng.uniform(164, 176)
    backdrop = wet_street(rng, ground)
    x = float(rng.choice([rng.uniform(80, 120), rng.uniform(200, 240)]))
    hue = rng.random()
    _person(Brush(backdrop), x, ground + 22, hsv(hue, 0.72, 0.88),
            coat=hsv(hue + rng.uniform(0.3, 0.7), 0.35, 0.55))  # fmt: skip
    n = 240
    shower = Shower(rng.uniform(-40, 360, n), rng.uniform(420, 640, n), rng.uniform(0.4, 1.5, n),
                    rng.uniform(0, 300, n), float(rng.uniform(-0.16, 0.16)))  # fmt: skip
    gaps = rng.uniform(0.32, 0.8, 16)
    events = tuple(at_sample(t) for t in 0.45 + np.cumsum(gaps) - gaps[0] if t < duration - 0.3)
    puddle = (320 - x + rng.uniform(-24, 24), 214.0)
    places = (
        puddle[0] + rng.uniform(-36, 36, len(events)),
        puddle[1] + rng.uniform(-7, 7, len(events)),
    )
    gust = 1 + 0.3 * cloudy(rng, (6, 1), (200, 1))[0]  # along the whole clip, drawn and heard
    heavy = rng.uniform(0.5, 0.8)
    small = rng.uniform([-10, ground + 6, 0], [330, 246, 1], (70, 3))
    Brush(backdrop).polygon(curve(turned(
        [(-70, 0), (-44, -11), (4, -14), (52, -10), (74, 1), (40, 13), (-14, 14), (-54, 11)], puddle
    )), (196, 210, 226), 0.28)  # fmt: skip

    def paint(brush: Brush, t: float) -> None:
        strength = heavy * float(np.interp(t / duration, np.linspace(0, 1, 200), gust))
        for sx, sy, phase in small:
            age = (phase + t * 2.6) % 1
            r = 1 + 5 * age
            brush.ring(
                sx, sy, r, r * 0.34, width=0.5, color=(226, 236, 246), alpha=0.55 * (1 - age)
            )
        for event, px, py in zip(events, *places, strict=True):
            _drip(brush, px, py, t - event)
        shower.paint(brush, t, strength)

    sound = _sound(rng, duration, events, gust)
    return Scene(duration, events, backdrop, paint, sound, (0.2, 0.5),
                 {"wind": shower.wind, "strength": float(heavy)})  # fmt: skip

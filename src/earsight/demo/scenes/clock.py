"""A clock on a wall: at each tick its second hand jumps and the pendulum passes the middle."""

import numpy as np
from PIL import Image

from earsight.demo.backdrops import room, wood
from earsight.demo.scene import Scene, length, since, track
from earsight.demo.sounds import at_sample, burst, modes, place
from earsight.demo.stage import MARGIN, SCALE, Brush, Color, darker, hsv, lighter, turned


def _case(
    rng: np.random.Generator, image: Image.Image, x: float, y: float, *, color: Color, face: Color
) -> None:
    """Draw the case, the window of the pendulum and the dial, whose middle is (x, y)."""
    brush = Brush(image)
    brush.soft(x + 10, y + 66, 96, 168, color=(14, 8, 12), alpha=0.75)
    roof = [(x - 66, y - 52), (x, y - 78), (x + 66, y - 52), (x + 62, y - 44), (x - 62, y - 44)]
    brush.shaded(roof, lighter(color, 0.18), darker(color, 0.4))
    board = wood(rng, color, (round(196 * SCALE), round(112 * SCALE))).transpose(
        Image.Transpose.ROTATE_90
    )
    image.paste(board, (round((x - 56 + MARGIN) * SCALE), round((y - 48 + MARGIN) * SCALE)))
    brush.box(x - 56, y - 48, x - 51, y + 148, color=lighter(color, 0.35), alpha=0.6)
    brush.box(x + 50, y - 48, x + 56, y + 148, color=darker(color, 0.5), alpha=0.6)
    brush.shaded([(x - 64, y + 140), (x + 64, y + 140), (x + 56, y + 156), (x - 56, y + 156)],
                 lighter(color, 0.1), darker(color, 0.5))  # fmt: skip
    brush.box(x - 38, y + 50, x + 38, y + 134, color=darker(color, 0.55), radius=6)
    brush.shaded([(x - 34, y + 54), (x + 34, y + 54), (x + 34, y + 130), (x - 34, y + 130)],
                 (26, 20, 22), (58, 44, 40))  # fmt: skip
    brush.disc(x, y, 49, darker(color, 0.6))
    brush.disc(x - 0.6, y - 0.6, 47, (214, 176, 96))
    brush.disc(x, y, 43, darker(face, 0.12))
    brush.disc(x, y + 1, 42, face)
    for k in range(60):
        hour = k % 5 == 0
        mark = turned([(0, -40), (0, -33 if hour else -37.5)], (x, y), k * np.pi / 30)
        brush.stroke(mark, 2.2 if hour and k % 15 == 0 else 1.4 if hour else 0.6, (44, 36, 40))


def _hand(
    brush: Brush, x: float, y: float, turn: float, *, reach: float, wide: float, color: Color
) -> None:
    shape = [
        (-wide, 7),
        (wide, 7),
        (wide * 0.9, -reach * 0.6),
        (0, -reach),
        (-wide * 0.9, -reach * 0.6),
    ]
    brush.polygon(turned(shape, (x + 1.6, y + 2.4), turn), (0, 0, 0), 0.2)
    brush.polygon(turned(shape, (x, y), turn), color)


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    beat = float(rng.uniform(0.3, 0.62))  # seconds between ticks: half a swing of the pendulum
    first = at_sample(rng.uniform(0.15, 0.4))
    events = tuple(at_sample(t) for t in np.arange(first, duration - 0.12, beat))
    x, y = float(rng.uniform(100, 220)), float(rng.uniform(80, 86))
    color = hsv(rng.uniform(0.02, 0.09), rng.uniform(0.5, 0.7), rng.uniform(0.36, 0.66))
    face = lighter(hsv(rng.uniform(0.08, 0.16), 0.2, 0.98), rng.uniform(0.0, 0.6))
    brass = hsv(rng.uniform(0.1, 0.13), 0.55, 0.92)
    wide = float(rng.uniform(0.2, 0.27))
    hour, minute = rng.uniform(0, 2 * np.pi, 2)
    begin = int(rng.integers(60))
    backdrop = room(rng, 214)
    _case(rng, backdrop, x, y, color=color, face=face)

    def paint(brush: Brush, t: float) -> None:
        ticks, gone = since(events, t)
        angle = wide * np.sin(np.pi * (t - first) / beat)  # it passes the middle at each tick
        pivot, rod = (x, y + 20.0), 86.0
        bob = (pivot[0] + rod * np.sin(angle), pivot[1] + rod * np.cos(angle))
        start = (x + 36 * np.sin(angle), y + 54.0)
        brush.soft(bob[0] + 4, bob[1] + 4, 20, 20, color=(0, 0, 0), alpha=0.6)
        brush.stroke([start, bob], 2.4, darker(brass, 0.15))
        brush.disc(*bob, 14, darker(brass, 0.35))
        brush.disc(bob[0] - 0.6, bob[1] - 0.6, 12.6, brass)
        brush.soft(bob[0] - 4, bob[1] - 5, 9, 8, color=(255, 252, 232), alpha=0.85)
        brush.polygon([(x - 30, y + 54), (x - 14, y + 54), (x - 34, y + 96), (x - 34, y + 62)],
                      (255, 255, 255), 0.08)  # fmt: skip
        dark = (40, 34, 40)
        _hand(brush, x, y, hour, reach=23, wide=2.6, color=dark)
        _hand(brush, x, y, minute, reach=34, wide=1.9, color=dark)
        settle = 0.35 * np.exp(-gone / 0.03) * np.cos(2 * np.pi * 16 * gone) if ticks >= 0 else 0.0
        second = (begin + ticks + 1 + settle) * np.pi / 30
        _hand(brush, x, y, second, reach=38, wide=0.9, color=(198, 44, 44))
        brush.disc(x, y, 3.2, (198, 44, 44))
        brush.disc(x, y, 1.4, brass)

    pitch = float(rng.uniform(1700, 2900))
    sound = track(duration)
    for k, event in enumerate(events):
        high = pitch * (1.0 if k % 2 else 0.82)  # tick, tock
        ratios = np.array([1, 1.63, 2.41, 0.29, 0.17])  # the wheels, and the case that carries them
        decays = (0.006, 0.005, 0.004, 0.014, 0.02)
        click = modes(high * ratios, decays, (0.8, 0.7, 0.5, 0.25, 0.2), 0.1)
        place(sound, event, click)
        place(sound, event, burst(rng, 0.02, 2000, 12000, decay=0.0025), 0.5)
    return Scene(duration, events, backdrop, paint, sound, (0.15, 0.5),
                 {"beat_s": beat, "pitch_hz": pitch})  # fmt: skip

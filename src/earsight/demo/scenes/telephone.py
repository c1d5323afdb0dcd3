"""A telephone with a dial that rings and shakes."""

from collections.abc import Sequence

import numpy as np

from earsight.demo.backdrops import table
from earsight.demo.scene import Scene, length, since, track
from earsight.demo.sounds import at_sample, modes, place
from earsight.demo.stage import Brush, Color, Point, curve, darker, hsv, lighter, turned


def _handset(brush: Brush, x: float, y: float, turn: float, *, color: Color) -> None:
    shape = curve([(-84, 4), (-80, -14), (-58, -25), (-20, -31), (20, -31), (58, -25), (80, -14),
                   (84, 4), (76, 12), (54, 10), (44, -6), (20, -13), (-20, -13), (-44, -6),
                   (-54, 10), (-76, 12)])  # fmt: skip
    brush.polygon(turned(shape, (x + 3, y + 6), turn), (0, 0, 0), 0.3)
    brush.shaded(turned(shape, (x, y), turn), lighter(color, 0.3), darker(color, 0.4))
    shine = [(-64, -17), (-22, -26.5), (22, -26.5), (62, -18)]
    brush.stroke(turned(shine, (x, y), turn), 2.2, lighter(color, 0.75), 0.6)


def _telephone(
    brush: Brush, x: float, y: float, turn: float, *, hop: float, color: Color, dial: Color
) -> None:
    """Draw the telephone at (x, y), turned by `turn`, its handset `hop` above the cradle."""

    def put(points: Sequence[Point]) -> list[Point]:
        return turned(points, (x, y), turn)

    body = curve([(-78, -4), (-76, -18), (-58, -48), (-42, -84), (-24, -94), (24, -94), (42, -84),
                  (58, -48), (76, -18), (78, -4), (62, 2), (-62, 2)])  # fmt: skip
    for side in (-56, 56):
        brush.box(x + side - 12, y - 2, x + side + 12, y + 5, color=(24, 20, 24), radius=3)
    brush.shaded(put(body), lighter(color, 0.16), darker(color, 0.45))
    shine = [(-64, -24), (-50, -54), (-36, -82)]
    brush.stroke(put(shine), 3, lighter(color, 0.7), 0.5)
    for side in (-1, 1):
        fork = [(22, -88), (22, -106), (36, -112), (40, -106), (30, -100), (30, -88)]
        brush.shaded(put([(side * a, b) for a, b in fork]), lighter(color, 0.1), darker(color, 0.4))
    [centre] = put([(0, -44)])
    brush.disc(centre[0] + 1, centre[1] + 2, 35, darker(color, 0.6))
    brush.disc(*centre, 33, (206, 210, 216))
    brush.disc(*centre, 31, dial)
    for k in range(10):
        [hole] = turned([(0, -22.5)], centre, 0.6 + k * 0.53)
        brush.disc(*hole, 5.6, darker(dial, 0.35))
        brush.disc(hole[0] + 0.4, hole[1] + 0.6, 4.8, (52, 48, 56))
    brush.disc(*centre, 12.5, darker(dial, 0.25))
    brush.disc(*centre, 11.3, lighter(dial, 0.6))
    brush.stroke(turned([(19, 17), (29, 25)], centre), 3, (206, 210, 216))
    _handset(brush, x + 60 * np.sin(turn), y - 106 - hop, 1.6 * turn, color=color)


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    ring, pause = rng.uniform(0.5, 0.95), rng.uniform(0.3, 0.55)
    first = at_sample(rng.uniform(0.25, 0.5))
    events = tuple(at_sample(t) for t in np.arange(first, duration - 0.35, ring + pause))
    rate = float(rng.uniform(19, 25))  # strokes of the clapper a second
    x, y = float(rng.uniform(128, 192)), float(rng.uniform(196, 206))
    color = hsv(rng.random(), rng.uniform(0.4, 0.85), rng.uniform(0.3, 0.85))
    dial = lighter(hsv(rng.uniform(0.08, 0.16), 0.25, 0.95), 0.3)
    backdrop = table(rng, rng.uniform(160, 172))
    Brush(backdrop).soft(x + 6, y + 2, 124, 20, color=(12, 8, 10), alpha=0.85)

    def paint(brush: Brush, t: float) -> None:
        _, gone = since(events, t)
        level = 1.0 if gone < ring else float(np.exp(-(gone - ring) / 0.04)) if gone < 9 else 0.0
        turn = 0.035 * level * np.cos(2 * np.pi * 10.5 * gone) if level > 0.01 else 0.0
        hop = 6.5 * level * abs(np.sin(2 * np.pi * 10.5 * gone + 0.9)) if level > 0.01 else 0.0
        if level > 0.5:
            for k in range(3):
                r = 102 + 20 * k + 22 * ((gone * 3.1) % 1)
                seen = 0.75 * level * (1 - (r - 102) / 84)
                for start in (-38, 166):
                    brush.arc(
                        x,
                        y - 78,
                        r,
                        start,
                        end=start + 52,
                        width=3,
                        color=(255, 250, 236),
                        alpha=max(0.0, seen),
                    )
        _telephone(brush, x, y, turn, hop=hop, color=color, dial=dial)

    pitch = float(rng.uniform(950, 1500))
    partials, decays = np.array([1, 2.76, 4.07, 5.4]), (0.12, 0.09, 0.06, 0.04)
    bells = [modes(p * partials, decays, (1, 0.7, 0.4, 0.25), 0.5) for p in (pitch, 1.25 * pitch)]
    sound = track(duration)
    for event in events:
        for k in range(int(ring * rate)):
            place(
                sound,
                event + k / rate,
                bells[k % 2],
                1.0 if k == 0 else float(rng.uniform(0.7, 0.9)),
            )
    return Scene(duration, events, backdrop, paint, sound, (0.2, 0.6),
                 {"pitch_hz": pitch, "strokes_hz": rate})  # fmt: skip

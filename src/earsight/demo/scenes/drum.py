"""A drum under two sticks."""

from collections.abc import Sequence

import numpy as np

from earsight.arrays import FloatArray
from earsight.demo.backdrops import room
from earsight.demo.scene import Scene, beats, length, raised, since, track
from earsight.demo.sounds import at_sample, burst, modes, place, seconds, sweep
from earsight.demo.stage import Brush, Color, darker, hsv, lighter, mix, turned

KINDS = {"snare drum": (80.0, 52.0), "tom-tom": (70.0, 84.0), "bass tom": (88.0, 92.0)}
MEMBRANE = np.array([1.0, 1.59, 2.14, 2.30, 2.65, 2.92])  # an ideal drumhead's modes, f/f₀


def _stick(brush: Brush, tip: tuple[float, float], turn: float, side: int, *, color: Color) -> None:
    shape = [
        (0, -2.4),
        (5, -3.6),
        (10, -2),
        (60, -3.4),
        (150, -4),
        (150, 4),
        (60, 3.4),
        (10, 2),
        (5, 3.6),
        (0, 2.4),
    ]
    points = [(side * x, y) for x, y in turned(shape, (0, 0), -turn)]
    moved = [(tip[0] + x, tip[1] + y) for x, y in points]
    brush.polygon([(x + 3, y + 5) for x, y in moved], (10, 8, 12), 0.22)
    brush.shaded(moved, lighter(color, 0.3), darker(color, 0.3))


def _shell(brush: Brush, x: float, y: float, rx: float, *, tall: float, color: Color) -> None:
    ry = rx * 0.34
    brush.soft(x + 8, y + tall + 4, rx * 1.45, ry * 1.2, color=(14, 8, 14), alpha=0.8)
    columns = 40
    for k in range(columns):  # a cylinder, lit from the left
        a, b = np.pi * k / columns, np.pi * (k + 1.15) / columns
        xs = [x - rx * np.cos(v) for v in (a, b)]
        ys = [y + ry * np.sin(v) for v in (a, b)]
        light = np.clip(np.cos(a - 0.9), 0, 1)
        tone = mix(darker(color, 0.62), lighter(color, 0.3), float(light) ** 1.5)
        brush.polygon(
            [(xs[0], ys[0]), (xs[1], ys[1]), (xs[1], ys[1] + tall), (xs[0], ys[0] + tall)], tone
        )
    chrome = (214, 218, 224)
    for angle in np.linspace(0.25, np.pi - 0.25, 6):
        lx, ly = x - rx * np.cos(angle), y + ry * np.sin(angle)
        brush.box(lx - 1.3, ly + 6, lx + 1.3, ly + tall - 2, color=darker(chrome, 0.15))
        brush.box(lx - 3, ly + tall * 0.4, lx + 3, ly + tall * 0.62, color=chrome, radius=1.5)
    for level in (0.0, tall):
        hoop = [
            (x - rx * 1.02 * np.cos(v), y + level + ry * np.sin(v))
            for v in np.linspace(0, np.pi, 40)
        ]
        brush.stroke(hoop, 6, darker(chrome, 0.35))
        brush.stroke([(px, py - 1.5) for px, py in hoop], 2, lighter(chrome, 0.5))


def _sound(
    rng: np.random.Generator,
    duration: float,
    events: Sequence[float],
    force: FloatArray,
    *,
    kind: str,
    pitch: float,
) -> FloatArray:
    """Sound the strokes: a skin whose pitch falls, the stick, and the snares."""
    sound = track(duration)
    for event, strength in zip(events, force, strict=True):
        t = seconds(0.7)
        body = 0.9 * sweep(pitch * (1 + 0.5 * np.exp(-t / 0.03))) * np.exp(-t / 0.16)
        body += modes(
            pitch * MEMBRANE[1:], [0.1, 0.08, 0.07, 0.06, 0.05], [0.5, 0.3, 0.3, 0.2, 0.2], 0.7
        )
        place(sound, event, body, strength)
        place(sound, event, burst(rng, 0.05, 400, 7000, decay=0.006), 0.5 * strength)
        if kind == "snare drum":
            place(sound, event, burst(rng, 0.4, 1800, 12000, decay=0.07), 0.45 * strength)
    return sound


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    kind = str(rng.choice(list(KINDS)))
    rx, tall = KINDS[kind]
    rx *= rng.uniform(0.92, 1.08)
    ry, x, y = rx * 0.34, rng.uniform(136, 184), rng.uniform(112, 124)
    events = _pattern(rng, duration)
    sides = np.arange(len(events)) % 2 * 2 - 1
    force = rng.uniform(0.65, 1.0, len(events))
    color = hsv(rng.random(), rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.85))
    sticks = hsv(rng.uniform(0.07, 0.11), rng.uniform(0.3, 0.55), 0.88)
    backdrop = room(rng, 168)
    _shell(Brush(backdrop), x, y, rx, tall=tall, color=color)
    strikes = {
        side: [e for e, s in zip(events, sides, strict=True) if s == side] for side in (-1, 1)
    }
    spot = rng.uniform(0.18, 0.3)

    def paint(brush: Brush, t: float) -> None:
        hit, gone = since(events, t)
        shake = force[hit] * np.exp(-gone / 0.11) if hit >= 0 else 0.0
        brush.oval(x, y, rx * 1.03, ry * 1.06, color=(150, 154, 162))
        brush.oval(x, y, rx * 0.97, ry * 0.95, color=mix((238, 232, 220), (255, 255, 250), shake))
        brush.oval(x, y + 1.5, rx * 0.86, ry * 0.82, color=(246, 242, 232))
        if shake > 0.03:
            at = x + sides[hit] * spot * rx
            for ring in range(3):
                r = (0.16 + 0.2 * ring + 1.6 * gone) % 0.8
                brush.ring(
                    x + (at - x) * (1 - r),
                    y,
                    rx * r,
                    ry * r,
                    width=1.6,
                    color=(150, 138, 128),
                    alpha=0.75 * shake,
                )
            brush.soft(at, y, rx * 0.3, ry * 0.4, color=(110, 96, 92), alpha=0.7 * shake)
        for side in (-1, 1):
            lift = raised(strikes[side], t, fall=0.1, rise=0.22) if strikes[side] else 1.0
            tip = (x + side * (spot * rx + 12 * lift), y - 48 * lift - 1)
            _stick(brush, tip, 0.22 + 0.42 * lift, side, color=sticks)

    pitch = {"snare drum": 190.0, "tom-tom": 125.0, "bass tom": 82.0}[kind] * rng.uniform(0.85, 1.2)
    sound = _sound(rng, duration, events, force, kind=kind, pitch=float(pitch))
    return Scene(duration, events, backdrop, paint, sound, (0.2, 0.6),
                 {"kind": kind, "pitch_hz": float(pitch)})  # fmt: skip


def _pattern(rng: np.random.Generator, duration: float) -> tuple[float, ...]:
    """A steady beat, some of whose strokes are doubled."""
    steady = beats(rng, duration, (0.4, 0.62))
    doubled = [t + 0.2 for t in steady if rng.random() < 0.3 and t + 0.6 < duration]
    return tuple(sorted({at_sample(t) for t in (*steady, *doubled)}))

"""A rescue car at night whose two lights change with the two tones of its siren."""

from collections.abc import Sequence

import numpy as np

from earsight.arrays import FloatArray
from earsight.demo.backdrops import BOTTOM, LEFT, RIGHT, night, vignette
from earsight.demo.scene import Scene, length, track
from earsight.demo.sounds import RATE, at_sample, seconds
from earsight.demo.stage import Brush, Color, curve, darker, lighter, mix, turned

BLUE, RED, AMBER = (60, 120, 255), (255, 56, 62), (255, 170, 40)
LIVERIES: dict[str, tuple[Color, Color, tuple[Color, Color]]] = {
    "ambulance": ((244, 244, 238), (222, 66, 52), (BLUE, RED)),
    "police car": ((58, 74, 118), (238, 240, 244), (BLUE, RED)),
    "fire engine": ((200, 44, 38), (246, 224, 120), (BLUE, BLUE)),
    "emergency doctor": ((242, 200, 60), (44, 104, 84), (BLUE, AMBER)),
}
CAR = [(-96, 0), (-98, -22), (-92, -36), (-62, -42), (-38, -66), (34, -68), (62, -42), (92, -36),
       (98, -20), (96, 0)]  # fmt: skip
VAN = [
    (-98, 0),
    (-100, -66),
    (-94, -84),
    (40, -86),
    (60, -80),
    (78, -48),
    (96, -38),
    (100, -18),
    (98, 0),
]


def _body(brush: Brush, x: float, y: float, kind: str) -> float:
    """Draw the car with its sill at (x, y); return how far its roof is above that."""
    paint, stripe, _ = LIVERIES[kind]
    van = kind in ("ambulance", "fire engine")
    brush.soft(x, y + 17, 128, 13, color=(4, 4, 8), alpha=0.9)
    outline = VAN if van else CAR
    brush.shaded(turned(outline, (x, y)), lighter(paint, 0.12), darker(paint, 0.42))
    glass, pane = (128, 156, 184), (40, 52, 74)
    if van:
        front = [(44, -78), (58, -74), (75, -47), (44, -47)]
        windows = [front, [(14, -78), (36, -78), (36, -47), (14, -47)]]
        if kind == "fire engine":
            windows += [[(k, -76), (k + 22, -76), (k + 22, -52), (k, -52)] for k in (-90, -62, -34)]
        brush.box(x - 99, y - 36, x + 97, y - 24, color=stripe)
    else:
        windows = [
            [(-54, -44), (-35, -62), (-4, -63), (-4, -44)],
            [(2, -44), (2, -63), (31, -64), (52, -44)],
        ]
        brush.box(x - 96, y - 30, x + 96, y - 20, color=stripe)
    for window in windows:
        brush.shaded(turned(window, (x, y)), glass, pane)
    for k in range(-94, 92, 16):
        slant = [(k, -24), (k + 7, -24), (k + 11, -20), (k + 4, -20)]
        brush.polygon(turned(slant, (x, y)), mix(stripe, (255, 255, 255), 0.55), 0.7)
    if kind == "ambulance":
        for turn in (0.0, np.pi / 3, -np.pi / 3):
            bar = turned([(-3.2, -13), (3.2, -13), (3.2, 13), (-3.2, 13)], (x - 44, y - 60), turn)
            brush.polygon(bar, (52, 110, 200))
    brush.box(x - 99, y - 4, x + 99, y + 3, color=(38, 40, 50), radius=3)
    brush.box(x + 90, y - 30, x + 98, y - 22, color=(255, 248, 214), radius=2)
    brush.soft(x + 104, y - 25, 34, 18, color=(255, 244, 200), alpha=0.5)
    brush.box(x - 100, y - 30, x - 95, y - 20, color=(230, 50, 50), radius=1.5)
    return 86.0 if van else 67.0


def _wheel(brush: Brush, x: float, y: float, turn: float) -> None:
    brush.disc(x, y, 18, (20, 20, 26))
    brush.disc(x, y, 10.5, (176, 182, 192))
    for k in range(5):
        spoke = turned(
            [(2.5, -1.6), (9.5, -2.2), (9.5, 2.2), (2.5, 1.6)], (x, y), turn + k * 1.2566
        )
        brush.polygon(spoke, (70, 74, 84))
    brush.disc(x, y, 2.5, (90, 94, 104))


def _sound(duration: float, events: Sequence[float], low: float, interval: float) -> FloatArray:
    """Sound two tones in turn, the higher one from the first event on, through a horn."""
    t, changes = seconds(duration), np.array([-1.0, *events])  # it sounded before the clip began
    phase = np.searchsorted(changes, t + 1e-9, side="right") - 1
    high = low * interval
    to = np.where(phase % 2 == 1, high, low)
    glide = np.exp(-(t - changes[phase]) / 0.018)  # it starts to change at once, τ 18 ms
    tone = to + (high + low - 2 * to) * glide
    turn = 2 * np.pi * np.cumsum(tone) / RATE
    sound = track(duration)
    for k in range(1, 9):
        sound += np.sin(k * turn) / k**0.8 * np.exp(-(((k * tone - 1500) / 2600) ** 2))
    return np.asarray(np.tanh(1.4 * sound))


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    kind = str(rng.choice(list(LIVERIES)))
    period, first = rng.uniform(0.36, 0.62), rng.uniform(0.1, 0.3)
    events = tuple(at_sample(t) for t in np.arange(first, duration - 0.1, period))
    road = 206.0
    start, speed = rng.uniform(110, 160), rng.uniform(4, 18)
    backdrop = night(rng, road - 26)
    brush = Brush(backdrop)
    brush.shaded([(LEFT, road - 26), (RIGHT, road - 26), (RIGHT, BOTTOM), (LEFT, BOTTOM)],
                 (52, 54, 68), (26, 27, 36))  # fmt: skip
    brush.box(LEFT, road - 28, RIGHT, road - 23, color=(84, 86, 100))
    for x in range(-10, 340, 70):
        brush.polygon([(x, 231), (x + 38, 231), (x + 36, 235), (x - 4, 235)], (196, 190, 170), 0.7)
    for x in rng.uniform(0, 320, 2):
        crown = curve(turned([(-20, 0), (-14, -24), (6, -30), (22, -14), (18, 6)], (x, road - 60)))
        brush.stroke([(x, road - 60), (x, road - 26)], 4, (22, 22, 30))
        brush.polygon(crown, (20, 30, 36))
    backdrop = vignette(backdrop)
    colors = LIVERIES[kind][2]

    def paint(brush: Brush, t: float) -> None:
        phase = int(np.searchsorted(events, t, side="right"))  # 0 is before the first change
        gone = t - (events[phase - 1] if phase else events[0] - period)
        pulse = 0.72 + 0.28 * np.cos(2 * np.pi * gone / period * 2)
        x, y = start + speed * t, road + 0.6 * np.sin(2 * np.pi * 9 * t)
        side = 1 if phase % 2 else -1
        color = colors[phase % 2]
        roof = 86.0 if kind in ("ambulance", "fire engine") else 67.0
        lamp = (x - 4 + 13 * side, y - roof - 6)
        brush.soft(*lamp, 210, 150, color=color, alpha=0.55 * pulse)
        brush.soft(x + 60 * side, y + 22, 150, 22, color=color, alpha=0.4 * pulse)
        _body(brush, x, y, kind)
        for wheel in (-60, 62):
            brush.disc(x + wheel, y, 21, (14, 14, 20))
            _wheel(brush, x + wheel, road + 2, speed * t / 18)
        brush.box(x - 32, y - roof - 3, x + 24, y - roof + 1, color=(44, 46, 56), radius=1)
        for end, unlit in ((-1, colors[0]), (1, colors[1])):
            lit = end == side
            tone = lighter(unlit, 0.55) if lit else darker(unlit, 0.6)
            middle = x - 4 + 13 * end
            brush.box(middle - 12, y - roof - 12, middle + 12, y - roof - 2, color=tone, radius=3)
        brush.soft(*lamp, 46, 34, color=lighter(color, 0.35), alpha=0.95 * pulse)
        brush.soft(*lamp, 16, 12, color=(255, 255, 255), alpha=0.95 * pulse)

    low, interval = float(rng.uniform(380, 520)), float(rng.choice([4 / 3, 6 / 5, 3 / 2]))
    sound = _sound(duration, events, low, interval)
    return Scene(duration, events, backdrop, paint, sound, (0.5, 1.3),
                 {"kind": kind, "low_hz": low, "interval": interval})  # fmt: skip

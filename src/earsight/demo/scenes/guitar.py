"""A guitar whose strings are plucked: a string swings as wide as it is loud."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from earsight.arrays import FloatArray
from earsight.demo.backdrops import RIGHT, vignette, wood
from earsight.demo.scene import Scene, beats, length, track
from earsight.demo.sounds import place, pluck
from earsight.demo.stage import Brush, Color, canvas, curve, darker, hsv, lighter, mix, turned

OPEN_STRINGS = np.array([82.41, 110.0, 146.83, 196.0, 246.94, 329.63])  # Hz, E A D G B E
CHORDS = {
    "E minor": (0, 2, 2, 0, 0, 0), "G": (3, 2, 0, 0, 0, 3), "D": (0, 0, 0, 2, 3, 2),
    "C": (0, 3, 2, 0, 1, 0), "A minor": (0, 0, 2, 2, 1, 0),
}  # fmt: skip
BRIDGE, NUT = -40.0, 420.0  # where the strings end, beyond the frame on both sides


def _body(rng: np.random.Generator, tone: Color, hole: float) -> Image.Image:
    """Draw the top of a guitar seen from close by, its sound hole around x = `hole`."""
    image = canvas()
    image.paste(wood(rng, tone, image.size))
    brush = Brush(image)
    brush.soft(80, 10, 300, 200, color=lighter(tone, 0.45), alpha=0.65)
    dark, pale, red = darker(tone, 0.6), lighter(tone, 0.6), mix(tone, (150, 60, 40), 0.5)
    ink = (38, 28, 26)
    for r, color in ((76, dark), (74, pale), (71, ink), (69, pale), (66, red), (62, ink)):
        brush.disc(hole, 120, r, color)
    for k in range(48):  # inlay
        at = turned([(67.2, 0)], (hole, 120), k * np.pi / 24)[0]
        brush.disc(*at, 1.1, (238, 226, 196))
    brush.disc(hole, 120, 60, (22, 15, 15))
    brush.soft(hole + 16, 142, 50, 40, color=(74, 48, 36), alpha=0.7)
    neck = hole + 58
    brush.box(neck, 56, RIGHT + 2, 190, color=(12, 8, 8), alpha=0.35)
    board = [(neck, 60), (RIGHT + 2, 56), (RIGHT + 2, 184), (neck, 180)]
    brush.shaded(board, (70, 48, 42), (44, 30, 28))
    for x in np.arange(neck + 12, RIGHT, 24.0):
        brush.box(x - 1, 58, x + 1.4, 182, color=(206, 200, 186))
        brush.box(x + 1.4, 58, x + 2.4, 182, color=(20, 14, 14), alpha=0.6)
    brush.disc(neck + 48, 120, 4.2, (240, 234, 220))
    guard = [(-58, 178), (-20, 190), (34, 186), (52, 206), (24, 252), (-40, 254), (-76, 214)]
    brush.polygon(curve(turned(guard, (hole, 0))), (38, 24, 26), 0.88)
    return vignette(image, 0.4)


def _pick(brush: Brush, x: float, y: float, color: Color) -> None:
    shape = [(0, 15), (-6, 7), (-12, -6), (-9, -13), (0, -15), (9, -13), (12, -6), (6, 7)]
    brush.polygon(turned(shape, (x + 4, y + 5)), (0, 0, 0), 0.35)
    brush.shaded(turned(shape, (x, y)), lighter(color, 0.3), darker(color, 0.25))
    brush.polygon(turned(shape, (x - 1.5, y - 2), 0.0, 0.45), lighter(color, 0.5), 0.55)


def _string(brush: Brush, number: int, y: float, wide: float, *, t: float) -> None:
    """Draw a string at height `y` that swings by `wide` pixels: too fast for a camera, so a blurred
    belly, and the string somewhere in it."""
    thick = 2.6 - 0.3 * number
    metal = (214, 168, 104) if number < 3 else (228, 230, 234)
    brush.stroke([(BRIDGE, y + 5), (NUT, y + 5)], thick + 0.6 * wide, (0, 0, 0), 0.25)
    if wide <= 0.4:
        brush.stroke([(BRIDGE, y), (NUT, y)], thick, metal)
        brush.stroke([(BRIDGE, y - 0.5), (NUT, y - 0.5)], 0.6, lighter(metal, 0.7))
        return
    along = np.linspace(0, 1, 41)
    xs = BRIDGE + (NUT - BRIDGE) * along
    belly = wide * np.sin(np.pi * along)
    outline = np.concatenate([np.stack([xs, y - belly], 1), np.stack([xs, y + belly], 1)[::-1]])
    brush.polygon(map(tuple, outline.tolist()), lighter(metal, 0.2), 0.42)
    phase = np.cos(2 * np.pi * (7.3 + number) * t)
    now = y + belly * phase + 0.35 * wide * np.sin(3 * np.pi * along) * phase
    brush.stroke(list(zip(xs.tolist(), now.tolist(), strict=True)), thick, metal)


def _sound(
    rng: np.random.Generator,
    duration: float,
    events: Sequence[float],
    pitches: FloatArray,
    *,
    decay: float,
    bright: float,
) -> FloatArray:
    """Pluck a string at each event; it sounds until it is plucked again."""
    sound = track(duration)
    for k, (event, pitch) in enumerate(zip(events, pitches, strict=True)):
        later = zip(events[k + 1 :], pitches[k + 1 :], strict=True)
        until = min((e for e, p in later if p == pitch), default=duration)
        note = pluck(rng, pitch, until - event, decay, bright=bright)
        note[-200:] *= np.linspace(1, 0, len(note[-200:]))
        place(sound, event, note, rng.uniform(0.75, 1.0))
    return sound


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    events = beats(rng, duration, (0.34, 0.72))
    chord = str(rng.choice(list(CHORDS)))
    pitches = OPEN_STRINGS * 2 ** (np.array(CHORDS[chord]) / 12)
    order = rng.permutation(6)
    strings = [
        int(order[k % 6]) if rng.random() < 0.25 else (k * 2 + k // 3) % 6
        for k in range(len(events))
    ]
    decay = float(rng.uniform(0.5, 1.1))
    hole = float(rng.uniform(120, 176))
    tone = hsv(rng.uniform(0.055, 0.11), rng.uniform(0.45, 0.75), rng.uniform(0.6, 0.9))
    plectrum = hsv(rng.random(), 0.7, 0.9)
    rows = 72 + 19.2 * np.arange(6)  # the lowest string is on top
    strike_at = hole - rng.uniform(6, 40)

    def swing(string: int, t: float) -> float:
        """How wide it swings, 0 to 1: the level of its sound."""
        plucks = [t - e for e, s in zip(events, strings, strict=True) if s == string and e <= t]
        return float(np.exp(-min(plucks) / decay)) if plucks else 0.0

    def paint(brush: Brush, t: float) -> None:
        for string, y in enumerate(rows):
            _string(brush, string, y, 10.0 * swing(string, t), t=t)
        _pick(brush, *_hand(t), plectrum)

    def _hand(t: float) -> tuple[float, float]:
        """Where the plectrum is: its tip leaves the string at the moment of the event."""
        knots, places = [0.0], [rows[strings[0]] - 34]
        for event, string in zip(events, strings, strict=True):
            knots += [event - 0.07, event, event + 0.06]
            places += [rows[string] - 27, rows[string] - 14, rows[string] - 2]
        y = float(np.interp(t, knots, places))
        return strike_at + 5 * np.sin(1.7 * t), y

    bright = float(rng.uniform(0.2, 0.9))
    sound = _sound(rng, duration, events, pitches[strings], decay=decay, bright=bright)
    backdrop = _body(rng, tone, hole)
    return Scene(duration, events, backdrop, paint, sound, (0.3, 0.9),
                 {"chord": chord, "decay_s": decay, "bright": bright})  # fmt: skip

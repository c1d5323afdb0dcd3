"""A hammer that drives a nail into a board, or strikes a glowing iron on an anvil."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from earsight.arrays import FloatArray
from earsight.demo.backdrops import room, table, vignette
from earsight.demo.scene import Scene, beats, length, raised, since, track
from earsight.demo.sounds import burst, modes, place
from earsight.demo.stage import Brush, Color, Point, canvas, curve, darker, hsv, lighter, turned

# The partials of what is struck, f/f₀.
ANVIL = np.array([1, 2.32, 3.91, 5.4, 7.2])
NAIL = np.array([0.5, 1, 2.7, 7.3, 11.9])


def _anvil(brush: Brush, x: float, y: float) -> None:
    """Draw an anvil whose face is at height `y` around `x`."""
    steel = (92, 98, 110)
    brush.soft(x, 228, 130, 26, color=(8, 6, 12), alpha=0.8)
    stump = [(x - 62, y + 66), (x + 62, y + 66), (x + 70, 252), (x - 70, 252)]
    brush.shaded(stump, (122, 88, 62), (64, 44, 36))
    for ring in (-36, -8, 22, 46):
        brush.stroke([(x + ring, y + 70), (x + 1.1 * ring, 250)], 1.2, (52, 36, 30), 0.6)
    body = turned([(-66, 0), (62, 0), (60, 16), (30, 24), (22, 44), (46, 58), (46, 68),
                   (-46, 68), (-46, 58), (-22, 44), (-28, 24), (-60, 18)], (x, y))  # fmt: skip
    horn = curve([(x - 60, y + 1), (x - 116, y + 4), (x - 100, y + 12), (x - 60, y + 20)])
    brush.shaded(horn, lighter(steel, 0.3), darker(steel, 0.6))
    brush.shaded(body, lighter(steel, 0.18), darker(steel, 0.72))
    brush.box(x - 68, y - 2, x + 64, y + 3, color=lighter(steel, 0.62), radius=1.5)


def _hammer(
    brush: Brush, grip: tuple[float, float], turn: float, wood: Color, *, claw: bool
) -> None:
    """Draw a hammer held at `grip`: its face is 150 to the left and, with `turn` 0, looks down."""

    def part(points: Sequence[Point]) -> list[Point]:
        return turned(points, grip, turn)

    steel = (128, 136, 150)
    handle = [
        (40, -5),
        (-20, -6),
        (-80, -4),
        (-150, -4.5),
        (-150, 4.5),
        (-80, 4),
        (-20, 6),
        (40, 5),
    ]
    brush.shaded(part(handle), lighter(wood, 0.25), darker(wood, 0.45))
    brush.stroke(part([(30, -2), (-140, -1.6)]), 1.1, lighter(wood, 0.6), 0.5)
    if claw:
        head = [(-164, -16), (-160, -30), (-142, -46), (-118, -50), (-130, -40), (-137, -26),
                (-136, -14), (-138, 12), (-132, 13), (-132, 24), (-168, 24), (-168, 13),
                (-162, 12)]  # fmt: skip
    else:
        head = [(-160, -38), (-152, -41), (-144, -38), (-139, -30), (-134, -14), (-133, 10),
                (-129, 15), (-129, 24), (-171, 24), (-171, 15), (-167, 10), (-166, -14),
                (-165, -30)]  # fmt: skip
    brush.shaded(part(head), lighter(steel, 0.3), darker(steel, 0.5))
    brush.stroke(part([(-159, -12), (-159, 12)]), 2.4, lighter(steel, 0.7), 0.7)
    brush.polygon(part([(-170, 20), (-130, 20), (-130, 24), (-170, 24)]), lighter(steel, 0.45))


def _sparks(brush: Brush, x: float, y: float, gone: float, *, flights: FloatArray) -> None:
    """Draw sparks thrown from (x, y), `gone` seconds ago; flights: (n, 3) of vx, vy, lifetime."""
    for vx, vy, life in flights:
        left = 1 - gone / life
        if left <= 0:
            continue
        ends = [(x + vx * s, y + vy * s + 420 * s * s) for s in (gone, max(0.0, gone - 0.028))]
        brush.stroke(ends, 0.8 + 1.1 * left, (255, 170 + round(70 * left), 90), left**0.5)


def _forge(rng: np.random.Generator, x: float) -> Image.Image:
    image = vignette(_brick(rng), 0.75)
    Brush(image).soft(x + rng.choice([-130, 130]), 150, 190, 150, color=(255, 136, 50), alpha=0.6)
    return image


def _brick(rng: np.random.Generator) -> Image.Image:
    base = hsv(rng.uniform(0.0, 0.08), rng.uniform(0.2, 0.4), rng.uniform(0.3, 0.42))
    image = canvas(darker(base, 0.5))
    brush = Brush(image)
    for row, y in enumerate(range(-12, 256, 18)):
        for x in range(-50 - 20 * (row % 2), 340, 40):
            brick = darker(base, rng.uniform(0.0, 0.35))
            brush.shaded(
                [(x, y), (x + 38, y), (x + 38, y + 16), (x, y + 16)], lighter(brick, 0.08), brick
            )
    return image


def _iron(brush: Brush, x: float, y: float, heat: float) -> None:
    """Draw the glowing iron that lies on the anvil's face."""
    bar = [(x - 34, y - 7), (x + 92, y - 6), (x + 92, y), (x - 34, y)]
    brush.soft(x - 10, y - 4, 70, 34, color=(255, 140, 40), alpha=0.4 + 0.4 * heat)
    brush.shaded(bar, (255, 206, 110), (240, 96, 36))
    brush.box(x + 40, y - 6.5, x + 95, y, color=(96, 60, 56), alpha=0.75)


def _nail(brush: Brush, x: float, top: float, y: float) -> None:
    """Draw a nail that stands in a board at height `y`, its head at `top`."""
    brush.box(x - 1.7, top + 3, x + 1.7, y, color=(170, 176, 188))
    brush.box(x - 0.2, top + 3, x + 0.8, y, color=(232, 236, 240))
    brush.box(x - 6.5, top, x + 6.5, top + 3.5, color=(188, 194, 204), radius=1)


def _rays(brush: Brush, x: float, y: float, gone: float) -> None:
    """Draw the short lines that say: a blow fell here, `gone` seconds ago."""
    for angle in (-2.7, -2.2, -0.9, -0.45):
        reach = 16 + 90 * gone, 24 + 110 * gone
        ray = [(x + r * np.cos(angle), y + r * np.sin(angle)) for r in reach]
        brush.stroke(ray, 1.6, (255, 250, 236), max(0.0, 1 - gone / 0.16))


def _sound(
    rng: np.random.Generator,
    duration: float,
    events: Sequence[float],
    force: FloatArray,
    *,
    kind: str,
    pitch: float,
) -> FloatArray:
    """Sound the blows: an anvil rings long; a nail rings higher the deeper it is."""
    sound = track(duration)
    for number, (event, strength) in enumerate(zip(events, force, strict=True)):
        if kind == "anvil":
            decays = (0.16, 0.14, 0.12, 0.08, 0.05)  # the hot iron damps it
            ring = modes(pitch * ANVIL, decays, (0.5, 0.7, 0.9, 0.7, 0.6), 0.8)
        else:
            decays = (0.05, 0.06, 0.03, 0.05, 0.04)
            tight = pitch * (1 + 0.05 * number)
            ring = modes(tight * NAIL, decays, (0.9, 0.8, 0.5, 0.4, 0.3), 0.4)
        place(sound, event, ring, strength)
        place(sound, event, burst(rng, 0.08, 500, 9000, decay=0.008), 1.1 * strength)
    return sound


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    events = beats(rng, duration, (0.5, 0.85))
    force = rng.uniform(0.75, 1.0, len(events))
    anvil = rng.random() < 0.5
    x = rng.uniform(105, 150)
    wood_color = hsv(rng.uniform(0.05, 0.1), rng.uniform(0.45, 0.7), rng.uniform(0.55, 0.8))
    face = rng.uniform(150, 162) if anvil else 196.0
    reach = rng.uniform(0.4, 0.52)
    flights = np.stack(
        [rng.normal(0, 170, (len(events), 26)), -rng.gamma(4, 60, (len(events), 26)),
         rng.uniform(0.1, 0.42, (len(events), 26))], axis=-1
    )  # fmt: skip
    depth = 30 * np.cumsum(force) / force.sum() if not anvil else np.zeros(len(events))
    if anvil:
        backdrop = _forge(rng, x)
        _anvil(Brush(backdrop), x, face)
    else:
        backdrop = room(rng, 150) if rng.random() < 0.3 else table(rng, 176)
        _board(Brush(backdrop), face, hsv(rng.uniform(0.07, 0.11), 0.42, 0.84))

    def paint(brush: Brush, t: float) -> None:
        hit, gone = since(events, t)
        lift = raised(events, t)
        if anvil:
            _iron(brush, x, face, float(np.exp(-gone / 0.2)))
            top, target = face - 7, x - 8
        else:
            top, target = face - 43 + (depth[hit] if hit >= 0 else 0.0), x
            _nail(brush, x, top, face)
        grip = (target + 150 + 4 * lift, top - 24 - 16 * lift)
        _hammer(brush, grip, reach * lift, wood_color, claw=not anvil)
        if gone < 0.45:
            if anvil:
                brush.soft(target, top, 60, 46, color=(255, 236, 190), alpha=np.exp(-gone / 0.05))
                _sparks(brush, target, top, gone, flights=flights[hit])
            else:
                _rays(brush, x, top + 3, gone)

    kind = "anvil" if anvil else "nail"
    pitch = float(rng.uniform(620, 1000) if anvil else rng.uniform(230, 380))
    sound = _sound(rng, duration, events, force, kind=kind, pitch=pitch)
    return Scene(duration, events, backdrop, paint, sound, (0.2, 0.7),
                 {"kind": kind, "pitch_hz": pitch})  # fmt: skip


def _board(brush: Brush, y: float, color: Color) -> None:
    """Draw a thick plank whose top is at height `y`."""
    brush.soft(160, y + 50, 240, 24, color=(14, 8, 10), alpha=0.7)
    front = [(-12, y), (332, y), (332, y + 38), (-12, y + 38)]
    brush.shaded(front, color, darker(color, 0.42))
    brush.box(-12, y - 1, 332, y + 3, color=lighter(color, 0.5))
    for k in range(5):
        grain = [(-12, y + 9 + 6 * k), (120 + 30 * (k % 3), y + 7 + 6 * k), (332, y + 10 + 6 * k)]
        brush.stroke(grain, 0.8, darker(color, 0.5), 0.45)

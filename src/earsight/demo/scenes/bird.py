"""A bird on a branch: its beak is open as far as its song is loud."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray
from earsight.demo.backdrops import LEFT, RIGHT, garden
from earsight.demo.scene import Scene, length, track
from earsight.demo.sounds import at_sample, place, seconds, sweep
from earsight.demo.stage import Brush, Color, Point, curve, darker, hsv, lighter, mix, turned

Plumage = tuple[Color, Color, Color]  # back, breast, cap
SPECIES: dict[str, Plumage] = {
    "robin": ((126, 104, 84), (226, 106, 52), (138, 112, 88)),
    "blue tit": ((96, 134, 156), (244, 214, 88), (58, 116, 190)),
    "canary": ((232, 188, 44), (252, 224, 92), (242, 204, 60)),
    "cardinal": ((168, 40, 44), (214, 60, 56), (196, 44, 46)),
    "goldfinch": ((166, 132, 84), (232, 216, 188), (196, 50, 44)),
    "bluebird": ((58, 104, 186), (222, 134, 84), (52, 92, 176)),
}


@dataclass(frozen=True)
class Syllable:
    """One note of the song, from `start` s, `length` s long, gliding from `low` to `high` Hz."""

    start: float
    length: float
    low: float
    high: float

    def level(self, t: float | FloatArray) -> FloatArray:
        """Return the loudness at `t` seconds, 0 to 1: up in 12 ms, then a round fall."""
        share = (np.asarray(t) - self.start) / self.length
        up = np.clip(share * self.length / 0.012, 0, 1)
        return np.where(
            (share >= 0) & (share <= 1), up * np.cos(np.pi / 2 * np.clip(share, 0, 1)) ** 0.6, 0.0
        )


def _song(rng: np.random.Generator, duration: float) -> list[Syllable]:
    """Compose phrases of a few syllables each, all made from one motif."""
    base = rng.uniform(2300, 3900)
    motif = [(rng.uniform(0.7, 1.5), rng.uniform(0.75, 1.7), rng.uniform(0.09, 0.17))
             for _ in range(int(rng.integers(1, 4)))]  # fmt: skip
    song, t = [], rng.uniform(0.3, 0.6)
    while t < duration - 0.7:
        for _ in range(int(rng.integers(2, 4))):
            for start, end, size in motif:
                if t < duration - 0.3:
                    song.append(Syllable(at_sample(t), size, base * start, base * end))
                    t += size + rng.uniform(0.05, 0.09)
        t += rng.uniform(0.35, 0.6)
    return song


def _leaves(rng: np.random.Generator, brush: Brush, y: float) -> None:
    bark = hsv(rng.uniform(0.05, 0.09), 0.4, 0.36)
    slope = rng.uniform(-0.05, 0.05)
    top = [(x, y + slope * (x - 160) + 1.5 * np.sin(x / 17)) for x in np.linspace(LEFT, RIGHT, 20)]
    low = [(x, py + 9 + 2 * np.sin(x / 23)) for x, py in reversed(top)]
    brush.shaded([*top, *low], lighter(bark, 0.22), darker(bark, 0.5))
    green = hsv(rng.uniform(0.2, 0.36), 0.55, 0.6)
    for x in [*rng.uniform(LEFT, 70, 4), *rng.uniform(236, RIGHT, 5)]:
        turn, size = rng.uniform(-2.6, -0.4), rng.uniform(0.8, 1.3)
        leaf = curve([(0, 0), (12, -7), (27, -5), (38, 2), (26, 7), (11, 6)])
        at = (x, y + slope * (x - 160) + 3)
        tone = mix(green, (240, 220, 120), rng.uniform(0, 0.35))
        brush.shaded(turned(leaf, at, turn, size), lighter(tone, 0.15), darker(tone, 0.3))
        brush.stroke(turned([(2, 0), (34, 1)], at, turn, size), 0.8, lighter(tone, 0.5), 0.7)


@dataclass(frozen=True)
class Pose:
    """How the bird stands: its feet at (x, y), looking to the side `face` (1 right, −1 left).

    `gape` opens the beak and `tilt` throws the head back, in radians; `flick` lifts the tail.
    """

    x: float
    y: float
    size: float
    face: int
    gape: float
    tilt: float
    flick: float

    def put(
        self, points: Sequence[Point], turn: float = 0.0, around: Point = (0.0, 0.0)
    ) -> list[Point]:
        """Turn part of the bird around a joint of its own, and move it to where the bird is."""
        moved = _hinged(points, around, turn)
        return [(self.x + self.face * self.size * a, self.y + self.size * b) for a, b in moved]


def _hinged(points: Sequence[Point], joint: Point, turn: float) -> list[Point]:
    return turned([(a - joint[0], b - joint[1]) for a, b in points], joint, turn)


def _body(brush: Brush, pose: Pose, back: Color, breast: Color) -> None:
    tail = curve([(-26, -34), (-56, -20), (-84, -6), (-82, 4), (-54, -8), (-22, -16)])
    turn = 0.35 * pose.flick
    brush.shaded(pose.put(tail, turn, (-30, -24)), darker(back, 0.15), darker(back, 0.5))
    for leg in (-4, 8):
        brush.stroke(pose.put([(leg, -10), (leg + 2, 1)]), 2.2 * pose.size, (110, 78, 62))
        brush.stroke(pose.put([(leg - 5, 2.5), (leg + 9, 2.5)]), 2.4 * pose.size, (110, 78, 62))
    trunk = curve([(-40, -36), (-24, -58), (4, -70), (28, -60), (37, -38), (28, -16), (4, -5),
                   (-20, -12)])  # fmt: skip
    brush.shaded(pose.put(trunk), lighter(back, 0.12), darker(back, 0.2))
    chest = curve([(12, -66), (30, -58), (37, -38), (28, -16), (6, -6), (-8, -12), (6, -34)])
    brush.shaded(pose.put(chest), lighter(breast, 0.18), darker(breast, 0.14))


def _wing(brush: Brush, pose: Pose, back: Color) -> None:
    turn, shoulder = 0.12 * pose.flick, (0.0, -50.0)
    wing = curve([(-2, -56), (12, -44), (6, -26), (-18, -16), (-52, -10), (-34, -28), (-22, -48)])
    brush.shaded(pose.put(wing, turn, shoulder), lighter(back, 0.05), darker(back, 0.42))
    for k in range(3):
        feather = [(5 * k - 44, -14 - 4 * k), (6 * k - 18, -23 - 6 * k), (3 * k, -32 - 5 * k)]
        brush.stroke(pose.put(feather, turn, shoulder), 1.1, lighter(back, 0.35), 0.65)


def _head(brush: Brush, pose: Pose, breast: Color, cap: Color) -> None:
    neck, jaw = (18.0, -58.0), (43.0, -75.0)

    def put(points: Sequence[Point]) -> list[Point]:
        return pose.put(points, -pose.tilt, neck)

    upper = _hinged([(44, -84), (67, -76), (66, -74.5), (44, -73)], jaw, -0.45 * pose.gape)
    lower = _hinged([(43, -75), (61, -73.5), (60, -72), (42, -68)], jaw, 0.75 * pose.gape)
    [throat] = turned([(12, 3)], (44, -75), 0.7 * pose.gape)
    [palate] = turned([(12, -3)], (44, -75), -0.5 * pose.gape)
    brush.polygon(put([(46, -76), palate, throat]), (196, 70, 62))
    brush.shaded(put(lower), (226, 160, 66), (190, 120, 44))
    brush.shaded(put(upper), (248, 190, 84), (214, 146, 54))
    skull = curve([(4, -64), (4, -84), (16, -98), (34, -98), (46, -86), (46, -70), (36, -58),
                   (18, -54)])  # fmt: skip
    brush.shaded(put(skull), lighter(cap, 0.14), mix(cap, breast, 0.55))
    cheek = curve([(24, -76), (36, -80), (46, -74), (42, -62), (28, -58), (20, -64)])
    brush.shaded(put(cheek), lighter(breast, 0.3), lighter(breast, 0.05))
    [eye, glint, crown] = put([(33, -84), (34.4, -85.6), (26, -92)])
    brush.disc(*eye, 4.8 * pose.size, lighter(cap, 0.5))
    brush.disc(*eye, 3.9 * pose.size, (22, 18, 22))
    brush.disc(*glint, 1.3 * pose.size, (255, 255, 255))
    brush.soft(*crown, 16 * pose.size, 9 * pose.size, color=(255, 255, 240), alpha=0.25)


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    song = _song(rng, duration)
    species = str(rng.choice(list(SPECIES)))
    tint = hsv(rng.random(), 0.5, 0.8)
    back, breast, cap = (mix(color, tint, 0.08) for color in SPECIES[species])
    face = int(rng.choice([-1, 1]))
    size, x, y = (
        rng.uniform(1.15, 1.45),
        160 - 14 * face + rng.uniform(-24, 24),
        rng.uniform(186, 198),
    )
    backdrop = garden(rng)
    _leaves(rng, Brush(backdrop), y + 3)
    rates = rng.uniform(0.5, 1.1, 2)

    def paint(brush: Brush, t: float) -> None:
        level = max(float(s.level(t)) for s in song)
        bob = 0.8 * np.sin(2 * np.pi * rates[0] * t) + 1.6 * level
        tilt = 0.10 + 0.10 * level + 0.05 * np.sin(2 * np.pi * rates[1] * t)
        pose = Pose(x, y - 0.4 * bob, size, face, 0.85 * level, tilt, level)
        _body(brush, pose, back, breast)
        _head(brush, pose, breast, cap)
        _wing(brush, pose, back)

    sound = track(duration)
    for syllable in song:
        t = seconds(syllable.length)
        glide = np.linspace(0, 1, len(t)) ** 0.8
        pitch = (
            syllable.low + (syllable.high - syllable.low) * glide + 90 * np.sin(2 * np.pi * 45 * t)
        )
        note = sweep(pitch) + 0.18 * sweep(2 * pitch)
        place(sound, syllable.start, note * syllable.level(syllable.start + t))
    return Scene(duration, tuple(s.start for s in song), backdrop, paint, sound, (0.3, 0.8),
                 {"species": species, "syllables": float(len(song))})  # fmt: skip

"""Fireworks over a town: a rocket whistles up and bursts, its boom and its flash at one moment."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from earsight.arrays import FloatArray
from earsight.demo.backdrops import BOTTOM, LEFT, RIGHT, night
from earsight.demo.scene import Scene, length, since, track
from earsight.demo.sounds import RATE, at_sample, burst, noise, place, seconds, sweep
from earsight.demo.stage import MARGIN, Brush, Color, hsv, lighter, mix

SHORE = 200.0


@dataclass(frozen=True)
class Shell:
    """One rocket: launched, burst, and its stars.

    Attributes:
        launch: s.
        burst: s.
        x, y: Where it bursts, pixels.
        start: Where it was launched, pixels across.
        stars: (n, 3): speed across and down in pixels a second, and lifetime in s.
        color: Of the stars; they end in `second`.
    """

    launch: float
    burst: float
    x: float
    y: float
    start: float
    stars: FloatArray
    color: Color
    second: Color

    def star(self, gone: float) -> FloatArray:
        """Return where the stars are `gone` s after the burst, (n, 2): drag 3/s, and gravity."""
        way = (1 - np.exp(-3.0 * gone)) / 3.0
        xy = np.array([self.x, self.y]) + self.stars[:, :2] * way
        xy[:, 1] += 26 * gone**2
        return np.asarray(xy)


def _stars(rng: np.random.Generator, kind: str) -> FloatArray:
    n = {"peony": 110, "ring": 60, "willow": 90}[kind]
    angle = rng.uniform(0, 2 * np.pi, n)
    power = rng.uniform(200, 270)
    if kind == "ring":
        angle = np.arange(n) * 2 * np.pi / n
        speed = power * rng.normal(1, 0.02, n)
    elif kind == "willow":
        speed = power * rng.uniform(0.3, 0.85, n)
    else:
        speed = power * np.sqrt(rng.uniform(0.04, 1, n))
    life = rng.uniform(0.8, 1.25, n) * (1.7 if kind == "willow" else 1.2)
    return np.stack([speed * np.cos(angle), speed * np.sin(angle), life], axis=1)


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    backdrop = _by_the_water(rng)
    kinds, shells, t = ("peony", "ring", "willow"), [], rng.uniform(0.5, 0.8)
    drawn = []
    while t < duration - 0.9:
        kind = str(rng.choice(kinds))
        hue = rng.random()
        color = hsv(0.11, 0.7, 1.0) if kind == "willow" else hsv(hue, 0.8, 1.0)
        x = rng.uniform(70, 250)
        shells.append(
            Shell(
                launch=t - rng.uniform(0.45, 0.5),
                burst=at_sample(t),
                x=x,
                y=rng.uniform(50, 98),
                start=x + rng.uniform(-36, 36),
                stars=_stars(rng, kind),
                color=color,
                second=mix(color, hsv(hue + rng.uniform(0.1, 0.3), 0.5, 1.0), 0.7),
            )
        )
        drawn.append(kind)
        t += rng.uniform(0.75, 1.3)
    events = tuple(shell.burst for shell in shells)
    twinkle = rng.random(200)

    def paint(brush: Brush, t: float) -> None:
        last, gone = since(events, t)
        if gone < 0.6:
            shell, flash = shells[last], float(np.exp(-gone / 0.12))
            brush.soft(shell.x, shell.y, 240, 190, color=shell.color, alpha=0.5 * flash)
            brush.soft(shell.x, SHORE + 22, 170, 34, color=shell.color, alpha=0.42 * flash)
            brush.soft(shell.x, shell.y, 52, 52, color=(255, 252, 240), alpha=0.9 * flash)
        # Light adds to light: the stars go on a dark layer of their own, at half the resolution.
        layer = Image.new("RGB", (brush.image.width // 2, brush.image.height // 2))
        ink = ImageDraw.Draw(layer)
        for shell in shells:
            if shell.launch <= t < shell.burst:
                _rocket(ink, shell, t)
            elif shell.burst <= t:
                _burst(ink, shell, t, twinkle)
        _add_light(brush.image, layer)

    return Scene(duration, events, backdrop, paint, _sound(rng, duration, shells), (1.0, 2.0),
                 {"kinds": ", ".join(drawn), "bursts": float(len(events))})  # fmt: skip


def _by_the_water(rng: np.random.Generator) -> Image.Image:
    """A town at night on the far shore of a dark water."""
    image = night(rng, SHORE)
    brush = Brush(image)
    brush.shaded([(LEFT, SHORE), (RIGHT, SHORE), (RIGHT, BOTTOM), (LEFT, BOTTOM)],
                 (26, 32, 58), (8, 10, 24))  # fmt: skip
    for _ in range(46):
        x, y = rng.uniform(LEFT, RIGHT), SHORE + abs(rng.normal(0, 18)) + 2
        light = mix((255, 214, 130), (120, 140, 200), rng.random())
        brush.box(
            x - rng.uniform(3, 12),
            y,
            x + rng.uniform(3, 12),
            y + 0.9,
            color=light,
            alpha=rng.uniform(0.1, 0.4),
        )
    return image


def _add_light(stage: Image.Image, layer: Image.Image) -> None:
    """Add the stars to the stage, with a halo around them and their mirror in the water."""
    shore = round(SHORE + MARGIN)
    below = layer.height - shore
    sky = layer.crop((0, 0, layer.width, shore)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    dim = sky.resize((layer.width, below)).filter(ImageFilter.BoxBlur((3, 1)))
    layer.paste(dim.point(lambda v: v * 0.5), (0, shore))
    halo = layer.reduce(2).filter(ImageFilter.BoxBlur(3)).point(lambda v: min(255, v * 1.7))
    lit = ImageChops.add(layer, halo.resize(layer.size, Image.Resampling.BILINEAR))
    stage.paste(ImageChops.add(stage, lit.resize(stage.size, Image.Resampling.NEAREST)))


def _rocket(ink: ImageDraw.ImageDraw, shell: Shell, t: float) -> None:
    share = (t - shell.launch) / (shell.burst - shell.launch)
    for back in range(9):
        s = max(0.0, share - 0.03 * back)
        rise = 1 - (1 - s) ** 1.6
        x, y = shell.start + (shell.x - shell.start) * s, SHORE + (shell.y - SHORE) * rise
        x, y, r = x + MARGIN, y + MARGIN, 1.5 * (1 - back / 10)
        heat = 1 - back / 9
        ink.ellipse([x - r, y - r, x + r, y + r],
                    (round(255 * heat), round(210 * heat), round(130 * heat)))  # fmt: skip


def _burst(ink: ImageDraw.ImageDraw, shell: Shell, t: float, twinkle: FloatArray) -> None:
    gone = t - shell.burst
    heads, tails = shell.star(gone) + MARGIN, shell.star(max(0.0, gone - 0.13)) + MARGIN
    for k, ((x, y), (a, b), life) in enumerate(
        zip(heads.tolist(), tails.tolist(), shell.stars[:, 2].tolist(), strict=True)
    ):
        left = 1 - gone / life
        if left <= 0:
            continue
        glow = left**0.7
        if left < 0.45:
            glow *= 0.45 + 0.55 * float(np.sin(40 * (t + 7 * twinkle[k % 200])) > 0)
        own = shell.second if k % 3 == 0 else shell.color
        tone = mix(lighter(own, 0.6 * max(0.0, 1 - gone / 0.15)), shell.second, (1 - left) ** 2)
        red, green, blue = (round(c * glow) for c in tone)
        ink.line(
            [(a, b), (x, y)], (red * 2 // 3, green * 2 // 3, blue * 2 // 3), 2 if left > 0.5 else 1
        )
        r = 0.8 + 1.2 * left
        ink.ellipse([x - r, y - r, x + r, y + r], (red, green, blue))


def _sound(rng: np.random.Generator, duration: float, shells: list[Shell]) -> FloatArray:
    sound = track(duration)
    for shell in shells:
        t = seconds(shell.burst - shell.launch)
        share = t / t[-1]
        whistle = sweep(rng.uniform(1700, 2300) + 1500 * share + 40 * np.sin(2 * np.pi * 28 * t))
        hiss = 0.35 * noise(rng, len(t) / RATE, 1500, 9000)[: len(t)]
        rise = np.sin(np.pi * np.clip(share, 0, 1)) ** 0.5 * (1 - 0.5 * share)
        place(sound, shell.launch, 0.13 * (whistle + hiss[: len(t)]) * rise)
        place(sound, shell.burst, burst(rng, 1.2, 35, 420, decay=0.17), 0.42)
        place(sound, shell.burst, burst(rng, 0.3, 300, 7000, decay=0.025), 0.34)
        for at in shell.burst + 0.2 + rng.gamma(2.2, 0.22, 70):  # crackle of the dying stars
            place(sound, at, burst(rng, 0.02, 1500, 10000, decay=0.003), rng.exponential(0.07))
    return sound

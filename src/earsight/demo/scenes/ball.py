"""A ball that falls, bounces, and thuds, each time lower and softer."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from earsight.arrays import FloatArray
from earsight.demo.backdrops import room
from earsight.demo.scene import Scene, length, track
from earsight.demo.sounds import at_sample, burst, modes, place, seconds, sweep
from earsight.demo.stage import SCALE, Brush, Color, hsv

GRAVITY = 9.81  # m/s²


@dataclass(frozen=True)
class Fall:
    """The flight of a ball let go at 0 s: when it strikes, how fast, and where it is between.

    Attributes:
        height: m above the floor at the start.
        restitution: Speed after a bounce over the speed before.
        impacts: (n,) s.
        speeds: (n,) m/s at each impact.
    """

    height: float
    restitution: float
    impacts: FloatArray
    speeds: FloatArray

    def at(self, t: float) -> float:
        """Return the height in m at `t` seconds."""
        last = int(np.searchsorted(self.impacts, t, side="right")) - 1
        if last < 0:
            return self.height - 0.5 * GRAVITY * t**2
        gone = t - float(self.impacts[last])
        up = self.restitution * float(self.speeds[last])
        return max(0.0, up * gone - 0.5 * GRAVITY * gone**2)


def fall(height: float, restitution: float, duration: float) -> Fall:
    """Let a ball fall from `height` m: t₁ = √(2h/g), then tᵢ₊₁ = tᵢ + 2·e·vᵢ/g, vᵢ₊₁ = e·vᵢ."""
    t, speed = np.sqrt(2 * height / GRAVITY), np.sqrt(2 * height * GRAVITY)
    impacts, speeds = [], []
    while t < duration - 0.15 and speed > 0.5:
        impacts.append(at_sample(t))
        speeds.append(speed)
        t += 2 * restitution * speed / GRAVITY
        speed *= restitution
    return Fall(height, restitution, np.array(impacts), np.array(speeds))


def _shading(size: int) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    light = np.clip(-0.45 * x - 0.65 * y + 0.62 * z, 0, 1)
    level = 255 * (0.42 + 0.58 * light)
    return Image.fromarray(level.astype(np.uint8)).convert("RGB")


def _skin(kind: str, size: int, color: Color, second: Color) -> Image.Image:
    skin = Image.new("RGB", (size, size), color)
    draw = ImageDraw.Draw(skin)
    line = max(2, size // 28)
    if kind == "basketball":
        dark = (44, 28, 26)
        draw.line([(0, size / 2), (size, size / 2)], dark, line)
        draw.line([(size / 2, 0), (size / 2, size)], dark, line)
        for x in (-0.62, 0.62):
            middle = size / 2 + x * size
            draw.ellipse([middle - size * 0.4, size * 0.1, middle + size * 0.4, size * 0.9],
                         outline=dark, width=line)  # fmt: skip
    elif kind == "beach ball":
        for slice_ in range(0, 6, 2):
            draw.pieslice([-size, -size, 2 * size, 2 * size], 60 * slice_, 60 * slice_ + 60, second)
        draw.ellipse([size * 0.42] * 2 + [size * 0.58] * 2, (250, 246, 238))
    elif kind == "tennis ball":
        for x in (-0.55, 0.55):
            middle = size / 2 + x * size
            draw.ellipse([middle - size * 0.38, size * 0.12, middle + size * 0.38, size * 0.88],
                         outline=(246, 246, 232), width=2 * line)  # fmt: skip
    else:
        draw.polygon([(0, size * 0.38), (size, size * 0.38), (size, size * 0.62), (0, size * 0.62)],
                     second)  # fmt: skip
    return skin


def _sound(rng: np.random.Generator, duration: float, flight: Fall, pitch: float) -> FloatArray:
    """Sound the thuds: a skin that gives way, the air inside, and the floor."""
    sound, ring = track(duration), rng.uniform(4.2, 6.5) * pitch
    for impact, strength in zip(flight.impacts, flight.speeds / flight.speeds[0], strict=True):
        t = seconds(0.4)
        thud = sweep(pitch * (1 + 0.8 * np.exp(-t / 0.02))) * np.exp(-t / 0.045)
        thud += modes([ring, 1.6 * ring], [0.02, 0.014], [0.35, 0.2], 0.4)
        place(sound, impact, thud, strength**1.5)
        place(sound, impact, burst(rng, 0.15, 60, 700, decay=0.022), 0.3 * strength**1.5)
        place(sound, impact, burst(rng, 0.05, 500, 5000, decay=0.006), 0.2 * strength**1.5)
    return sound


def compose(rng: np.random.Generator) -> Scene:
    """Compose one clip."""
    duration = length(rng)
    kind = str(rng.choice(["basketball", "beach ball", "tennis ball", "rubber ball"]))
    radius = {"basketball": 27.0, "beach ball": 32.0, "tennis ball": 17.0, "rubber ball": 21.0}[
        kind
    ]
    radius *= rng.uniform(0.85, 1.15)
    flight = fall(rng.uniform(1.0, 1.5), rng.uniform(0.72, 0.84), duration)
    ground = rng.uniform(196, 214)
    scale = (ground - 2 * radius - 4) / flight.height  # drawn pixels for each metre
    start, speed = rng.uniform(60, 130), rng.uniform(14, 34)
    if rng.random() < 0.5:
        start, speed = 320 - start, -speed
    hue = rng.random()
    colors = {
        "basketball": (hsv(rng.uniform(0.05, 0.075), 0.78, 0.9), (0, 0, 0)),
        "beach ball": (hsv(hue, 0.66, 0.92), (248, 244, 236)),
        "tennis ball": (hsv(rng.uniform(0.17, 0.2), 0.72, 0.92), (0, 0, 0)),
        "rubber ball": (hsv(hue, 0.72, 0.85), hsv(hue + 0.5, 0.25, 0.96)),
    }
    size = round(2 * radius * SCALE)
    skin, shading = _skin(kind, 2 * size, *colors[kind]), _shading(size)
    mask = Image.new("L", (2 * size, 2 * size), 0)
    ImageDraw.Draw(mask).ellipse([1, 1, 2 * size - 2, 2 * size - 2], fill=255)
    mask = mask.reduce(2)

    def paint(brush: Brush, t: float) -> None:
        height = flight.at(t)
        x, y = start + speed * t, ground - radius - scale * height
        away = height / flight.height
        brush.soft(x + 5 + 18 * away, ground - 4, radius * (1.35 + 0.5 * away), radius * 0.42,
                   color=(20, 12, 20), alpha=0.75 - 0.45 * away)  # fmt: skip
        turn = np.degrees(speed * t / radius)
        ball = skin.rotate(-turn, Image.Resampling.BILINEAR).reduce(2)
        ball = ImageChops.multiply(ball, shading)
        ball.putalpha(mask)
        near = np.abs(t - flight.impacts)
        hit = int(near.argmin())
        press = 0.2 * flight.speeds[hit] / flight.speeds[0] * np.exp(-((near[hit] / 0.035) ** 2))
        flat = ball.resize((round(size * (1 + 0.6 * press)), round(size * (1 - press))))
        brush.sprite(flat, x, y + radius * press)

    pitch = float(rng.uniform(85, 120) * (27 / radius) ** 0.7)
    sound = _sound(rng, duration, flight, pitch)
    return Scene(
        duration, tuple(map(float, flight.impacts)), room(rng, ground - 42), paint, sound,
        parameters={"kind": kind, "pitch_hz": pitch, "restitution": flight.restitution,
                    "height_m": flight.height},
    )  # fmt: skip

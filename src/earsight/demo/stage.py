"""The stage: a brush in the units of the frame, soft light and shade, and a hand-held camera.

Everything is drawn at twice the size of a frame, with a margin around it; the camera's cut out of
that picture, scaled down, is what smooths the edges.
"""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from earsight.arrays import FloatArray

WIDTH, HEIGHT = 320, 240  # of a frame, in pixels; the unit of every coordinate in the scenes
MARGIN = 10  # drawn around the frame, for the camera to sway in
SCALE = 2  # drawn pixels for each pixel of the frame

Color = tuple[int, int, int]
Point = tuple[float, float]


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return a colour from hue (turns, any number), saturation and value in [0, 1].

    >>> hsv(0.0, 1.0, 1.0), hsv(1 / 3, 0.5, 1.0)
    ((255, 0, 0), (128, 255, 128))
    """
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def mix(a: Color, b: Color, share: float) -> Color:
    """Return (1 − share)·a + share·b.

    >>> mix((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    red, green, blue = (round((1 - share) * x + share * y) for x, y in zip(a, b, strict=True))
    return red, green, blue


def darker(color: Color, share: float = 0.25) -> Color:
    """Return `color` mixed with a deep blue-black, which is kinder than black."""
    return mix(color, (16, 14, 30), share)


def lighter(color: Color, share: float = 0.25) -> Color:
    """Return `color` mixed with a warm white."""
    return mix(color, (255, 250, 240), share)


def turned(points: Iterable[Point], at: Point, turn: float = 0.0, size: float = 1.0) -> list[Point]:
    """Scale by `size`, turn by `turn` radians (clockwise on screen), and move to `at`."""
    cos, sin = size * np.cos(turn), size * np.sin(turn)
    return [(at[0] + cos * x - sin * y, at[1] + sin * x + cos * y) for x, y in points]


def curve(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """Return a closed smooth outline through `points` (a Catmull–Rom spline)."""
    b = np.asarray(points, dtype=np.float64)[:, None, :]  # (knots, 1, 2)
    a, c, d = np.roll(b, 1, axis=0), np.roll(b, -1, axis=0), np.roll(b, -2, axis=0)
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]  # (steps, 1)
    bend = (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    outline = 0.5 * (2 * b + (c - a) * t + bend)  # (knots, steps, 2)
    return [(x, y) for x, y in outline.reshape(-1, 2).tolist()]


def vertical(top: Color, bottom: Color, size: tuple[int, int]) -> Image.Image:
    """Return a gradient from `top` to `bottom` of `size` (width, height) pixels."""
    column = np.linspace(top, bottom, max(size[1], 2))[:, None, :]
    return Image.fromarray(column.round().astype(np.uint8)).resize(size)


_shade = lru_cache(maxsize=512)(vertical)  # shared: to be pasted, never drawn upon


@lru_cache(maxsize=512)
def _soft_mask(width: int, height: int, level: int) -> Image.Image:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    fall = np.clip(1 - np.hypot(x, y), 0, 1)
    smooth = fall * fall * (3 - 2 * fall)
    return Image.fromarray((level * smooth).round().astype(np.uint8)).resize((width, height))


class Brush:
    """Draws on a picture in the frame's own units; `alpha` runs from 0 (unseen) to 1 (solid)."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image, "RGBA")

    def _pixels(self, points: Iterable[Point]) -> list[Point]:
        return [((x + MARGIN) * SCALE, (y + MARGIN) * SCALE) for x, y in points]

    def oval(
        self, x: float, y: float, rx: float, ry: float, *, color: Color, alpha: float = 1.0
    ) -> None:
        """Fill an ellipse around (x, y)."""
        corners = self._pixels([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse(corners, fill=(*color, round(255 * alpha)))

    def disc(self, x: float, y: float, r: float, color: Color, *, alpha: float = 1.0) -> None:
        """Fill a circle around (x, y)."""
        self.oval(x, y, r, r, color=color, alpha=alpha)

    def ring(
        self, x: float, y: float, rx: float, ry: float, *, width: float, color: Color,
        alpha: float = 1.0,
    ) -> None:  # fmt: skip
        """Draw the outline of an ellipse, `width` wide inwards."""
        corners = self._pixels([(x - rx, y - ry), (x + rx, y + ry)])
        ink = (*color, round(255 * alpha))
        self._draw.ellipse(corners, outline=ink, width=max(1, round(width * SCALE)))

    def arc(
        self, x: float, y: float, r: float, start: float, *, end: float, width: float, color: Color,
        alpha: float = 1.0,
    ) -> None:  # fmt: skip
        """Draw part of a circle, from `start` to `end` degrees clockwise from three o'clock."""
        corners = self._pixels([(x - r, y - r), (x + r, y + r)])
        ink = (*color, round(255 * alpha))
        self._draw.arc(corners, start, end, fill=ink, width=max(1, round(width * SCALE)))

    def polygon(self, points: Iterable[Point], color: Color, alpha: float = 1.0) -> None:
        """Fill a closed outline."""
        self._draw.polygon(self._pixels(points), fill=(*color, round(255 * alpha)))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, *, color: Color, alpha: float = 1.0,
        radius: float = 0.0,
    ) -> None:  # fmt: skip
        """Fill a rectangle, with rounded corners if `radius` is given."""
        corners = self._pixels([(x0, y0), (x1, y1)])
        self._draw.rounded_rectangle(corners, radius * SCALE, fill=(*color, round(255 * alpha)))

    def stroke(
        self, points: Sequence[Point], width: float, color: Color, alpha: float = 1.0
    ) -> None:
        """Draw an open line; solid ones end round."""
        ink = (*color, round(255 * alpha))
        pixels = self._pixels(points)
        self._draw.line(pixels, fill=ink, width=max(1, round(width * SCALE)), joint="curve")
        if alpha == 1.0 and width >= 2:
            for x, y in (points[0], points[-1]):
                self.disc(x, y, width / 2 - 0.25, color)

    def soft(
        self, x: float, y: float, rx: float, ry: float, *, color: Color, alpha: float = 1.0
    ) -> None:
        """Lay a soft ellipse that fades outwards: a shadow in the dark, a glow in the light."""
        size = max(2, round(2 * rx * SCALE)), max(2, round(2 * ry * SCALE))
        [(left, top)] = self._pixels([(x - rx, y - ry)])
        level = round(255 * min(max(alpha, 0.0), 1.0) / 8) * 8  # few levels, so masks are shared
        mask = _soft_mask(*size, min(level, 255))
        corner = (round(left), round(top))
        self.image.paste(color, (*corner, corner[0] + size[0], corner[1] + size[1]), mask)

    def shaded(self, points: Sequence[Point], top: Color, bottom: Color) -> None:
        """Fill a closed outline with a gradient from its top to its bottom."""
        pixels = np.asarray(self._pixels(points))
        low = np.floor(pixels.min(axis=0)).astype(int)
        high = np.ceil(pixels.max(axis=0)).astype(int) + 1
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon([(x, y) for x, y in (pixels - low).tolist()], fill=255)
        self.image.paste(_shade(top, bottom, size), (int(low[0]), int(low[1])), mask)

    def sprite(self, sprite: Image.Image, x: float, y: float, turn: float = 0.0) -> None:
        """Lay an RGBA picture (in drawn pixels) with its centre at (x, y), turned clockwise."""
        if turn:
            sprite = sprite.rotate(-np.degrees(turn), Image.Resampling.BICUBIC)
        [(px, py)] = self._pixels([(x, y)])
        corner = (round(px - sprite.width / 2), round(py - sprite.height / 2))
        self.image.paste(sprite, corner, sprite)


def canvas(color: Color = (0, 0, 0)) -> Image.Image:
    """Return an empty picture of the stage's size, margin included."""
    return Image.new("RGB", ((WIDTH + 2 * MARGIN) * SCALE, (HEIGHT + 2 * MARGIN) * SCALE), color)


@dataclass(frozen=True)
class Camera:
    """A camera held in the hand: slow sway of up to `sway` pixels and a slow approach.

    Attributes:
        sway: Pixels, at most 0.7·MARGIN.
        rates: (2, 2) Hz, two slow sines each for across and down.
        phases: (2, 2) radians.
        zoom: Share by which the picture has grown after `duration` seconds.
        duration: Seconds.
    """

    sway: float
    rates: FloatArray
    phases: FloatArray
    zoom: float
    duration: float

    def shoot(self, stage: Image.Image, t: float) -> Image.Image:
        """Return the frame (WIDTH × HEIGHT) that is seen at `t` seconds."""
        offset = self.sway * np.sin(2 * np.pi * self.rates * t + self.phases).mean(axis=1)
        size = 1.0 - self.zoom * t / self.duration
        width, height = WIDTH * size, HEIGHT * size
        left = MARGIN + offset[0] + (WIDTH - width) / 2
        top = MARGIN + offset[1] + (HEIGHT - height) / 2
        cut = (left * SCALE, top * SCALE, (left + width) * SCALE, (top + height) * SCALE)
        return stage.resize((WIDTH, HEIGHT), Image.Resampling.BOX, box=cut)

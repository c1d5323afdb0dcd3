"""Places where scenes happen, drawn once a clip: a room, a table, a garden, a night, a street."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from earsight.arrays import FloatArray
from earsight.demo.stage import (
    HEIGHT,
    MARGIN,
    SCALE,
    WIDTH,
    Brush,
    Color,
    canvas,
    curve,
    darker,
    hsv,
    lighter,
    mix,
    vertical,
)

LEFT, RIGHT, TOP, BOTTOM = -MARGIN, WIDTH + MARGIN, -MARGIN, HEIGHT + MARGIN

# (wall, floor, accent): colours that get on with each other.
ROOMS: tuple[tuple[Color, Color, Color], ...] = (
    ((222, 205, 184), (150, 106, 74), (74, 111, 120)),
    ((168, 190, 186), (172, 134, 98), (214, 128, 92)),
    ((206, 186, 196), (128, 100, 96), (92, 108, 150)),
    ((136, 156, 178), (166, 130, 100), (232, 178, 96)),
    ((226, 198, 150), (122, 88, 68), (112, 138, 104)),
    ((190, 202, 168), (148, 112, 82), (170, 92, 84)),
    ((104, 122, 132), (120, 92, 76), (226, 164, 110)),
)


def cloudy(rng: np.random.Generator, cells: tuple[int, int], size: tuple[int, int]) -> FloatArray:
    """Return smooth noise of mean 0 and about unit spread: `cells` (across, down) to `size`."""
    coarse = rng.standard_normal((cells[1], cells[0])).astype(np.float32)
    fine = Image.fromarray(coarse, "F").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(fine)


def textured(image: Image.Image, pattern: FloatArray, strength: float) -> Image.Image:
    """Brighten and darken `image` by `pattern` (height, width), `strength` levels a unit."""
    pixels = np.asarray(image, dtype=np.float32) + strength * pattern[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def wood(rng: np.random.Generator, color: Color, size: tuple[int, int]) -> Image.Image:
    """Return a board of wood, its grain running across, of `size` drawn pixels."""
    height = size[1]
    bend = cloudy(rng, (4, 4), size)
    rows = np.linspace(0, 7.0, height, dtype=np.float32)[:, None]
    rings = np.sin(2 * np.pi * (rows + 0.55 * bend))
    fibres = cloudy(rng, (6, max(height // 2, 2)), size)
    return textured(Image.new("RGB", size, color), 0.6 * rings + 0.7 * fibres, 7.0)


def vignette(image: Image.Image, strength: float = 0.35) -> Image.Image:
    """Darken the corners."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j].astype(np.float32)
    fall = 1 - strength * np.clip(np.hypot(x, y) - 0.45, 0, 1) ** 1.5
    return Image.fromarray((np.asarray(image) * fall[:, :, None]).astype(np.uint8))


def out_of_focus(image: Image.Image, pixels: float) -> Image.Image:
    """Blur by a radius of `pixels` of the frame."""
    return image.filter(ImageFilter.GaussianBlur(pixels * SCALE))


def room(rng: np.random.Generator, floor_y: float) -> Image.Image:
    """A room: a lit wall with a few things on it, and a wooden floor that starts at `floor_y`."""
    wall, floor, accent = ROOMS[rng.integers(len(ROOMS))]
    image = canvas(wall)
    brush = Brush(image)
    brush.soft(rng.uniform(40, 280), 20, 260, 190, color=lighter(wall, 0.5), alpha=0.8)
    if rng.random() < 0.4:
        _stripes(rng, brush, wall, floor_y)
    things: list[Callable[..., None]] = [_pictures, _plant, _lamp, _shelf, _window]
    for kind, x in zip(rng.permutation(len(things)), (70.0, 250.0), strict=False):
        things[kind](rng, brush, accent, x + rng.uniform(-24, 24), floor_y=floor_y)
    boards = wood(rng, floor, (image.width, 180)).resize(
        (image.width, round((BOTTOM - floor_y) * SCALE))
    )
    image.paste(boards, (0, round((floor_y - TOP) * SCALE)))
    for x in np.linspace(-900, 900, 25):  # joints that run to a point behind the wall
        start = (160 + 0.42 * x, floor_y)
        brush.stroke([start, (160 + x, BOTTOM)], 0.7, darker(floor, 0.6), 0.35)
    brush.box(LEFT, floor_y - 9, RIGHT, floor_y, color=lighter(wall, 0.45))
    brush.box(LEFT, floor_y - 1, RIGHT, floor_y + 2, color=darker(floor, 0.6), alpha=0.6)
    return vignette(out_of_focus(image, 1.1))


def _stripes(rng: np.random.Generator, brush: Brush, wall: Color, floor_y: float) -> None:
    step = rng.uniform(14, 26)
    for x in np.arange(LEFT, RIGHT, step):
        brush.box(x, TOP, x + step / 2, floor_y, color=darker(wall, 0.3), alpha=0.12)


def _pictures(
    rng: np.random.Generator, brush: Brush, accent: Color, x: float, *, floor_y: float
) -> None:
    count, y = int(rng.integers(1, 3)), rng.uniform(14, 40)
    x -= 28 * count
    for number in range(count):
        width, height = rng.uniform(34, 56), rng.uniform(34, 52)
        brush.soft(
            x + width / 2 + 3,
            y + height / 2 + 5,
            width * 0.8,
            height * 0.8,
            color=(20, 16, 24),
            alpha=0.4,
        )
        brush.box(x, y, x + width, y + height, color=(70, 52, 42) if number else (238, 232, 222))
        brush.box(x + 4, y + 4, x + width - 4, y + height - 4, color=lighter(accent, 0.55))
        brush.oval(x + width * 0.5, y + height - 8, width * 0.3, 6, color=darker(accent, 0.2))
        brush.disc(x + width * 0.65, y + height * 0.35, width * 0.11, (236, 190, 110))
        x += width + 10


def _plant(
    rng: np.random.Generator, brush: Brush, accent: Color, x: float, *, floor_y: float
) -> None:
    green = hsv(rng.uniform(0.26, 0.4), 0.45, rng.uniform(0.4, 0.55))
    for angle in rng.uniform(-1.2, 1.2, 11):
        tip = (x + 62 * np.sin(angle), floor_y - 30 - 62 * np.cos(angle))
        middle = (x + 26 * np.sin(angle), floor_y - 24 - 40 * np.cos(angle))
        side = (9 * np.cos(angle), 9 * np.sin(angle))
        leaf = [(x, floor_y - 20), (middle[0] - side[0], middle[1] - side[1]), tip,
                (middle[0] + side[0], middle[1] + side[1])]  # fmt: skip
        brush.polygon(curve(leaf), mix(green, (20, 50, 40), rng.uniform(0, 0.5)))
    pot = [
        (x - 16, floor_y - 24),
        (x + 16, floor_y - 24),
        (x + 12, floor_y + 6),
        (x - 12, floor_y + 6),
    ]
    brush.shaded(pot, lighter(accent, 0.2), darker(accent, 0.4))


def _lamp(
    rng: np.random.Generator, brush: Brush, accent: Color, x: float, *, floor_y: float
) -> None:
    y = rng.uniform(40, 64)
    brush.soft(x, y + 16, 110, 90, color=(255, 226, 170), alpha=0.75)
    brush.stroke([(x, y), (x, floor_y)], 3, (64, 54, 52))
    shade = [(x - 14, y - 18), (x + 14, y - 18), (x + 25, y + 16), (x - 25, y + 16)]
    brush.shaded(shade, lighter(accent, 0.75), (255, 222, 160))


def _shelf(
    rng: np.random.Generator, brush: Brush, accent: Color, x: float, *, floor_y: float
) -> None:
    x, y, width = x - 50, rng.uniform(64, 80), 100
    brush.soft(x + width / 2, y + 12, width * 0.7, 20, color=(20, 16, 24), alpha=0.4)
    at = x + 4
    while at < x + width - 12:
        thick, tall = rng.uniform(5, 10), rng.uniform(22, 36)
        color = hsv(rng.uniform(0, 1), rng.uniform(0.25, 0.5), rng.uniform(0.45, 0.8))
        brush.box(at, y - tall, at + thick, y, color=mix(color, accent, 0.35))
        brush.box(at, y - tall * 0.8, at + thick, y - tall * 0.72, color=(240, 226, 200), alpha=0.6)
        at += thick + rng.choice([0.6, 0.6, 7.0])
    brush.box(x, y, x + width, y + 5, color=(104, 76, 58))


def _window(
    rng: np.random.Generator, brush: Brush, accent: Color, x: float, *, floor_y: float
) -> None:
    x, y = x - 45, 12.0
    brush.soft(x + 45, y + 50, 120, 110, color=(255, 248, 226), alpha=0.6)
    brush.box(x - 4, y - 4, x + 94, y + 94, color=(244, 238, 228))
    pane = [(x, y), (x + 90, y), (x + 90, y + 90), (x, y + 90)]
    brush.shaded(pane, (150, 194, 226), (232, 236, 220))
    hills = [(x, y + 78), (x + 24, y + 68), (x + 50, y + 76), (x + 72, y + 64), (x + 90, y + 70)]
    brush.polygon([*hills, (x + 90, y + 90), (x, y + 90)], mix(accent, (126, 158, 112), 0.7))
    brush.box(x + 43, y, x + 47, y + 90, color=(244, 238, 228))
    brush.box(x, y + 43, x + 90, y + 47, color=(244, 238, 228))


def table(rng: np.random.Generator, top_y: float) -> Image.Image:
    """A wooden table whose far edge is at `top_y`, before a wall that is far out of focus."""
    wall, floor, accent = ROOMS[rng.integers(len(ROOMS))]
    image = canvas(darker(wall, 0.25))
    brush = Brush(image)
    for _ in range(9):
        color = mix(
            wall, (accent, floor, lighter(wall, 0.8))[rng.integers(3)], rng.uniform(0.2, 0.9)
        )
        x, y, r = rng.uniform(LEFT, RIGHT), rng.uniform(TOP, top_y), rng.uniform(18, 60)
        brush.oval(x, y, r, r * rng.uniform(0.8, 1.6), color=color, alpha=0.55)
    brush.soft(rng.uniform(20, 300), 10, 200, 150, color=(255, 240, 214), alpha=0.7)
    image = out_of_focus(image, 9)
    brush = Brush(image)
    color = mix(floor, hsv(rng.uniform(0.03, 0.1), 0.5, rng.uniform(0.45, 0.75)), 0.6)
    board = wood(rng, color, (image.width, round((BOTTOM - top_y) * SCALE)))
    image.paste(board, (0, round((top_y - TOP) * SCALE)))
    brush.box(LEFT, top_y - 1, RIGHT, top_y + 2, color=lighter(color, 0.5), alpha=0.6)
    brush.soft(160, BOTTOM, 300, 60, color=(20, 12, 16), alpha=0.45)
    return vignette(image)


def garden(rng: np.random.Generator) -> Image.Image:
    """Leaves and sky, far out of focus."""
    hue = rng.uniform(0.2, 0.45)
    season = rng.random()
    image = vertical(
        hsv(rng.uniform(0.5, 0.6), rng.uniform(0.15, 0.4), 0.95),
        hsv(hue, 0.3, rng.uniform(0.55, 0.8)),
        canvas().size,
    )
    brush = Brush(image)
    for _ in range(70):
        leaf = hsv(hue + rng.normal(0, 0.04), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.8))
        if season < 0.35:
            leaf = mix(leaf, hsv(rng.uniform(0.02, 0.12), 0.6, 0.9), rng.uniform(0, 0.9))
        y = BOTTOM - abs(rng.normal(0, 110))
        brush.disc(rng.uniform(LEFT, RIGHT), y, rng.uniform(8, 34), leaf, alpha=0.5)
    image = out_of_focus(image, 5)
    brush = Brush(image)
    for _ in range(14):
        spot = (255, 250, 220)
        brush.disc(
            rng.uniform(LEFT, RIGHT), rng.uniform(TOP, 200), rng.uniform(4, 13), spot, alpha=0.16
        )
    return vignette(out_of_focus(image, 1.2), 0.3)


def night(rng: np.random.Generator, ground_y: float) -> Image.Image:
    """A clear night over a town whose roofs stand on `ground_y`."""
    hue = rng.uniform(0.58, 0.72)
    image = vertical(
        hsv(hue, 0.75, 0.13), hsv(hue + rng.uniform(0, 0.14), 0.55, 0.36), canvas().size
    )
    brush = Brush(image)
    for _ in range(90):
        x, y = rng.uniform(LEFT, RIGHT), rng.uniform(TOP, ground_y)
        brush.disc(x, y, rng.uniform(0.4, 0.95), (255, 250, 235), alpha=rng.uniform(0.2, 0.9))
    if rng.random() < 0.6:
        x, y, r = rng.uniform(30, 290), rng.uniform(24, 60), rng.uniform(9, 15)
        brush.soft(x, y, 5 * r, 5 * r, color=(190, 200, 240), alpha=0.35)
        brush.disc(x, y, r, (244, 238, 214))
        brush.disc(x + r * 0.35, y - r * 0.2, r * 0.2, (222, 214, 190))
    for layer, shade in enumerate((0.3, 0.75)):
        _houses(rng, brush, ground_y, darker(hsv(hue, 0.5, 0.32), shade), layer=layer)
    return image


def _houses(
    rng: np.random.Generator, brush: Brush, ground_y: float, color: Color, *, layer: int
) -> None:
    x = LEFT - rng.uniform(0, 20)
    while x < RIGHT:
        width = rng.uniform(22, 46)
        top = ground_y - rng.uniform(16, 58 - 24 * layer)
        brush.box(x, top, x + width, ground_y + 1, color=color)
        if rng.random() < 0.4:
            brush.polygon([(x, top), (x + width / 2, top - 10), (x + width, top)], color)
        for wx in np.arange(x + 4, x + width - 5, 7):
            for wy in np.arange(top + 5, ground_y - 6, 9):
                if rng.random() < 0.32:
                    glow = mix((255, 214, 130), (255, 240, 200), rng.random())
                    brush.box(wx, wy, wx + 3, wy + 4, color=glow, alpha=0.85 if layer else 0.5)
        x += width + rng.uniform(-2, 5)


def wet_street(rng: np.random.Generator, ground_y: float) -> Image.Image:
    """A grey day in town, out of focus, and a wet pavement from `ground_y` that mirrors it."""
    hue = rng.uniform(0.52, 0.68)
    image = vertical(
        hsv(hue, 0.22, rng.uniform(0.42, 0.6)),
        hsv(hue, 0.18, rng.uniform(0.62, 0.74)),
        canvas().size,
    )
    brush = Brush(image)
    for _ in range(7):
        x, width = rng.uniform(LEFT, RIGHT), rng.uniform(30, 80)
        wall = hsv(hue + rng.normal(0, 0.05), 0.25, rng.uniform(0.3, 0.5))
        brush.box(x, rng.uniform(10, 90), x + width, ground_y, color=wall, alpha=0.7)
    image = out_of_focus(image, 5)
    brush = Brush(image)
    for _ in range(22):
        x, y, r = rng.uniform(LEFT, RIGHT), rng.normal(ground_y - 50, 24), rng.uniform(4, 11)
        light = hsv(rng.choice([0.09, 0.12, 0.02, 0.5, 0.58]), rng.uniform(0.3, 0.7), 1.0)
        brush.disc(x, min(y, ground_y - r), r, light, alpha=rng.uniform(0.18, 0.5))
    image = out_of_focus(image, 0.8)
    edge = round((ground_y - TOP) * SCALE)
    below = image.height - edge
    mirror = image.crop((0, edge - below, image.width, edge)).transpose(
        Image.Transpose.FLIP_TOP_BOTTOM
    )
    mirror = mirror.filter(ImageFilter.BoxBlur((2 * SCALE, 9 * SCALE)))
    mirror = Image.blend(mirror, Image.new("RGB", mirror.size, hsv(hue, 0.3, 0.22)), 0.45)
    image.paste(mirror, (0, edge))
    brush.box(LEFT, ground_y - 0.8, RIGHT, ground_y + 0.8, color=(30, 34, 44), alpha=0.5)
    return vignette(image)

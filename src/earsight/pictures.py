"""Pictures for people: queries, and the best answers beside them.

Plain arrays come in, a PNG goes out; nothing here knows of libraries or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import InputError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

PAPER, CARD, LINE = (247, 246, 243), (255, 255, 255), (223, 221, 215)
INK, SOFT_INK, RIGHT = (32, 35, 42), (122, 124, 130), (34, 150, 98)
NIGHT = (24, 27, 36)
PITCHES: tuple[Color, ...] = ((255, 138, 92), (250, 200, 106), (122, 205, 176), (92, 160, 255))

TILE, QUERY = (184, 138), (216, 162)  # width and height in pixels
GAP, EDGE, ARROW, CAPTION = 14, 32, 58, 30
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Tile:
    """One clip in the picture: seen if it has a `frame`, else heard.

    Attributes:
        label: Its class or name.
        frame: (height, width, 3) uint8 RGB.
        samples: (n,) mono sound in [−1, 1].
        rate: Samples a second.
        score: Similarity to the query, for an answer.
    """

    label: str
    frame: npt.NDArray[np.uint8] | None = None
    samples: FloatArray | None = None
    rate: int = 0
    score: float | None = None

    def __post_init__(self) -> None:
        if (self.frame is None) == (self.samples is None):
            raise InputError(
                f"The tile {self.label!r} needs either a frame or samples; "
                f"got {'neither' if self.frame is None else 'both'}."
            )
        if self.frame is not None and (self.frame.ndim != 3 or self.frame.shape[2] != 3):
            raise InputError(
                f"The frame of {self.label!r} must be (height, width, 3); got {self.frame.shape}."
            )


def contact_sheet(rows: Sequence[tuple[Tile, Sequence[Tile]]], out: Path, title: str = "") -> None:
    """Write a picture of queries and their answers, best first, as a PNG of at most 1 MB.

    An answer is framed in green where its label is the query's.

    Args:
        rows: (query, answers) for each row, from top to bottom.
        out: Where to write.
        title: One line above the rows.

    Raises:
        InputError: There is no row.
    """
    from PIL import Image, ImageDraw

    if not rows:
        raise InputError("A contact sheet needs at least one row of a query and its answers.")
    most = max(len(answers) for _, answers in rows)
    top = EDGE + (44 if title else 0)
    step = QUERY[1] + CAPTION + GAP
    width = 2 * EDGE + QUERY[0] + ARROW + most * (TILE[0] + GAP) - GAP
    sheet = Image.new("RGB", (width, top + len(rows) * step - GAP + EDGE // 2), PAPER)
    ink = ImageDraw.Draw(sheet)
    if title:
        ink.text((EDGE, EDGE - 8), title, INK, _font(24))
    for number, (query, answers) in enumerate(rows):
        y = top + number * step
        if number:
            ink.line([(EDGE, y - GAP // 2), (width - EDGE, y - GAP // 2)], LINE, 1)
        _query(sheet, ink, query, answers, y=y)
        for rank, answer in enumerate(answers):
            x = EDGE + QUERY[0] + ARROW + rank * (TILE[0] + GAP)
            right = answer.label == query.label
            _answer(sheet, ink, answer, rank=rank + 1, right=right, x=x, y=y)
    _save(sheet, out)


def waveform(samples: FloatArray, rate: int, size: tuple[int, int]) -> "Image.Image":
    """Draw a sound as bars: as high as it is loud, warm where it is low, cool where it is high.

    A bar's height is its stretch's peak to the power 0.7, so that what is quiet stays visible; its
    colour is the spectral centroid, from 200 Hz to 5 kHz on a logarithmic scale.

    Args:
        samples: (n,) mono, n ≥ 1.
        rate: Samples a second.
        size: Width and height in pixels.

    Raises:
        InputError: No samples, or a rate that is not positive.
    """
    from PIL import Image, ImageDraw

    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1 or not len(samples) or rate <= 0:
        raise InputError(
            "A waveform needs mono samples (n,) and their rate in Hz; "
            f"got shape {samples.shape} at {rate}."
        )
    width, height = 2 * size[0], 2 * size[1]  # drawn at twice the size, for smooth edges
    image = Image.new("RGB", (width, height), NIGHT)
    ink = ImageDraw.Draw(image)
    pitch, bar = 8, 5
    stretches = np.array_split(samples, max(1, (width - 40) // pitch))
    loudest = max(float(np.abs(samples).max()), 1e-9)
    ink.line([(20, height / 2), (width - 20, height / 2)], (58, 62, 76), 2)
    for number, stretch in enumerate(stretches):
        peak = float(np.abs(stretch).max()) if len(stretch) else 0.0
        half = max(1.5, (peak / loudest) ** 0.7 * (height / 2 - 26)) if peak else 1.5
        x = 20 + number * pitch
        corners = [(x, height / 2 - half), (x + bar, height / 2 + half)]
        ink.rounded_rectangle(corners, bar / 2, _pitch_color(stretch, rate))
    return image.resize(size, Image.Resampling.LANCZOS)


def _pitch_color(stretch: FloatArray, rate: int) -> Color:
    spectrum = np.abs(np.fft.rfft(stretch)) ** 2 if len(stretch) else np.zeros(1)
    if spectrum.sum() <= 0:
        return PITCHES[0]
    centre = float(spectrum @ np.fft.rfftfreq(len(stretch), 1 / rate) / spectrum.sum())
    place = np.log(np.clip(centre, 200, 5000) / 200) / np.log(25) * (len(PITCHES) - 1)
    red, green, blue = (
        round(float(np.interp(place, range(len(PITCHES)), channel)))
        for channel in zip(*PITCHES, strict=True)
    )
    return red, green, blue


@lru_cache
def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fit(ink: "ImageDraw.ImageDraw", text: str, font: Any, width: float) -> str:
    """Write `text` on one line, and shorten it until it is at most `width` pixels wide."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if ink.textlength(text, font) <= width:
        return text
    while text and ink.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"


def _picture(tile: Tile, size: tuple[int, int]) -> "Image.Image":
    """Return the tile's face: its frame cut to the shape of `size`, or its waveform."""
    from PIL import Image, ImageOps

    if tile.frame is None:
        return waveform(np.asarray(tile.samples), tile.rate, size)
    return ImageOps.fit(Image.fromarray(tile.frame), size, Image.Resampling.LANCZOS)


def _paste(
    sheet: "Image.Image", picture: "Image.Image", x: int, y: int, *, frame: Color, thick: int
) -> None:
    """Put a picture on the sheet with round corners and a frame around it."""
    from PIL import Image, ImageDraw

    wide, tall = picture.width + 2 * thick, picture.height + 2 * thick
    mask = Image.new("L", (4 * wide, 4 * tall), 0)
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, 4 * wide - 1, 4 * tall - 1], 40, 255)
    sheet.paste(frame, (x - thick, y - thick), mask.reduce(4))
    inner = Image.new("L", (4 * picture.width, 4 * picture.height), 0)
    ImageDraw.Draw(inner).rounded_rectangle([0, 0, inner.width - 1, inner.height - 1], 30, 255)
    sheet.paste(picture, (x, y), inner.reduce(4))


def _query(
    sheet: "Image.Image",
    ink: "ImageDraw.ImageDraw",
    query: Tile,
    answers: Sequence[Tile],
    *,
    y: int,
) -> None:
    _paste(sheet, _picture(query, QUERY), EDGE, y, frame=INK, thick=2)
    baseline = y + QUERY[1] + 6
    name = _fit(ink, query.label, _font(17), QUERY[0] - 70)
    ink.text((EDGE + 2, baseline), name, INK, _font(17))
    kind = "sight" if query.samples is None else "sound"
    ink.text((EDGE + QUERY[0] - 2, baseline + 3), f"by {kind}", SOFT_INK, _font(14), anchor="ra")
    if answers:
        left, middle = EDGE + QUERY[0] + 14, y + QUERY[1] // 2
        right = left + ARROW - 30
        ink.line([(left, middle), (right - 3, middle)], SOFT_INK, 3)
        ink.polygon(
            [(right + 3, middle), (right - 8, middle - 7), (right - 8, middle + 7)], SOFT_INK
        )


def _answer(
    sheet: "Image.Image",
    ink: "ImageDraw.ImageDraw",
    tile: Tile,
    *,
    rank: int,
    right: bool,
    x: int,
    y: int,
) -> None:
    y += (QUERY[1] - TILE[1]) // 2
    frame, thick = (RIGHT, 4) if right else (LINE, 1)
    _paste(sheet, _picture(tile, TILE), x, y, frame=frame, thick=thick)
    ink.rounded_rectangle([x + 7, y + 7, x + 29, y + 29], 11, RIGHT if right else (74, 77, 86))
    ink.text((x + 18, y + 18), str(rank), CARD, _font(14), anchor="mm")
    baseline = y + TILE[1] + 8
    name = _fit(ink, tile.label, _font(15), TILE[0] - 52)
    ink.text((x + 2, baseline), name, RIGHT if right else INK, _font(15))
    if tile.score is not None:
        score = f"{tile.score:.2f}".replace("-", "−")
        ink.text((x + TILE[0] - 2, baseline + 1), score, SOFT_INK, _font(14), anchor="ra")


def _save(sheet: "Image.Image", out: Path) -> None:
    """Write the PNG, with as many colours as MAX_BYTES allows; smaller if even 64 are too many."""
    import io

    from PIL import Image

    for colors in (None, 256, 128, 64):
        picture = sheet
        if colors is not None:
            picture = sheet.quantize(colors, Image.Quantize.MEDIANCUT)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MAX_BYTES:
            out.write_bytes(buffer.getvalue())
            return
    _save(
        sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS), out
    )

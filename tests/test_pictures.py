"""The contact sheet: what is right is green, what is missing is said, and the file stays small."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earsight import pictures
from earsight.errors import InputError
from earsight.pictures import Tile, contact_sheet, waveform

RATE = 16_000


def tone(frequency: float, duration: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(duration * RATE)) / RATE)


def grey(label: str, score: float | None = None) -> Tile:
    return Tile(label, frame=np.full((120, 160, 3), 128, np.uint8), score=score)


def frame_colors(sheet: Image.Image) -> list[tuple[int, int, int]]:
    """The colour in the middle of each answer's upper edge, for the first row without a title."""
    left = pictures.EDGE + pictures.QUERY[0] + pictures.ARROW
    y = pictures.EDGE + (pictures.QUERY[1] - pictures.TILE[1]) // 2 - 1
    step = pictures.TILE[0] + pictures.GAP
    return [sheet.getpixel((left + k * step + pictures.TILE[0] // 2, y)) for k in range(2)]


def test_an_answer_of_the_querys_class_is_framed_in_green(tmp_path: Path) -> None:
    query = Tile("dog", samples=tone(440), rate=RATE)
    contact_sheet([(query, [grey("dog", 0.9), grey("cat", -0.1)])], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        right, wrong = frame_colors(sheet.convert("RGB"))
    assert right == pictures.RIGHT
    assert wrong == pictures.LINE


def test_rows_of_every_length_and_names_of_every_length_fit(tmp_path: Path) -> None:
    long = "a name that is much too long for its place, with “quotes” and\nnewlines\udcff"
    rows = [
        (grey(long), [Tile(long, samples=tone(300), rate=RATE, score=0.5)] * 5),
        (Tile("x", samples=np.zeros(10), rate=RATE), []),
        (grey("wide"), [Tile("tall", frame=np.zeros((400, 30, 3), np.uint8))]),
    ]
    contact_sheet(rows, tmp_path / "a.png", title="Three rows")
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width > 5 * pictures.TILE[0] and sheet.height > 3 * pictures.QUERY[1]


def test_noisy_pictures_stay_under_a_megabyte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = Tile("noise", frame=rng.integers(0, 256, (138, 184, 3), dtype=np.uint8), score=1.0)
    contact_sheet([(noise, [noise] * 5)] * 9, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size <= pictures.MAX_BYTES


def test_a_waveform_is_high_where_it_is_loud_and_cool_where_it_is_high() -> None:
    sound = np.concatenate([0.05 * tone(250), tone(4500)])
    image = np.asarray(waveform(sound, RATE, (200, 100))).astype(int)
    lit = np.abs(image - np.array(pictures.NIGHT)).sum(axis=2) > 60
    assert lit[:, :95].any(axis=1).sum() < 0.4 * lit[:, 105:].any(axis=1).sum()
    quiet, loud = image[:, :95][lit[:, :95]].mean(axis=0), image[:, 105:][lit[:, 105:]].mean(axis=0)
    assert quiet[0] > quiet[2]  # red before blue
    assert loud[2] > loud[0]


@pytest.mark.parametrize("samples", [np.zeros(3), np.ones(1), tone(100, 0.01)])
def test_short_and_silent_sounds_are_drawn(samples: np.ndarray) -> None:
    assert waveform(samples, RATE, (80, 40)).size == (80, 40)


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one row"):
        contact_sheet([], tmp_path / "a.png")
    with pytest.raises(InputError, match=r"either a frame or samples; got neither"):
        Tile("dog")
    with pytest.raises(InputError, match=r"must be \(height, width, 3\); got \(5, 5\)"):
        Tile("dog", frame=np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match=r"got shape \(0,\) at 16000"):
        waveform(np.zeros(0), RATE, (80, 40))
    assert not (tmp_path / "a.png").exists()

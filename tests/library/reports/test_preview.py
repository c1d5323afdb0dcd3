"""One frame by seeking, peaks of any length of sound, and the limits for strangers' files."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from _clips import make_clip, sine
from earsight.errors import InputError, MediaError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.reports import preview
from earsight.library.reports.preview import PreviewReader
from earsight.media import Decoder, FrameRequest, Status, still
from earsight.web import previews
from earsight.web.previews import Previews


def grey(seconds: float) -> np.ndarray:
    """Brighter by 20 each second."""
    return np.full((120, 160, 3), 20 + 20 * int(seconds), np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".gif"])
def test_the_frame_at_a_moment(tmp_path: Path, suffix: str) -> None:
    clip = make_clip(tmp_path / f"clip{suffix}", 8, draw=grey)
    for at in (0.0, 0.5, 3.5, 6.5):
        shown = still(clip, at, 120)
        assert shown.shape == (120, 160, 3)
        off = 30 if suffix == ".gif" else 6  # eight bits a pixel
        assert abs(float(shown.mean()) - grey(at).mean()) < off, at
    assert abs(float(still(clip, 1e6, 120).mean()) - grey(7).mean()) < 60  # the end, or near it


def test_a_picture_is_its_own_frame(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "a.png")
    assert still(tmp_path / "a.png", 5.0, 100).shape == (100, 150, 3)
    jpeg = Image.open(io.BytesIO(preview.picture(tmp_path / "a.png", 0)))
    assert jpeg.format == "JPEG" and jpeg.size == (360, 240)


def test_no_frame(tmp_path: Path) -> None:
    sound = make_clip(tmp_path / "sound.wav")
    (tmp_path / "list.mp4").write_text("#EXTM3U\nsound.wav\n")
    (tmp_path / "text.mp4").write_text("no film")
    for path, why in {sound: "no sight", tmp_path / "list.mp4": "playlist"}.items():
        with pytest.raises(MediaError, match=why):
            still(path, 0, 100)
    for path in (tmp_path / "text.mp4", tmp_path / "nowhere.mp4", tmp_path):
        with pytest.raises(MediaError):
            still(path, 0, 100)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(make_clip(tmp_path / "whole.mp4", 4).read_bytes()[:-2000])
    with pytest.raises(MediaError):
        still(cut, 0, 100)


def test_peaks_are_high_where_it_is_loud(tmp_path: Path) -> None:
    def louder(t: np.ndarray) -> np.ndarray:
        return np.where(t < 2, 0.1, np.where(t < 3, 0.0, 0.8)) * sine(440, 1.0)(t)

    path = make_clip(tmp_path / "a.wav", 4, sound=louder)
    peaks, seconds = preview.peaks(path, 40)
    assert seconds == pytest.approx(4, abs=0.01) and peaks.shape == (40,)
    assert np.allclose(peaks[1:19], 0.125, atol=0.02)
    assert peaks[22:28].max() < 0.02 and np.allclose(peaks[32:39], 1, atol=0.05)
    many, _ = preview.peaks(path, 5000)  # more stretches than hundredths of a second
    assert many.shape == (5000,) and many.max() == 1
    with pytest.raises(MediaError, match="no sound"):
        preview.peaks(make_clip(tmp_path / "silent.mp4", audio=False), 10)


def test_silence_has_flat_peaks(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.wav", sound=lambda t: 0 * t)
    assert preview.peaks(path, 10)[0].tolist() == [0.0] * 10


@pytest.mark.parametrize("asked", [{"audio": [8000]}, {"frames": [FrameRequest(2.0, 64)]}])
def test_a_decoder_with_a_limit(tmp_path: Path, asked: dict[str, list[object]]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 3)
    assert list(Decoder(clip, max_seconds=4, **asked))  # type: ignore[arg-type]
    decoder = Decoder(clip, max_seconds=2, **asked)  # type: ignore[arg-type]
    assert list(decoder) == [] and decoder.report.status is Status.UNREADABLE
    assert "longer than the 2 s" in decoder.report.message
    with pytest.raises(InputError, match="`max_seconds` must be above 0; got nan"):
        Decoder(clip, max_seconds=float("nan"))


def test_one_frame_that_stays_for_hours_is_counted(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "slides.mp4", audio=False)
    blob = bytearray(clip.read_bytes())
    at = blob.index(b"stts") + 16  # how long each frame stays, in 12,800ths of a second
    blob[at : at + 4] = struct.pack(">I", 3000 * 12_800)
    clip.write_bytes(blob)
    decoder = Decoder(clip, frames=[FrameRequest(1.0, 32)], max_seconds=100)
    given = sum(len(block.times) for block in decoder)  # type: ignore[union-attr]
    assert 90 <= given <= 100 and decoder.report.status is Status.UNREADABLE


def test_previews_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def picture(_: PreviewReader, path: Path, at: float) -> bytes:
        made.append(path)
        return bytes(400)

    monkeypatch.setattr(PreviewReader, "picture", picture)
    clips = []
    for number in range(3):
        file = tmp_path / f"{number}.mp4"
        file.write_bytes(b"x")
        has = ("visual",)
        clips.append(
            LibraryClip(number, file.name, None, 1.0, has, "ok", "", file.name, file, 1, 1)
        )
    monkeypatch.setattr(previews, "MAX_BYTES", 1000)
    made_once = Previews()
    for number in (0, 1, 0, 2, 0, 1):  # room for two: 1 makes way for 2, and 2 for 1
        assert len(made_once.thumbnail(clips[number], tmp_path, None)) == 400
    assert [path.stem for path in made] == ["0", "1", "2", "1"]


def test_peaks_of_long_sound_take_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rising(t: np.ndarray) -> np.ndarray:
        return t / 20 * sine(440, 1.0)(t)

    clip = make_clip(tmp_path / "long.wav", 20, sound=rising)
    fine, seconds = preview.peaks(clip, 50)
    monkeypatch.setattr(preview, "_MOST_PEAKS", 300)  # of 2000
    folded, same = preview.peaks(clip, 50)
    assert same == seconds and np.abs(folded - fine).max() < 0.05
    assert (np.diff(folded) > 0).mean() > 0.9

"""Texts beside clips that were written to take for ever: refused, or read in bounded work."""

import os
import re
from pathlib import Path

import pytest

from _clips import make_clip
from _twin import register
from earsight.extractors.preprocessing import text_files
from earsight.extractors.preprocessing.text_files import Cue, parse_srt
from earsight.library.catalog.sidecars import text_file_of
from earsight.library.embedding import text_rows
from earsight.library.embedding.extraction import Sources, spans
from earsight.library.embedding.text_rows import MOST_SAID
from earsight.library.indexing.pipeline import index
from earsight.library.reports import preview


def clock(seconds: float) -> str:
    whole, ms = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d},{ms:03d}"


def subtitles(cues: list[tuple[float, float, str]]) -> str:
    return "\n\n".join(
        f"{n}\n{clock(start)} --> {clock(end)}\n{said}" for n, (start, end, said) in enumerate(cues)
    )


def why(path: Path) -> str:
    read = text_rows.read_text(path, Sources(audio="twin", visual="none"))
    assert not read.windows
    return read.report.message


@pytest.fixture
def srt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    register(monkeypatch)
    return tmp_path / "a.srt"


@pytest.mark.parametrize("opening", ["<i ", "<font ", "{\\", "</b"])
def test_marks_without_an_end_take_work_by_their_number(opening: str) -> None:
    """Each mark is looked at for 200 characters at most: the rest of a text is nothing to it."""
    said = opening * 100_000
    (cue,) = parse_srt(f"0:00:01,0 --> 0:00:02,0\n{said}")
    assert cue.text == " ".join(said.split())
    longest = f"{opening} {'x' * 190}{'}' if opening[0] == '{' else '>'}"
    longer = longest.replace("x", "xx", 100)
    assert (
        re.sub(text_files._TAGS, "", longest) == ""
        and re.sub(text_files._TAGS, "", longer) == longer
    )


@pytest.mark.parametrize(
    ("hours", "told"), [("24", "24:00:00"), ("9999999", "9999999:00:00"), ("9" * 9999, "9" * 20)]
)
def test_subtitles_that_are_hours_away_are_refused(srt: Path, hours: str, told: str) -> None:
    srt.write_text(f"1\n00:00:01,000 --> {hours}:00:00,000\nFor ever.\n")
    assert f"a subtitle at {told}" in why(srt) and "before 24 hours" in why(srt)
    with pytest.raises(ValueError, match="before 24 hours"):
        preview.words(srt)


def test_many_long_subtitles_are_refused_at_the_first_window(
    srt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[int] = []
    real = text_rows._together
    monkeypatch.setattr(
        text_rows, "_together", lambda said, *when: joined.append(len(said)) or real(said, *when)
    )
    srt.write_text(subtitles([(n / 1000, 80_000, "Too much.") for n in range(20_000)]))
    assert f"at most {MOST_SAID} are read of a window" in why(srt)
    assert joined == [10_000]


def test_what_stays_for_hours_is_read_once(srt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = text_rows.extract_text

    def counted(text: str, *how: object) -> object:
        read.append(text)
        return real(text, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(text_rows, "extract_text", counted)
    srt.write_text(subtitles([(0, 80_000, "It is red."), (40_001, 40_002, "It is blue.")]))
    found = text_rows.read_text(srt, Sources(audio="twin", visual="none"))
    assert read == ["It is red.", "It is red. It is blue.", "It is red."]
    assert len(found.windows) == len(spans(80_000)) and found.report.duration == 80_000


def test_windows_are_those_in_which_something_is_said(srt: Path) -> None:
    """The walk gives what looking at every subtitle for every window gives."""
    cues = [(97 * n % 3000 + 0.5, 97 * n % 3000 + n % 40, f"word{n}") for n in range(120)]
    srt.write_text(subtitles(cues))
    expected = []
    for start, end in spans(max(end for _, end, _ in cues)):
        said = [text for begun, over, text in cues if begun < end and over > start]
        expected += [(start, end, " ".join(said))] * bool(said)
    assert list(text_rows._pieces(srt)) == expected and len(expected) < len(spans(3040))


def test_subtitles_that_stay_for_no_time(srt: Path) -> None:
    srt.write_text(subtitles([(0, 0, "Gone.")]))
    assert "stays for any time" in why(srt)


def test_a_glimpse_reads_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes("é ".encode() * 1_000_000 + b"\xff")  # the end is not looked at
    assert preview.words(text) == "é " * 199 + "é…"
    text.write_text("Short.")
    assert preview.words(text) == "Short."
    made: list[Cue] = []
    real = text_files.parse_srt

    def counted(text: str) -> object:
        for cue in real(text):
            made.append(cue)
            yield cue

    monkeypatch.setattr(text_files, "parse_srt", counted)
    srt = tmp_path / "a.srt"
    srt.write_text(subtitles([(n, n + 1, "ten chars.") for n in range(10_000)]))
    assert len(preview.words(srt)) == 400 and len(made) == 37
    assert preview.words(srt, 5.5, 7) == "ten chars. ten chars."


def test_a_pipe_is_no_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    assert text_file_of(tmp_path / "a.wav") is None
    (tmp_path / "a.srt").write_text("x")
    assert text_file_of(tmp_path / "a.wav") == tmp_path / "a.srt"


def test_index_tells_of_them_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    for number, name in enumerate(("far", "full", "good")):
        make_clip(tmp_path / f"{name}.wav", 0.2, tone=400 + 200 * number)
    (tmp_path / "far.srt").write_text("0:00:01,0 --> 9999999:00:00,0\nFor ever.\n")
    (tmp_path / "full.srt").write_text("0:00:01,0 --> 0:00:02,0\n" + "<i " * 200_000)
    (tmp_path / "good.srt").write_text("0:00:01,0 --> 0:00:02,0\nIt is red.\n")
    told = {
        path: message for path, _, message in index(tmp_path, audio="twin", visual="none").trouble
    }
    assert told.keys() == {"far.srt", "full.srt"}
    assert "24 hours" in told["far.srt"] and "characters" in told["full.srt"]

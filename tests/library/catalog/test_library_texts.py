"""The text beside a clip: which file it is, what it says, and searching by and for it."""

import codecs
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _clips import make_clip
from _folders import names, rows
from _twin import register
from earsight import engine
from earsight.errors import InputError, MediaError
from earsight.extractors.minilm import MiniLM
from earsight.extractors.preprocessing.text_files import parse_srt, read_cues, read_text
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.client import Library
from earsight.library.embedding.extraction import Sources
from earsight.library.indexing.forget import forget_clips
from earsight.library.indexing.pipeline import index
from earsight.library.reports.status import library_status
from earsight.library.search.searcher import search

SAID = {"dog": "A dog barks at the postman.", "sea": "Waves roll onto the beach.", "car": "A car."}
SRT = """1
00:00:00,500 --> 00:00:02,000
<i>Waves roll</i>

2
00:00:02,500 --> 00:00:04,000
{\\an8}onto the
beach.
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips with texts, one of them subtitles, and two without."""
    folder = tmp_path_factory.mktemp("told") / "clips"
    folder.mkdir()
    for number, name in enumerate([*SAID, "mute", "plain"]):
        make_clip(folder / f"{name}.mp4", tone=300 + 200 * number, colour=(40 * number, 90, 20))
    (folder / "dog.txt").write_text(SAID["dog"])
    (folder / "sea.SRT").write_text(SRT)
    (folder / "car.txt").write_bytes(codecs.BOM_UTF16_LE + SAID["car"].encode("utf-16-le"))
    (folder / "notes.txt").write_text("Beside no clip.")
    index(folder)
    return folder


@pytest.fixture
def folder(told: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(told, tmp_path / "clips"))


def texts(folder: Path) -> list[str]:
    with open_library(folder / FOLDER) as store:
        return [os.fsdecode(text.path) for text in store.texts()]


def ranked(folder: Path, **how: object) -> list[str]:
    return [Path(one.path).stem for one in search(folder, top=99, **how).results]  # type: ignore[arg-type]


# Which file is whose text


def test_texts_beside_clips_are_indexed_and_others_passed_over(told: Path) -> None:
    assert texts(told) == ["car.txt", "dog.txt", "sea.SRT"]
    report = index(told)
    assert (report.n_clips, report.n_texts, report.passed_over) == (5, 3, 1)
    assert not report.rebuilt and report.trouble == []
    assert sum(key.endswith(":text") for key in rows(told)) == 3


def test_of_two_texts_the_written_one_is_taken(folder: Path) -> None:
    (folder / "dog.srt").write_text(SRT)
    report = index(folder)
    assert not report.rebuilt and report.passed_over == 2
    (folder / "dog.txt").unlink()
    report = index(folder)
    assert texts(folder) == ["car.txt", "dog.srt", "sea.SRT"]
    assert report.changes.texts == 2 and report.rebuilt


def test_one_text_is_of_every_clip_with_its_name(folder: Path) -> None:
    make_clip(folder / "dog.wav", tone=1500)
    index(folder)
    found = search(folder, text="a dog barks", for_="text", top=2).results
    assert {Path(one.path).name for one in found} == {"dog.mp4", "dog.wav"}
    assert found[0].score == found[1].score


# What a text says


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**7),
            st.lists(
                st.from_regex(r"[A-Za-zé0-9][a-z ,.!?]{0,8}[a-z]", fullmatch=True), min_size=1
            ),
        ),
        min_size=1,
    )
)
def test_subtitles_as_programs_write_them(said: list[tuple[int, list[str]]]) -> None:
    def clock(ms: int) -> str:
        return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"

    written = "\n\n".join(
        "\n".join([str(n), f"{clock(ms)} --> {clock(ms + 900)}", *lines])
        for n, (ms, lines) in enumerate(said, 1)
    )
    cues = list(parse_srt(written))
    assert [cue.text for cue in cues] == [" ".join(" ".join(ls).split()) for _, ls in said]
    assert [cue.start for cue in cues] == pytest.approx([ms / 1000 for ms, _ in said])
    assert [cue.end - cue.start for cue in cues] == pytest.approx([0.9] * len(said))


@pytest.mark.parametrize(
    "blob",
    [
        "Ein Hündchen.".encode(),
        codecs.BOM_UTF8 + "Ein Hündchen.".encode(),
        codecs.BOM_UTF16_LE + "Ein Hündchen.".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Ein Hündchen.".encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 mark", "utf-16 le", "utf-16 be"],
)
def test_encodings(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(blob)
    assert read_text(tmp_path / "a.txt") == "Ein Hündchen."


def test_subtitles_without_numbers_times_and_marks(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(codecs.BOM_UTF8 + SRT.replace("\n", "\r\n").encode())
    assert read_text(tmp_path / "a.srt") == "Waves roll onto the beach."
    assert [(cue.start, cue.end) for cue in read_cues(tmp_path / "a.srt")] == [(0.5, 2), (2.5, 4)]
    odd = "00:01.5 --> 01:02:03.25 X1:0\n42\n\n7\n00:00:09,000 --> 00:00:10,000\n \n"
    (cue,) = parse_srt(odd)
    assert (cue.start, cue.end, cue.text) == (1.5, 3723.25, "42")


def test_subtitles_are_found_where_they_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    make_clip(tmp_path / "long.wav", 40)
    make_clip(tmp_path / "other.wav", 1, tone=900)
    said = ("red", "green", "red", "blue")
    cues = [
        f"{n}\n00:00:{12 * n:02d},000 --> 00:00:{12 * n + 3:02d},000\nIt is {name}.\n"
        for n, name in enumerate(said)
    ]
    (tmp_path / "long.srt").write_text("\n".join(cues))
    index(tmp_path, audio="twin", visual="none")
    (found,) = search(tmp_path, text="something blue", for_="text").results
    assert found.start <= 36 and found.end >= 39 and found.end - found.start <= 10
    assert not found.whole
    whole = search(tmp_path, tmp_path / "long.wav", by="text", for_="text")
    assert whole.results[0].is_query


BAD = {
    "blank.txt": (b" \n", "A text must say something"),
    "long.txt": (b"dog " * 300, "at most 256 tokens"),
    "latin.txt": ("Hündchen".encode("latin-1"), "cannot be read as text: 'utf-8' codec"),
    "wide.txt": ("dog".encode("utf-16-le"), "holds NUL"),
    "huge.txt": (b"x" * (4 * 2**20 + 1), "at most 4194304 are read"),
    "words.srt": (b"only words", "no subtitle"),
}


def test_what_is_no_text_is_told(folder: Path) -> None:
    for number, (name, (blob, _)) in enumerate(BAD.items()):
        make_clip((folder / name).with_suffix(".wav"), 0.2, tone=2000 + 100 * number)
        (folder / name).write_bytes(blob)
    for _ in range(2):  # a state, not an event
        trouble = {path: (status, why) for path, status, why in index(folder).trouble}
        assert trouble.keys() == BAD.keys()
        for name, (_, message) in BAD.items():
            assert trouble[name][0] == "unreadable" and message in trouble[name][1]
    assert sorted(ranked(folder, text="a dog", for_="text")) == ["car", "dog", "sea"]
    with pytest.raises(MediaError, match=r"long\.txt: A text must have at most 256 tokens"):
        search(folder, folder / "long.wav", by="text")


# Searching


def test_by_text_and_for_text(told: Path) -> None:
    assert ranked(told, text="the ocean", for_="text") == ["sea", *ranked_but(told, "sea")]
    found = search(told, told / "dog.mp4", by="text", for_="text")
    assert (found.by, found.for_, found.space) == ("text", "text", "words")
    first = found.results[0]
    assert first.is_query and first.score == pytest.approx(1, abs=1e-5) and first.whole
    assert len(found.results) == 3  # those that have a text
    assert len(search(told, told / "dog.mp4", by="visual", for_="text").results) == 3
    by_text = search(told, told / "dog.txt")  # the text itself, and sights by default
    assert (by_text.by, by_text.for_) == ("text", "visual") and len(by_text.results) == 5
    assert [one.path for one in by_text.results if one.is_query] == [str(told / "dog.mp4")]


def ranked_but(folder: Path, name: str) -> list[str]:
    return [one for one in ranked(folder, text="the ocean", for_="text") if one != name]


def test_scores_are_cosines_of_centred_texts(told: Path) -> None:
    """Texts lie about their shrunken mean, typed words about the prior."""
    said = [SAID["car"], SAID["dog"], read_text(told / "sea.SRT"), "a storm at sea"]
    x = MiniLM().embed(said).astype(np.float64)
    prior = Sources().priors()["text"]
    x[:3] -= (x[:3].sum(axis=0) + 10 * prior) / 13
    x[3] -= prior
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    for query, asked in ((3, {"text": said[3]}), (1, {"query": told / "dog.txt"})):
        expected = dict(zip(("car", "dog", "sea"), z[:3] @ z[query], strict=True))
        for one in search(told, for_="text", **asked).results:  # type: ignore[arg-type]
            assert one.score == pytest.approx(expected[Path(one.path).stem], abs=1e-5)


def test_a_clip_by_number_needs_no_file(folder: Path) -> None:
    by_file = search(folder, folder / "dog.mp4", by="text", for_="text").results
    (folder / "dog.txt").unlink()
    with Library(folder) as library:
        number = {clip.path: clip.id for clip in library.clips()}
        found = library.search(clip=number["dog.mp4"], by="text", for_="text").results
        with pytest.raises(InputError, match="has no text to search by"):
            library.search(clip=number["plain.mp4"], by="text")
    assert [one.path for one in found] == [one.path for one in by_file]
    assert [one.score for one in found] == pytest.approx([one.score for one in by_file], abs=1e-5)


def test_questions_without_texts(told: Path, made: Path) -> None:
    with pytest.raises(InputError, match="has no text to search by"):
        search(told, told / "plain.mp4", by="text")
    with pytest.raises(InputError, match="is a text; it has no sound"):
        search(told, told / "dog.txt", by="audio")
    with pytest.raises(InputError, match="audio, visual or text; got 'smell'"):
        search(told, told / "dog.txt", for_="smell")
    found = search(made, text="a dog", for_="text")
    assert found.results == [] and "No clip of this library has a text" in found.notes[0]


def test_other_answers_do_not_change_with_texts(told: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(told, tmp_path / "bare", ignore=shutil.ignore_patterns(FOLDER)))
    for path in (*bare.glob("*.txt"), *bare.glob("*.SRT")):
        path.unlink()
    index(bare)
    assert names(bare, "dog.mp4", by="audio") == names(told, "dog.mp4", by="audio")
    for for_ in ("audio", "visual"):
        one, two = (search(f, text="a dog", for_=for_, top=9).results for f in (bare, told))
        assert [(Path(r.path).name, r.score) for r in one] == [
            (Path(r.path).name, r.score) for r in two
        ]


# From day to day


def test_a_changed_text_is_read_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = engine.run

    def spy(work: object, items: Iterator[object], **how: object) -> Iterator[object]:
        jobs = list(items)
        read.extend(job.path.name for job in jobs)  # type: ignore[attr-defined]
        return real(work, jobs, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "run", spy)
    (folder / "car.txt").write_text("An orchestra tunes its instruments.")
    report = index(folder)
    assert read == ["car.txt"]
    assert (report.changes.texts, report.changes.added, report.changes.again) == (1, 0, 0)
    assert ranked(folder, text="violins", for_="text")[0] == "car"
    for ending in (".mp4", ".txt"):
        (folder / f"car{ending}").rename(folder / f"van{ending}")
    report = index(folder)
    assert read == ["car.txt"] and not report.rebuilt and report.changes.moved == 1
    assert ranked(folder, text="violins", for_="text")[0] == "van"
    (folder / "van.txt").unlink()
    report = index(folder)
    assert report.changes.texts == 1 and texts(folder) == ["dog.txt", "sea.SRT"]
    assert sorted(ranked(folder, text="violins", for_="text")) == ["dog", "sea"]


def test_a_text_goes_with_its_clip(folder: Path) -> None:
    (folder / "sea.mp4").unlink()
    report = index(folder)
    assert texts(folder) == ["car.txt", "dog.txt"] and report.passed_over == 2
    forget_clips(folder, [folder / "dog.mp4"])
    index(folder)
    assert texts(folder) == ["car.txt"]
    assert sum(key.endswith(":text") for key in rows(folder)) == 1
    pending = library_status(folder).pending
    assert pending is not None and pending.nothing
    (folder / "car.txt").write_text("A car, and another one.")
    make_clip(folder / "new.mp4", tone=3000)
    (folder / "new.txt").write_text("New.")
    pending = library_status(folder).pending
    assert pending is not None
    assert (pending.new, pending.changed) == (["new.mp4", "new.txt"], ["car.txt"])

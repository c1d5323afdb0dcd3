"""`earsight.Library`: what stays open answers as what is opened anew, and follows the index."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earsight
from _clips import make_clip
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import FOLDER
from earsight.library.indexing.pipeline import index
from earsight.library.search.searcher import search
from earsight.vectors import InMemoryIndex, LanceIndex, Row


def flat(answer: object) -> list[tuple[str, float]]:
    return [(one.path, one.score) for one in answer]  # type: ignore[attr-defined]


def test_it_answers_as_the_command_does(made: Path) -> None:
    with earsight.Library(made) as library:
        for asked in ({"text": "a red wall"}, {"query": "red/b.mp4", "by": "audio"}):
            warm, cold = library.search(**asked, top=99), search(made, **asked, top=99)
            assert flat(warm) == flat(cold) and len(warm) > 3
            assert warm.as_json() == cold.as_json()
        number = next(c.id for c in library.clips() if c.path == "red/b.mp4")
        by_number = library.search(clip=number, by="audio", top=99)
        assert flat(by_number) == flat(library.search("red/b.mp4", by="audio", top=99))
        assert by_number.query == "red/b.mp4"


def test_a_clip_of_the_library_is_not_decoded(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earsight.library.search.embed_query.read_clip", None)
    monkeypatch.setattr("earsight.library.search.embed_query.content_hash", None)
    with earsight.Library(made) as library:
        assert library.search("red/a.mp4", by="visual", for_="visual").results[0].is_query


def test_a_long_clip_asks_as_its_file_does(tmp_path: Path) -> None:
    make_clip(tmp_path / "long.mp4", 32, fps=2)
    make_clip(tmp_path / "short.mp4", 2, tone=900)
    index(tmp_path)
    copy = tmp_path.parent / "other bytes.mp4"
    copy.write_bytes((tmp_path / "long.mp4").read_bytes() + b"\0\0\0\x08free")
    with earsight.Library(tmp_path) as library:
        for by in ("audio", "visual"):
            stored, fresh = (library.search(q, by=by) for q in ("long.mp4", copy))
            assert [one.path for one in stored] == [one.path for one in fresh]
            assert np.allclose(stored.point, fresh.point, atol=1e-5)


def test_clips_and_filters(made: Path) -> None:
    with earsight.Library(made) as library:
        clips = {clip.path: clip for clip in library.clips()}
        assert list(clips) == sorted(clips) and len(clips) == 9
        assert clips["silent.mp4"].has == ("visual",) and clips["sound.wav"].has == ("audio",)
        broken = clips["text.mp4"]
        assert (broken.status, broken.seconds, broken.has) == ("unreadable", None, ())
        assert broken.message
        assert library.labels() == {"blue": 3, "red": 2}
        assert {c.path for c in library.clips(label="red")} == {"red/a.mp4", "red/b.mp4"}
        assert {c.path for c in library.clips(max_seconds=0.5)} == {"short.mp4"}
        assert {c.path for c in library.clips(name="A C")} == {"blue/a copy.mp4"}
        found = library.search(text="a wall", top=99, label="red")
        assert {Path(one.path).name for one in found} == {"a.mp4", "b.mp4"}
        assert {o.label for o in library.search("sound.wav", top=99, label="blue")} == {"blue"}
        short = library.search(text="a wall", top=99, max_seconds=0.5)
        assert [Path(one.path).name for one in short] == ["short.mp4"]
        assert not len(library.search(text="a wall", label="no such label"))


def test_filters_rank_as_the_whole_list_does(made: Path) -> None:
    with earsight.Library(made) as library:
        everything = [one for one in library.search(text="a wall", top=99) if one.label == "blue"]
        assert flat(library.search(text="a wall", top=2, label="blue")) == flat(everything[:2])


def test_embeddings_are_what_is_searched(made: Path) -> None:
    with earsight.Library(made) as library:
        sights, sounds = library.embeddings("visual"), library.embeddings("audio")
        assert sights.vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(sights.vectors, axis=1), 1, atol=1e-5)
        assert [c.path for c in sounds.clips] == sorted(c.path for c in sounds.clips)
        assert len(sounds.clips) == 7 and len(sights.clips) == 7
        place = [c.path for c in sounds.clips].index("sound.wav")
        scores = sights.vectors @ sounds.vectors[place]
        answer = library.search("sound.wav", top=99)
        found = [one.score for one in answer for _ in (one.path, *one.copies)]
        assert np.allclose(sorted(scores)[::-1], found, atol=1e-5)


def test_it_follows_a_folder_that_is_indexed_again(library: Path) -> None:
    with earsight.Library(library) as opened:
        before = opened.search("sound.wav", top=99)
        (library / "red/b.mp4").rename(library / "red/moved.mp4")
        index(library)  # nothing but a path changes
        names = [Path(one.path).name for one in opened.search("sound.wav", top=99)]
        assert "moved.mp4" in names and "b.mp4" not in names
        make_clip(library / "new.mp4", tone=2000)
        index(library)
        after = opened.search("sound.wav", top=99)
        assert len(after) == len(before) + 1
        assert flat(after) == flat(search(library, "sound.wav", top=99))
        shutil.rmtree(library / FOLDER)
        with pytest.raises(LibraryError, match="is gone"):
            opened.search(text="a wall")
        index(library, labels="none")
        assert len(opened.search("sound.wav", top=99)) == len(after)


def test_threads_take_turns(made: Path) -> None:
    found: list[list[tuple[str, float]]] = []
    with earsight.Library(made) as library:
        want = flat(library.search(text="a red wall"))

        def ask() -> None:
            found.extend(flat(library.search(text="a red wall")) for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [want] * 20


def test_what_cannot_be_asked(made: Path, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="Run: earsight index"):
        earsight.Library(tmp_path)
    with earsight.Library(made) as library:
        with pytest.raises(InputError, match="There is no clip 99"):
            library.search(clip=99)
        with pytest.raises(InputError, match="There is no clip 0"):
            library.clip(0)
        with pytest.raises(
            InputError, match="Pass exactly one of a file, `text` and `clip` to search by; got 2"
        ):
            library.search("red/a.mp4", clip=1)
        with pytest.raises(InputError, match="`min_seconds` must be 0 or more"):
            library.clips(min_seconds=float("nan"))
        with pytest.raises(InputError, match="must be audio or visual; got 'text'"):
            library.embeddings("text")
    with pytest.raises(LibraryError, match="was closed"):
        library.search(text="a wall")


@given(
    n=st.integers(0, 40),
    k=st.integers(1, 50),
    seed=st.integers(0, 99),
    width=st.sampled_from([1, 3, 70]),
    where=st.sampled_from(
        [None, {"modality": "audio"}, {"modality": "audio", "content": ["c1", "c2"]}]
    ),
)
@settings(max_examples=15, deadline=None)
def test_held_rows_answer_as_their_table(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    k: int,
    seed: int,
    width: int,
    where: dict[str, object],
) -> None:
    rng = np.random.default_rng(seed)
    table = LanceIndex(tmp_path_factory.mktemp("held"), "rows")
    table.create(width)
    rows = [
        Row(f"k{i:03d}", f"c{i % 5}", ("audio", "visual")[i % 2], i, 0.0, 1.0) for i in range(n)
    ]
    vectors = rng.integers(-2, 3, (n, width)).astype(np.float32)  # many ties, some zeros
    vectors[::7] *= 1e20
    table.upsert(rows, vectors)
    held = InMemoryIndex.of(table)
    assert held is not None
    queries = rng.integers(-2, 3, (4, width)).astype(np.float32)
    assert held.search(queries, k, where) == table.search(queries, k, where)
    assert held.count(where) == table.count(where)
    for one in (held, table):
        with pytest.raises(InputError, match="must name columns"):
            one.search(queries, k, {"colour": "red"})

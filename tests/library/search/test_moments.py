"""Moments: which second of which clip, against slow versions of all of it, and end to end."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earsight
from _clips import make_clip
from _server import multipart, serving
from earsight.cli import app
from earsight.errors import InputError, LibraryError
from earsight.features import FeatureSequence
from earsight.library.catalog.location import FOLDER
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.indexing.pipeline import index
from earsight.library.search import time_points as by_seconds
from earsight.library.search.peaks import best_peaks
from earsight.library.search.searcher import search
from earsight.library.search.time_points import TimePoints, n_seconds, pooled
from earsight.vectors import SequenceStore, StoredSequence

# -- slow, obvious versions ------------------------------------------------------------------------


def pooled_slowly(sequence: FeatureSequence, n: int) -> list[np.ndarray | None]:
    times = sequence.times.tolist()
    hops = [b - a for a, b in pairwise(times)]
    reach = max([sequence.span, float(np.median(hops)) if hops else 0.0]) / 2
    found: list[np.ndarray | None] = []
    for second in range(n):
        start = min(max(second - 1, 0), max(n - 3, 0))
        first, last = -1 if start == 0 else start, n + 1 if start + 3 >= n else start + 3
        inside = [i for i, t in enumerate(times) if first <= t < last]
        if not inside and times:
            near = min(range(len(times)), key=lambda i: (abs(times[i] - second - 0.5), i))
            inside = [near] if abs(times[near] - second - 0.5) <= reach + 1e-9 else []
        if not inside:
            found.append(None)
            continue
        part = [sequence.values[i].astype(float) for i in inside]
        weights = [1.0 if sequence.weights is None else float(sequence.weights[i]) for i in inside]
        if not any(weights):
            weights = [1.0] * len(inside)
        found.append(sum(w * x for w, x in zip(weights, part, strict=True)) / sum(weights))
    return found


def peaks_slowly(curves: list[list[float]]) -> list[tuple[int, int, int, float]]:
    """Look at every second of every curve: is it the (first) highest of its own run?"""
    heights = [s for curve in curves for s in curve if s > -np.inf]
    everywhere = np.median(heights) if heights else 0.0
    found = []
    for number, curve in enumerate(curves):
        own = [s for s in curve if s > -np.inf]
        usual = min(np.median(own), everywhere) if own else 0.0
        for at, peak in enumerate(curve):
            if peak == -np.inf or peak < usual:
                continue
            half = (peak + usual) / 2
            start = end = at
            while start > 0 and curve[start - 1] >= half:
                start -= 1
            while end < len(curve) and curve[end] >= half:
                end += 1
            if max(curve[start:end]) == peak and curve.index(peak, start) == at:
                found.append((number, start, end, peak))
    return sorted(found, key=lambda one: (-one[3], one[0], one[1]))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_pooling_is_that_of_a_loop(data: st.DataObject) -> None:
    n_steps = data.draw(st.integers(0, 30))
    gaps = data.draw(st.lists(st.sampled_from([0.25, 0.5, 1.0, 9.0]), min_size=n_steps,
                              max_size=n_steps))  # fmt: skip
    times = np.cumsum(gaps) - 0.3 if n_steps else np.zeros(0)
    rng = np.random.default_rng(n_steps)
    weights = data.draw(st.sampled_from([None, "some", "none"]))
    mass = {"some": rng.integers(0, 2, n_steps), "none": np.zeros(n_steps)}.get(weights or "")
    sequence = FeatureSequence(
        rng.normal(size=(n_steps, 3)).astype(np.float32),
        times,
        data.draw(st.sampled_from([0.0, 0.96, 6.0])),
        None if mass is None else mass.astype(np.float32),
    )
    n = data.draw(st.integers(1, 40))
    values, present = pooled(sequence, n)
    want = pooled_slowly(sequence, n)
    assert present.tolist() == [one is not None for one in want]
    zeros = np.zeros(3)
    assert np.allclose(values, [zeros if one is None else one for one in want], atol=1e-6)


def test_a_long_sequence_is_pooled_in_pieces_without_a_seam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3000, 4)).astype(np.float32)
    values[1000] = 1e8  # a loud step leaves no trace in later ones
    sequence = FeatureSequence(values, np.arange(3000) * 0.48, 0.96, rng.random(3000, np.float32))
    whole, _ = pooled(sequence, 1440)
    monkeypatch.setattr(by_seconds, "_PIECE", 7)
    assert np.array_equal(whole, pooled(sequence, 1440)[0])
    assert np.allclose(whole[600:], pooled_slowly(sequence, 1440)[600:], atol=1e-6)


@given(
    st.lists(
        st.lists(st.sampled_from([-np.inf, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1,
                 max_size=12),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_moments_are_those_of_a_loop(curves: list[list[float]], top: int) -> None:
    bounds = np.cumsum([0, *map(len, curves)])
    found = best_peaks(np.concatenate(curves), bounds, top)
    want = peaks_slowly(curves)[:top]
    assert [(one.curve, one.start, one.end, one.score) for one in found] == want


def test_moments_of_many_smooth_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "earsight.library.search.peaks._CANDIDATES", 1
    )  # so that it must look again
    rng = np.random.default_rng(3)
    curves = [np.convolve(rng.normal(size=rng.integers(5, 90)), np.ones(5) / 5) for _ in range(40)]
    bounds = np.cumsum([0, *map(len, curves)])
    found = best_peaks(np.concatenate(curves), bounds, 60)
    want = peaks_slowly([curve.tolist() for curve in curves])
    assert [(one.curve, one.start, one.end, one.score) for one in found] == want[:60]
    for number in range(40):  # moments of one clip never overlap
        spans = sorted((start, end) for curve, start, end, _ in want if curve == number)
        assert spans and all(a[1] <= b[0] for a, b in pairwise(spans))


# -- the space -------------------------------------------------------------------------------------


def test_a_second_lies_where_a_clip_of_it_would(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    store = SequenceStore(tmp_path, "sequences")
    store.create()
    views = {"audio": rng.normal(size=(60, 6)), "visual": rng.normal(size=(60, 9))}
    words = {"audio": rng.normal(size=(9, 5)), "visual": rng.normal(size=(9, 5))}
    bridge = earsight.method("zero_shot").fit(words)
    space = JointSpace(bridge, earsight.method("cca", n_components=3).fit(views), 0.5)
    steps = {"words.audio": (np.arange(40) * 0.48, 5), "audio": (np.arange(19) + 0.5, 6)}
    kept = {
        role: FeatureSequence(rng.normal(size=(len(times), dim)).astype(np.float32), times, 0.96)
        for role, (times, dim) in steps.items()
    }
    store.upsert([StoredSequence(f"c:{role}", "c", role, one) for role, one in kept.items()])
    (block,) = TimePoints(space, store, in_memory=False).blocks("audio", {"c": 20.0})
    for second in range(19):
        rows = {role: pooled_slowly(one, 20)[second][None, :] for role, one in kept.items()}
        assert np.allclose(block.points[second], space.embed("audio", rows)[0], atol=1e-5)
    # The last step of "audio" is in the middle of second 18, which second 19 still hears.
    assert block.present.all() and n_seconds(20.0) == 20


def test_what_is_deleted_while_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SequenceStore(tmp_path, "sequences")
    store.create()
    steps = FeatureSequence(np.eye(5, dtype=np.float32), np.arange(5) + 0.5)
    store.upsert([StoredSequence(f"{c}:words.audio", c, "words.audio", steps) for c in "ab"])
    space = JointSpace(earsight.method("zero_shot").fit({"audio": np.ones((1, 5))}))

    def lengths(where: object) -> dict[str, int]:
        store.delete(["a"])  # after they were counted
        return {"a:words.audio": 5, "b:words.audio": 5}

    monkeypatch.setattr(store, "lengths", lengths)
    (block,) = TimePoints(space, store, in_memory=True).blocks("audio", {"a": 5.0, "b": 5.0})
    assert block.contents == ["b"] and len(block.points) == 5


# -- from end to end -------------------------------------------------------------------------------


def bars(t: float) -> np.ndarray:
    picture = np.zeros((120, 160, 3), dtype=np.uint8)
    picture[:, (np.arange(160) + int(20 * t)) % 40 < 20] = (250, 240, 30)
    return picture


def changing(t: float) -> np.ndarray:
    """Bars from 20 to 30 s; else a wall."""
    return bars(t) if 20 <= t < 30 else np.full((120, 160, 3), (30, 60, 160), dtype=np.uint8)


def siren(t: np.ndarray) -> np.ndarray:
    hiss = np.random.default_rng(0).normal(0, 0.02, len(t))
    wail = 0.5 * np.sin(2 * np.pi * (900 * t + 120 * np.sin(2 * np.pi * 0.7 * t)))
    return np.where((t >= 40) & (t < 50), wail, hiss)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("moments")
    make_clip(made / "long.mp4", 60, fps=4, draw=changing, sound=siren)
    (made / "walls").mkdir()
    make_clip(made / "walls/blue.mp4", 3, fps=4, colour=(30, 60, 160))
    make_clip(made / "walls/red.mp4", 3, fps=4, colour=(160, 30, 30), tone=200)
    shutil.copy(made / "walls/red.mp4", made / "walls/same red.mp4")
    make_clip(made / "grey.mp4", 12, fps=4, colour=(90, 90, 90))
    make_clip(made / "silent.mp4", 2, audio=False)
    make_clip(made / "late.mov", 8, fps=4, audio_start=8.0)
    walls = ("blue", "red", "same red")
    labels = made / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"walls/{wall}.mp4,walls\n" for wall in walls))
    index(made, labels=str(labels))
    return made


@pytest.fixture(scope="module")
def opened(folder: Path):  # type: ignore[no-untyped-def]
    with earsight.Library(folder) as library:
        yield library


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars, and a siren: neither is in the library under these bytes."""
    at = tmp_path_factory.mktemp("query") / "query.mp4"
    return make_clip(at, 6, fps=4, draw=bars, sound=lambda t: siren(t + 40))


def number(library: earsight.Library, path: str) -> int:
    return next(clip.id for clip in library.clips() if clip.path == path)


def flat(answer: object) -> list[tuple[str, float, float, float]]:
    return [(one.path, one.start, one.end, one.score) for one in answer]  # type: ignore[attr-defined]


def overlap(one: object, start: float, end: float) -> float:
    both = min(one.end, end) - max(one.start, start)  # type: ignore[attr-defined]
    return both / (max(one.end, end) - min(one.start, start))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("side", "span"), [("visual", (20, 30)), ("audio", (40, 50))])
def test_the_moment_is_found(opened, query: Path, side: str, span: tuple[float, float]) -> None:
    best = opened.search(query, by=side, for_=side, moments=True).results[0]
    assert Path(best.path).name == "long.mp4" and overlap(best, *span) > 0.5
    assert not best.whole and not best.is_query and best.rank == 1


def test_of_a_clip_of_three_seconds_a_moment_is_the_clip(opened) -> None:  # type: ignore[no-untyped-def]
    how = {"text": "a red wall", "label": "walls", "top": 9}
    clips, moments = opened.search(**how), opened.search(**how, moments=True)
    assert [one.path for one in clips] == [one.path for one in moments]
    assert np.allclose([c.score for c in clips], [m.score for m in moments], atol=1e-5)
    assert all(one.whole and one.start == 0 for one in moments) and len(moments) > 1


def test_what_is_held_what_is_read_and_the_timeline_agree(
    folder: Path,
    opened,  # type: ignore[no-untyped-def]
    query: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = opened.search(query, by="audio", moments=True, top=50)
    read = search(folder, query, by="audio", moments=True, top=50)
    assert flat(held) == flat(read) and len(held) > 5
    assert held.as_json()["results"] == read.as_json()["results"]
    monkeypatch.setattr(by_seconds, "_BATCH_STEPS", 1)
    monkeypatch.setattr(by_seconds, "MAX_BYTES", 100)
    with earsight.Library(folder) as small:
        again = small.search(query, by="audio", moments=True, top=50)
        assert [one[:3] for one in flat(again)] == [one[:3] for one in flat(held)]
        assert np.allclose([o.score for o in again], [o.score for o in held], atol=2e-6)
        cold = small.timeline(number(small, "long.mp4"), query, by="audio")
    for one in held:
        drawn = opened.timeline(one.id, query, by="audio")
        inside = (drawn.times > one.start) & (drawn.times < max(one.end, 1))
        assert drawn.scores[inside].max() == one.score
    long = opened.timeline(number(opened, "long.mp4"), query, by="audio")
    assert np.allclose(cold.scores, long.scores, atol=2e-6) and len(long.times) == 60
    assert (long.by, long.for_, long.space) == ("audio", "visual", "words")


def test_filters_scores_and_the_query_itself(opened) -> None:  # type: ignore[no-untyped-def]
    asked = {"clip": number(opened, "long.mp4"), "by": "visual", "for_": "visual", "moments": True}
    everything = opened.search(**asked, top=99)
    assert {one.is_query for one in everything if Path(one.path).name == "long.mp4"} == {True}
    assert len({(one.path, one.start) for one in everything}) == len(everything)
    scores = [one.score for one in everything]
    assert scores == sorted(scores, reverse=True)
    assert [one.rank for one in everything] == list(range(1, len(scores) + 1))
    some = opened.search(**asked, top=99, min_score=scores[2])
    assert flat(some) == flat(everything.results[:3])
    walls = opened.search(**asked, top=99, label="walls")
    assert {one.label for one in walls} == {"walls"}
    assert len(opened.search(**asked, top=2)) == 2
    assert not len(opened.search(**asked, label="no such label"))


def test_seconds_without_a_stream_have_no_score(opened) -> None:  # type: ignore[no-untyped-def]
    late = number(opened, "late.mov")
    drawn = opened.timeline(late, text="a wall", for_="audio")
    assert np.isnan(drawn.scores[:5]).all() and np.isfinite(drawn.scores[8:]).all()
    found = [one for one in opened.search(text="a wall", for_="audio", moments=True, top=99)
             if one.id == late]  # fmt: skip
    assert found and all(one.start >= 5 for one in found)


def test_what_cannot_be_asked(opened) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"Moments are those of sounds or of sights"):
        opened.search(text="a wall", for_="text", moments=True)
    with pytest.raises(InputError, match=r"silent\.mp4 has no sound, so there is no timeline"):
        opened.timeline(number(opened, "silent.mp4"), text="a wall", for_="audio")
    with pytest.raises(InputError, match="no clip 999"):
        opened.timeline(999, text="a wall")


def test_clips_whose_steps_are_lost_are_told(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    with earsight.Library(copy) as library:
        lost = library.clip(number(library, "walls/blue.mp4")).content
        (name,) = [p.stem for p in (copy / FOLDER / "vectors").glob("sequences-*.lance")]
        kept = SequenceStore(copy / FOLDER / "vectors", name)
        kept.delete([lost])
        for _ in range(2):  # also from memory
            answer = library.search(text="a wall", moments=True, top=99)
            assert "The steps of 1 of 6 clips are not in the library" in answer.notes[-1]
            assert not any(one.path.endswith("blue.mp4") for one in answer)
        with pytest.raises(LibraryError, match=r"steps of 1 of 1 clips.*earsight index .*rebuild"):
            library.timeline(number(library, "walls/blue.mp4"), text="a wall")
        kept.delete([clip.content for clip in library.clips()])
    with pytest.raises(LibraryError, match=r"steps of 6 of 6 clips"):
        search(copy, text="a wall", moments=True)


def test_the_command(folder: Path, query: Path) -> None:
    from typer.testing import CliRunner

    def run(*more: str) -> bytes:
        asked = ["search", str(query), "--by", "visual", "--for", "visual", "--moments"]
        done = CliRunner().invoke(app, [*asked, "--library", str(folder), "--top", "2", *more])
        assert done.exit_code == 0, done.output
        return done.stdout_bytes

    first = run().decode().splitlines()[0]
    assert "long.mp4" in first and "0:" in first and "–" in first
    path, start, end = run("--paths").splitlines()[0].split(b"\t")
    assert path.endswith(b"long.mp4") and 15 <= float(start) < float(end) <= 35
    fields = run("-0").split(b"\0")
    assert fields[:3] == [path, start, end] and len(fields) == 7 and fields[-1] == b""
    assert b'"start"' in run("--json")


def test_the_api(folder: Path, query: Path) -> None:
    with serving(folder) as server, earsight.Library(folder) as library:
        asked = "?by=visual&for=visual&moments=true&top=5"
        found = server.upload(query, query=asked).json["answers"]
        want = library.search(query, by="visual", for_="visual", moments=True, top=5)
        assert [(o["id"], o["start"], o["end"]) for o in found] == [
            (o.id, o.start, o.end) for o in want
        ]
        words = server.get("/api/search?text=bars&moments=true").json["answers"]
        assert len(words) == len(library.search(text="bars", moments=True, top=20))
        long, late = number(library, "long.mp4"), number(library, "late.mov")
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        at = f"/api/clips/{long}/timeline?by=visual&for=visual"
        drawn = server.ask(at, "POST", kind, multipart(query.read_bytes())).json
        assert (drawn["clip"], drawn["by"], drawn["for"]) == (long, "visual", "visual")
        assert drawn["times"][:2] == [0.5, 1.5] and len(drawn["scores"]) == 60
        assert drawn["scores"][int(found[0]["start"]):int(found[0]["end"])] and max(
            drawn["scores"]
        ) == pytest.approx(found[0]["score"], abs=1e-5)  # fmt: skip
        by_clip = server.get(f"/api/clips/{late}/timeline?clip={long}&by=visual&for=audio").json
        assert by_clip["scores"][0] is None and by_clip["scores"][-1] is not None
        for bad, status in {
            "/api/clips/999/timeline?text=a": 404,
            f"/api/clips/{long}/timeline": 400,
            f"/api/clips/{long}/timeline?text=a&clip=1": 400,
            f"/api/clips/{long}/timeline?text=a&top=3": 422,
            f"/api/clips/{long}/timeline?text=a&for=text": 400,
            "/api/search?text=a&for=text&moments=true": 400,
        }.items():
            reply = server.get(bad)
            assert reply.status == status and reply.error, bad

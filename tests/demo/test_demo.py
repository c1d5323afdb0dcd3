"""The drawn clips: what is seen and what is heard happen together, and a folder is left intact."""

import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from earsight.demo import draw, folder
from earsight.demo.clip import film, take
from earsight.demo.encode import FPS
from earsight.demo.scene import raised, since
from earsight.demo.scenes import LABELS
from earsight.demo.scenes.ball import GRAVITY, fall
from earsight.demo.sounds import RATE, in_room, master, noise, place, pluck
from earsight.demo.stage import HEIGHT, WIDTH, Brush, canvas, curve
from earsight.errors import InputError

SILENT_BETWEEN = ("ball", "bird", "clock", "drum", "guitar", "hammer", "telephone")


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, their times in s, and the sound with its first sample at 0 s."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
        times = np.array([frame.time for frame in frames])
    with av.open(str(path)) as container:
        blocks = list(container.decode(audio=0))
        sound = np.concatenate([block.to_ndarray()[0] for block in blocks])
        begin = round(blocks[0].time * RATE)
    return pictures, times, sound[-begin:] if begin < 0 else np.pad(sound, (begin, 0))


@pytest.mark.parametrize("label", LABELS)
def test_every_scene_sounds_within_range_and_its_events_lie_inside(label: str) -> None:
    for index in (0, 1, 19):
        shot = take(label, 0, index)
        scene = shot.scene
        assert 3.0 <= scene.duration <= 4.0
        assert scene.duration * FPS == pytest.approx(round(scene.duration * FPS), abs=1e-9)
        assert shot.sound.shape == (round(scene.duration * RATE),)
        assert np.isfinite(shot.sound).all()
        peak, rms = np.abs(shot.sound).max(), np.sqrt(np.mean(shot.sound**2))
        assert peak * 1.0001 >= 10 ** (-9 / 20) and peak <= 10 ** (-3 / 20) * 1.0001
        assert -45 < 20 * np.log10(rms) < -6
        assert len(scene.events) >= 2
        assert all(0 < a < b < scene.duration for a, b in pairwise(scene.events))
        on_samples = np.array(scene.events) * RATE
        assert np.allclose(on_samples, np.round(on_samples), atol=1e-6)
        json.dumps(shot.parameters, allow_nan=False)


@pytest.mark.parametrize("label", SILENT_BETWEEN)
def test_nothing_sounds_before_the_first_event_and_something_at_once_after(label: str) -> None:
    scene = take(label, 3, 0).scene
    heard = np.flatnonzero(scene.sound)
    first = round(scene.events[0] * RATE)
    assert first <= heard[0] <= first + RATE // 1000


@pytest.mark.parametrize("label", LABELS)
def test_what_moves_depends_on_the_time_alone(label: str) -> None:
    scene = take(label, 0, 2).scene

    def frame(t: float) -> bytes:
        stage = scene.backdrop.copy()
        scene.paint(Brush(stage), t)
        return stage.tobytes()

    event = scene.events[1]
    before = frame(event + 0.05)
    assert frame(0.0) != before
    assert frame(event + 0.05) == before


@pytest.mark.parametrize("label", LABELS)
def test_a_clip_is_made_of_its_seed_class_and_number(label: str) -> None:
    one, same, other = take(label, 0, 0), take(label, 0, 0), take(label, 1, 0)
    assert one.parameters == same.parameters and one.scene.events == same.scene.events
    assert np.array_equal(one.sound, same.sound)
    assert np.array_equal(next(one.frames()), next(same.frames()))
    assert one.scene.events != other.scene.events
    assert one.scene.events != take(label, 0, 1).scene.events


@pytest.mark.parametrize("label", ["hammer", "clock"])
def test_the_encoded_clip_is_in_step_with_what_was_drawn(label: str, tmp_path: Path) -> None:
    shot = film(tmp_path / "clip.mp4", label, 0, 0)
    pictures, times, sound = decoded(tmp_path / "clip.mp4")
    drawn = np.stack(list(shot.frames()))
    assert pictures.shape == drawn.shape == (len(times), HEIGHT, WIDTH, 3)
    assert np.allclose(times, np.arange(len(times)) / FPS, atol=1e-6)
    moved = np.abs(np.diff(drawn.astype(float), axis=0)).mean()
    assert np.abs(pictures.astype(float) - drawn).mean() < max(4.0, moved)

    n = min(len(sound), len(shot.sound))
    lags = np.arange(-400, 401)
    match = [np.dot(sound[400 : n - 400], shot.sound[400 - k : n - 400 - k]) for k in lags]
    assert abs(lags[int(np.argmax(match))]) <= 1
    assert np.abs(sound).max() <= 10 ** (-1 / 20)


@pytest.mark.parametrize("label", ["fireworks", "siren"])
def test_a_flash_is_seen_between_the_two_frames_around_its_event(label: str) -> None:
    shot = take(label, 0, 4)
    # Differences of neighbouring frames; number i lies between the times i/FPS and (i + 1)/FPS.
    small = np.stack([f[::4, ::4].astype(float) for f in shot.frames()])
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    for event in shot.scene.events:
        pair = int(np.ceil(event * FPS)) - 1
        if pair >= len(change):
            continue
        near = range(max(0, pair - 3), min(len(change), pair + 4))
        assert max(near, key=change.__getitem__) == pair
        assert abs((pair + 0.5) / FPS - event) <= 0.5 / FPS + 1e-9


def test_the_ball_touches_the_floor_exactly_at_its_impacts_and_only_there() -> None:
    flight = fall(1.3, 0.8, 5.0)
    assert flight.impacts[0] == pytest.approx(np.sqrt(2 * 1.3 / GRAVITY), abs=1 / RATE)
    assert all(flight.at(t) == pytest.approx(0.0, abs=1e-3) for t in flight.impacts)
    tops = [max(flight.at(t) for t in np.linspace(a, b, 500)) for a, b in pairwise(flight.impacts)]
    assert tops == pytest.approx([1.3 * 0.8 ** (2 * k) for k in range(1, len(tops) + 1)], rel=1e-3)


def test_a_striking_arm_is_down_at_the_event_and_up_between() -> None:
    events = (0.5, 1.25)
    assert [raised(events, t) for t in events] == [0.0, 0.0]
    assert raised(events, 0.0) == raised(events, 1.0) == 1.0
    coming = [raised(events, t) for t in np.linspace(1.14, 1.25, 12)]
    assert all(a > b for a, b in pairwise(coming))
    assert since(events, 0.5) == (0, 0.0)
    assert since(events, 0.49)[0] == -1


def test_a_plucked_string_has_its_pitch_and_dies_away() -> None:
    sound = pluck(np.random.default_rng(0), 220.0, 2.0, decay=0.5)
    spectrum = np.abs(np.fft.rfft(sound))
    low = np.fft.rfftfreq(len(sound), 1 / RATE)
    strongest = low[np.argmax(np.where(low < 330, spectrum, 0))]
    assert strongest == pytest.approx(220.0, rel=0.01)
    assert np.abs(sound[-RATE // 10 :]).max() < 0.1 * np.abs(sound[: RATE // 10]).max()


def test_the_room_answers_after_the_sound_and_never_before() -> None:
    rng = np.random.default_rng(0)
    click = np.zeros(RATE)
    click[1000] = 1.0
    heard = in_room(rng, click, decay=0.4, wet=0.3)
    assert np.abs(heard[:1000]).max() < 1e-9
    assert heard[1000] == pytest.approx(1.0)
    assert np.sqrt(np.sum(heard[1001:] ** 2)) == pytest.approx(0.3, rel=0.1)


def test_place_cuts_what_lies_outside_and_master_sets_the_peak() -> None:
    track = np.zeros(100)
    place(track, -2 / RATE, np.ones(5))
    place(track, 98 / RATE, np.ones(5))
    assert np.flatnonzero(track).tolist() == [0, 1, 2, 98, 99]
    loud = master(noise(np.random.default_rng(0), 0.5, 100, 5000), -6.0)
    assert loud.dtype == np.float32
    assert np.abs(loud).max() == pytest.approx(10 ** (-6 / 20), rel=1e-5)
    assert loud[0] == loud[-1] == 0.0


def test_a_curve_goes_through_its_knots() -> None:
    knots = [(0.0, 0.0), (10.0, 2.0), (8.0, 9.0), (-1.0, 7.0)]
    assert np.allclose(curve(knots, steps=5)[::5], knots)


def test_the_brush_counts_in_frame_units_from_the_margin() -> None:
    stage = canvas()
    Brush(stage).disc(0.0, 0.0, 3.0, (255, 255, 255))
    ys, xs = np.nonzero(np.asarray(stage)[:, :, 0])
    assert (xs.mean(), ys.mean()) == pytest.approx((20.0, 20.0), abs=0.6)


@pytest.fixture
def two_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LABELS", ("clock", "guitar"))


def test_what_is_complete_stays_and_what_is_not_is_drawn_again(
    two_classes: None, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    clips = draw(tmp_path / "demo", per_class=1, progress=lambda *at: seen.append(at))
    assert [(c.label, c.path.relative_to(tmp_path / "demo").as_posix()) for c in clips] == [
        ("clock", "clock/clock_00.mp4"),
        ("guitar", "guitar/guitar_00.mp4"),
    ]
    assert seen == [(1, 2), (2, 2)]
    record = json.loads(clips[0].path.with_suffix(".events.json").read_text())
    assert record["label"] == "clock" and tuple(record["events"]) == clips[0].events
    assert clips[0].events == take("clock", 0, 0).scene.events

    foreign = tmp_path / "demo" / "clock" / "notes.txt"
    foreign.write_text("mine")
    whole, torn = clips[0].path, clips[1].path
    good = torn.read_bytes()
    torn.write_bytes(good[:1000])
    untouched = whole.stat().st_mtime_ns
    again = draw(tmp_path / "demo", per_class=1, progress=lambda *at: seen.append(at))
    assert again == clips
    assert seen[2:] == [(2, 2)]
    assert whole.stat().st_mtime_ns == untouched
    assert torn.stat().st_size == len(good)
    assert foreign.read_text() == "mine"
    assert not list((tmp_path / "demo").rglob("*.part"))


def test_worker_processes_draw_the_same_as_this_one(
    two_classes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = draw(tmp_path / "here", per_class=1)
    monkeypatch.setattr(folder, "POOL_FROM", 1)
    there = draw(tmp_path / "there", per_class=1)
    assert [c.path.read_bytes() for c in here] == [c.path.read_bytes() for c in there]


def test_a_folder_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"precious")
    with pytest.raises(InputError, match="holds other things"):
        draw(tmp_path, per_class=1)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.mp4"]
    with pytest.raises(InputError, match="is a file"):
        draw(tmp_path / "holiday.mp4", per_class=1)


def test_a_demo_of_another_seed_is_refused(two_classes: None, tmp_path: Path) -> None:
    draw(tmp_path / "demo", per_class=1)
    before = sorted(p.stat().st_mtime_ns for p in (tmp_path / "demo").rglob("*"))
    with pytest.raises(InputError, match=r"must hold a demo of seed 7.*'seed': 0"):
        draw(tmp_path / "demo", per_class=1, seed=7)
    (tmp_path / "demo" / folder.MANIFEST).write_text("{not json")
    with pytest.raises(InputError, match="says None"):
        draw(tmp_path / "demo", per_class=1)
    assert len(before) == len(list((tmp_path / "demo").rglob("*")))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"per_class": 0}, "`per_class` must be 1 to 100 clips; got 0"),
        ({"per_class": 101}, "`per_class` must be 1 to 100 clips; got 101"),
        ({"seed": -1}, "`seed` must be 0 or more; got -1"),
    ],
)
def test_numbers_out_of_range_are_named(
    arguments: dict[str, int], rule: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rule):
        draw(tmp_path / "demo", **arguments)
    assert not (tmp_path / "demo").exists()

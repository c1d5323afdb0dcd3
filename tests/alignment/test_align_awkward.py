"""Bad input to `align`: files whose timestamps are odd, streams that hardly meet, one event."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from _clicks import clicks, flashes
from _clips import make_clip
from earsight.alignment import clip_offset as looking
from earsight.alignment.clip_offset import align
from earsight.alignment.offset import RATE, estimate
from earsight.cli import app
from earsight.errors import InputError
from earsight.extractors import extract_all
from earsight.extractors.motion import Motion
from earsight.extractors.onsets import Onsets
from earsight.features import FeatureSequence
from earsight.media import shift_sound

SIZE = (160, 120)
WIDTHS = {"onsets": 16, "motion": 384}


def sequence(
    kind: str, seconds: float, seed: int | None = 0, start: float = 0.0
) -> FeatureSequence:
    """Noise of an extractor's width, or where there is no seed a constant."""
    shape = (round(seconds * RATE), WIDTHS[kind])
    values = np.full(shape, 2.0) if seed is None else np.random.default_rng(seed).random(shape)
    return FeatureSequence(values.astype(np.float32), start + np.arange(shape[0]) / RATE, 1 / RATE)


def irregular(seconds: float) -> list[float]:
    """Timestamps of a variable rate: 15 to 60 frames a second."""
    gaps = np.random.default_rng(3).uniform(1 / 60, 1 / 15, round(seconds * 60))
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    return [float(t) for t in times[times < seconds]]


def moved(source: Path, out: Path, by: dict[str, float]) -> Path:
    """Copy a file's packets with the timestamps of its "video" and "audio" moved by seconds."""
    with av.open(str(source)) as given, av.open(str(out), "w") as made:
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        packets = [packet for packet in given.demux() if packet.dts is not None]
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base) + by[p.stream.type]):
            steps = round(Fraction(by[packet.stream.type]) / packet.time_base)
            packet.pts, packet.dts = packet.pts + steps, packet.dts + steps
            packet.stream = streams[packet.stream.index]
            made.mux(packet)
    return out


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("awkward") / "clip.mkv"
    return make_clip(path, 6.0, size=SIZE, draw=flashes, sound=clicks)


def test_frames_at_a_variable_rate_count_by_their_times(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", 6.0, size=SIZE, draw=flashes, sound=clicks,
                     frame_times=irregular(6.0))  # fmt: skip
    assert align(path).offset.seconds == pytest.approx(0.0, abs=0.04)
    shift_sound(path, tmp_path / "late.mkv", 0.3)
    assert align(tmp_path / "late.mkv").offset.seconds == pytest.approx(0.3, abs=0.04)


def test_a_sound_track_that_starts_late_is_late_by_its_times_alone(tmp_path: Path) -> None:
    def later(t: np.ndarray) -> np.ndarray:
        return clicks(t + 0.5)

    path = make_clip(tmp_path / "clip.mkv", 6.0, size=SIZE, draw=flashes, sound=later,
                     audio_start=0.5)  # fmt: skip
    assert align(path).offset.seconds == pytest.approx(0.0, abs=0.04)
    path = make_clip(tmp_path / "off.mkv", 6.0, size=SIZE, draw=flashes, sound=clicks,
                     audio_start=0.5)  # fmt: skip
    assert align(path).offset.seconds == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("by", [-1.0, -0.3, 2.0])
def test_times_may_begin_anywhere(clip: Path, tmp_path: Path, by: float) -> None:
    path = moved(clip, tmp_path / "moved.nut", {"video": by, "audio": by})
    assert align(path).offset.seconds == pytest.approx(0.0, abs=0.04)


def test_a_sound_longer_than_the_video_is_heard_where_they_meet(tmp_path: Path) -> None:
    sight = make_clip(tmp_path / "sight.mp4", 6.0, size=SIZE, draw=flashes, audio=False)
    sound = make_clip(tmp_path / "sound.wav", 20.0, sound=lambda t: clicks(t - 0.4))
    assert align(sight, sound).offset.seconds == pytest.approx(0.4, abs=0.04)
    assert align(sight, make_clip(tmp_path / "brief.wav", 1.5, sound=clicks)).offset.seconds is None


def test_clips_that_share_too_little_have_no_answer() -> None:
    for first, second in ((0.0, 3.5), (4.0, 0.0)):
        found = estimate(sequence("onsets", 5.0, start=first), sequence("motion", 5.0, 1, second))
        assert found.seconds is None and "it takes 2 s" in found.why and found.agreement == 0
    apart = estimate(sequence("onsets", 3.0), sequence("motion", 3.0, 1, start=9.0))
    assert apart.seconds is None and "share 0.0 s" in apart.why
    whole = estimate(sequence("onsets", 60.0), sequence("motion", 3.0, 1))
    assert whole.seconds is None


@pytest.mark.parametrize("lengths", [(40.0, 3.0), (3.0, 40.0), (9.0, 2.5)])
@pytest.mark.parametrize("seed", range(3))
def test_lengths_that_differ_much_make_up_no_offset(
    lengths: tuple[float, float], seed: int
) -> None:
    sound, sight = lengths
    found = estimate(sequence("onsets", sound, seed), sequence("motion", sight, seed + 90))
    assert found.seconds is None and found.why


@pytest.mark.parametrize("how", ["variable rate", "late track", "negative start"])
def test_odd_timestamps_make_up_no_offset(how: str, tmp_path: Path) -> None:
    def hum(t: np.ndarray) -> np.ndarray:
        return 0.3 * np.sin(900 * t)

    path = tmp_path / "clip.mkv"
    given = {
        "variable rate": {"frame_times": irregular(6.0)},
        "late track": {"audio_start": 0.5},
        "negative start": {},
    }[how]
    make_clip(path, 6.0, size=SIZE, draw=flashes, sound=hum, **given)  # type: ignore[arg-type]
    if how == "negative start":
        path = moved(path, tmp_path / "moved.nut", {"video": -0.5, "audio": -1.0})
    found = align(path).offset
    assert found.seconds is None and "Nothing begins to sound" in found.why


@pytest.mark.parametrize(("sound", "sight"), [(None, 1), (0, None), (None, None)])
def test_constant_sequences_have_no_answer(sound: int | None, sight: int | None) -> None:
    found = estimate(sequence("onsets", 8.0, sound), sequence("motion", 8.0, sight))
    assert found.seconds is None and "Nothing" in found.why
    assert np.isfinite(found.curves).all() and np.isfinite(found.consensus).all()


@pytest.mark.parametrize("seed", range(6))
def test_noise_has_no_answer(seed: int) -> None:
    found = estimate(sequence("onsets", 8.0, seed), sequence("motion", 8.0, seed + 50))
    assert found.seconds is None and found.why


def struck(kind: str, events: np.ndarray, late: float = 0.0) -> FeatureSequence:
    """3.2 s in which all values rise and fall with each event."""
    rng, times = np.random.default_rng(0), np.arange(160) / RATE
    strokes = np.exp(-(((times[:, None] - events - late) / 0.04) ** 2) / 2).sum(axis=1)
    values = strokes[:, None] * rng.uniform(0.5, 1.5, WIDTHS[kind])
    return FeatureSequence((values + 0.02 * rng.random(values.shape)).astype(np.float32), times)


@pytest.mark.parametrize("late", [0.3, -0.9])
def test_what_repeats_itself_may_be_a_beat_further_off(late: float) -> None:
    figure = np.array([0.37, 0.74, 1.05])
    beat = np.concatenate([figure + 1.2 * k for k in range(-3, 5)])  # both lates look the same
    found = estimate(struck("onsets", beat, late), struck("motion", beat), reach=1.5)
    assert found.seconds is None and "repeat themselves every 1.2 s" in found.why
    free = np.concatenate([beat[:9], beat[9:] + np.random.default_rng(1).uniform(0, 0.4, 15)])
    told = estimate(struck("onsets", free, late), struck("motion", free), reach=1.5)
    assert told.seconds == pytest.approx(late, abs=0.02), told.why


def test_an_empty_sequence_has_no_answer() -> None:
    nothing = FeatureSequence(np.zeros((0, 16), np.float32), np.zeros(0))
    for sound, sight in (
        (nothing, sequence("motion", 5.0)),
        (sequence("onsets", 5.0), FeatureSequence(np.zeros((0, 384), np.float32), np.zeros(0))),
    ):
        assert estimate(sound, sight).seconds is None
    with pytest.raises(InputError, match="the 384 values of the extractor motion; got 16"):
        estimate(sequence("onsets", 5.0), sequence("onsets", 5.0))


def test_an_offset_at_the_end_of_what_is_looked_for_may_be_a_larger_one(clip: Path) -> None:
    found = extract_all(clip, [Onsets(), Motion()])[0]
    late = replace(found["onsets"], times=found["onsets"].times + 0.5)
    answer = estimate(late, found["motion"], reach=0.5)
    assert answer.seconds is None and "+500 ms fits best, the largest offset" in answer.why
    assert estimate(late, found["motion"], reach=0.6).seconds == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("shift", [0.9, 1.5, -0.9, 3.0])
def test_what_is_further_off_than_is_looked_for_is_told_and_not_made_up(
    clip: Path, shift: float
) -> None:
    found = extract_all(clip, [Onsets(), Motion()])[0]
    off = replace(found["onsets"], times=found["onsets"].times + shift)
    answer = estimate(off, found["motion"], reach=0.5)
    look = {0.9: 2, 1.5: 2, -0.9: 2, 3.0: 4}[shift]
    assert answer.seconds is None and abs(answer.best) <= 0.5
    assert answer.why == (
        f"It may be off by about {shift:+.1f} s, more than the 0.5 s looked for; earsight align "
        f"--reach {look} looks further."
    )
    assert estimate(off, found["motion"], reach=look).seconds == pytest.approx(shift, abs=0.04)


def test_of_a_long_clip_it_is_told_that_the_beginning_was_looked_at(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "MAX_SECONDS", 4.0)
    found = align(clip)
    assert not found.whole and found.offset.seconds == pytest.approx(0.0, abs=0.04)
    run = CliRunner().invoke(app, ["align", str(clip), "--json"])
    assert "Longer than 4 s; only the beginning was compared" in run.stderr
    assert json.loads(run.stdout)["whole"] is False


def test_one_event_is_no_rhythm(tmp_path: Path) -> None:
    def once(t: float) -> np.ndarray:
        return flashes(0.0 if t < 3.0 else 0.8)

    def bang(t: np.ndarray) -> np.ndarray:
        return clicks(t - 3.0 + 0.7) * (t < 3.35)

    path = make_clip(tmp_path / "clip.mp4", 6.0, size=SIZE, draw=once, sound=bang)
    found = align(path).offset
    assert found.seconds is None or abs(found.seconds) <= 0.04  # told rightly, or not at all


def test_one_sound_against_another_ones_sight_has_no_answer(clip: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    at = np.cumsum(rng.uniform(0.3, 1.1, 12))

    def elsewhere(t: np.ndarray) -> np.ndarray:
        since = t[:, None] - at
        decay = np.where(since >= 0, np.exp(-40 * np.maximum(since, 0)), 0)
        return np.asarray((decay * np.sin(9000 * since)).sum(axis=1))

    other = make_clip(tmp_path / "other.wav", 6.0, sound=lambda t: 0.4 * elsewhere(t))
    assert align(clip, other).offset.seconds is None


def test_motion_tells_what_starts_stops_and_turns_in_its_own_step(tmp_path: Path) -> None:
    def bounce(t: float) -> np.ndarray:
        """A square that falls, turns at 1 s, and rises: nothing starts, but something happens."""
        picture = np.full((120, 160, 3), 40, dtype=np.uint8)
        y = int(10 + 70 * (1 - abs(t - 1.0)))
        picture[y : y + 24 : 2, 60:90] = picture[y : y + 24, 60:90:3] = (230, 220, 90)
        return picture

    path = make_clip(tmp_path / "clip.mkv", 2.0, size=SIZE, draw=bounce, audio=False)
    motion = extract_all(path, [Motion()])[0]["motion"]
    jolt = motion.values[:, 3 * 64 : 4 * 64].max(axis=1)
    assert abs(motion.times[jolt.argmax()] - 1.0) <= 0.05


def test_silence_and_stills_are_told_by_the_functions_too(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 4.0, size=SIZE, sound=np.zeros_like)
    found = extract_all(path, [Onsets(), Motion()])[0]
    answer = estimate(found["onsets"], found["motion"])
    assert answer.seconds is None and answer.agreement == 0

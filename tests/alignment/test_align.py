"""Offsets put in on purpose come out again; where nothing can be told, nothing is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from _clicks import CLICKS, clicks, flashes
from _clips import make_clip
from earsight.alignment.clip_offset import Alignment, align, repair
from earsight.demo.clip import film
from earsight.errors import InputError, MediaError
from earsight.extractors import extract_all
from earsight.extractors.motion import Motion
from earsight.extractors.onsets import Onsets
from earsight.media import shift_sound


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("align") / "clip.mp4"
    return make_clip(path, 6.0, fps=25, size=(160, 120), draw=flashes, sound=clicks)


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0] if kind == "video" else container.streams.audio[0]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def test_onsets_and_motion_peak_when_it_happens(clip: Path) -> None:
    found, _ = extract_all(clip, [Onsets(), Motion()])
    for key, columns in (("onsets", slice(0, 8)), ("motion", slice(0, 64))):
        sequence = found[key]
        assert sequence.times == pytest.approx(np.round(sequence.times * 50) / 50, abs=1e-9)
        strength = sequence.values[:, columns].mean(axis=1)
        for click in CLICKS:
            near = np.abs(sequence.times - click) <= 0.2
            at = sequence.times[near][strength[near].argmax()]
            assert abs(at - click) <= 0.04, (key, click)


def test_a_clip_in_step_is_told_so(clip: Path) -> None:
    found = align(clip).offset
    assert found.seconds is not None and abs(found.seconds) <= 0.04 and found.agreement >= 8


@pytest.mark.parametrize(("ending", "shift"), [(".mp4", 0.44), (".mkv", -0.62)])
def test_an_offset_is_found_and_repaired_without_encoding(
    clip: Path, tmp_path: Path, shift: float, ending: str
) -> None:
    off, mended = tmp_path / f"off{ending}", tmp_path / f"mended{ending}"
    shift_sound(clip, off, shift)
    assert packets(off, "video") == packets(clip, "video")
    found = align(off)
    assert found.offset.seconds == pytest.approx(shift, abs=0.04)
    repair(found, mended)
    assert align(mended).offset.seconds == pytest.approx(0.0, abs=0.04)
    assert packets(mended, "video") == packets(clip, "video")
    sound = packets(clip, "audio")
    kept = packets(mended, "audio")
    assert kept == sound[len(sound) - len(kept) :]  # what began before the picture is left out
    assert set(tmp_path.iterdir()) == {off, mended}


def test_another_files_sound_is_set_against_the_sight(clip: Path, tmp_path: Path) -> None:
    sound, sight = tmp_path / "recorder.wav", tmp_path / "camera.mp4"
    make_clip(sound, 6.0, sound=lambda t: clicks(t - 0.5))
    make_clip(sight, 6.0, fps=25, size=(160, 120), draw=flashes, audio=False)
    found = align(sight, sound)
    assert found.offset.seconds == pytest.approx(0.5, abs=0.04)
    repair(found, tmp_path / "both.mkv")
    assert align(tmp_path / "both.mkv").offset.seconds == pytest.approx(0.0, abs=0.04)
    with pytest.raises(MediaError, match="has no sound, so there is nothing to align"):
        align(sight)
    with pytest.raises(MediaError, match="has no sight, so there is nothing to align"):
        align(sound)


def beats(t: np.ndarray) -> np.ndarray:
    return 0.5 * np.exp(-30 * (t % 0.5)) * np.sin(5000 * t)


def beating(t: float) -> np.ndarray:
    return flashes(CLICKS[round(t / 0.5 - 0.5) % 4] if t else 0.0)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"sound": np.zeros_like, "draw": flashes}, "Nothing begins to sound"),
        ({"sound": clicks}, "Nothing moves"),
        ({"seconds": 1.0, "sound": clicks, "draw": flashes}, r"share 0\.\d s; it takes 2 s"),
        ({"sound": lambda t: 0.3 * np.sin(900 * t), "draw": flashes}, "Nothing begins to sound"),
        ({"sound": lambda t: clicks(t + 4.5), "draw": flashes}, "begins|agree|fit alike"),
        ({"sound": beats, "draw": beating}, "fit alike|independent estimates agree"),
    ],
    ids=["silence", "still", "short", "hum", "one bang", "beat"],
)
def test_there_is_no_answer_where_nothing_can_be_told(
    how: dict[str, object], why: str, tmp_path: Path
) -> None:
    seconds = how.pop("seconds", 6.0)
    path = make_clip(tmp_path / "clip.mp4", seconds, fps=25, size=(160, 120), **how)  # type: ignore[arg-type]
    found = align(path)
    assert found.offset.seconds is None
    assert re.search(why, found.offset.why), found.offset.why
    with pytest.raises(InputError, match="There is no offset to repair"):
        repair(found, tmp_path / "out.mp4")


def test_what_is_no_clip_or_no_place_is_refused(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.")
    with pytest.raises(MediaError, match=r"text\.mp4 could not be read"):
        align(tmp_path / "text.mp4")
    with pytest.raises(InputError, match="`reach` must be above 0, in seconds; got 0"):
        align(clip, reach=0)
    there = tmp_path / "there.mp4"
    there.write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        shift_sound(clip, there, 0.1)
    with pytest.raises(InputError, match="must not replace its source"):
        shift_sound(clip, clip, 0.1, force=True)
    with pytest.raises(InputError, match=r"must be one of \.mp4, .*; got 'out\.avi'"):
        shift_sound(clip, tmp_path / "out.avi", 0.1)
    flash = make_clip(tmp_path / "old.flv", 1.0, sound=clicks)
    with pytest.raises(MediaError, match=r"cannot be copied into \.mp4.*Try \.mkv"):
        shift_sound(flash, there, 0.1, force=True)
    assert there.read_bytes() == b"mine"
    assert not list(tmp_path.glob(".earsight-*"))


def test_the_command_line_answers_and_its_exit_code_says_whether(
    clip: Path, tmp_path: Path
) -> None:
    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "earsight", "align", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    shift_sound(clip, tmp_path / "late.mp4", 0.3)
    told = run(tmp_path / "late.mp4", "-o", tmp_path / "mended.mp4")
    assert (
        told.returncode == 0
        and " ms late, or its source " in told.stdout
        and "mended.mp4" in told.stderr
    )
    answer = json.loads(run(tmp_path / "mended.mp4", "--json").stdout)
    assert abs(answer["offset_seconds"]) <= 0.04 and answer["agreement"] >= 8
    still = make_clip(tmp_path / "still.mp4", 3.0, sound=clicks)
    told = run(still, "-o", tmp_path / "none.mp4")
    assert told.returncode == 3 and "no answer. Nothing moves." in told.stdout
    assert not (tmp_path / "none.mp4").exists()


@pytest.mark.parametrize(
    "label", ["hammer", *(pytest.param(x, marks=pytest.mark.long) for x in ("drum", "telephone"))]
)
def test_drawn_events_give_their_offset_back(label: str, tmp_path: Path) -> None:
    errors = []
    for index in range(3):
        film(tmp_path / f"{index}.mp4", label, 11, index)
        shift_sound(tmp_path / f"{index}.mp4", tmp_path / f"late {index}.mp4", 0.36)
        found: Alignment = align(tmp_path / f"late {index}.mp4", reach=1.5)
        errors.append(abs(found.offset.best - 0.36))
    assert np.median(errors) <= 0.04

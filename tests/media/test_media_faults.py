"""Damage: every readable second is read, counted and reported; nothing raises."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from _clips import make_clip, plain
from earsight.media import AudioBlock, Decoder, FrameRequest, Report, Status, kind

SECONDS = 5.0
RNG = np.random.default_rng(7)
PICTURES = RNG.integers(0, 256, (5, 64, 80, 3), dtype=np.uint8)
NOISE = RNG.uniform(-0.5, 0.5, int(SECONDS * 48000))


def noisy(path: Path) -> Path:
    """A clip whose bytes are spread evenly over its seconds."""
    return make_clip(
        path,
        SECONDS,
        size=(80, 64),
        draw=lambda t: PICTURES[int(t * 25) % 5],
        sound=lambda t: NOISE[: len(t)],
        options={"movflags": "faststart"} if path.suffix in (".mp4", ".mov", ".m4a") else None,
    )


def read(path: Path) -> Report:
    """Read sound and sight, and check the blocks against the report."""
    decoder = Decoder(path, audio=[16000], frames=[FrameRequest(None, 32)], threads=1)
    heard = seen = 0.0
    for block in decoder:
        if isinstance(block, AudioBlock):
            heard += len(block.samples) / block.rate
        else:
            seen += len(block.times)
    report = decoder.report
    filled = report.details.get("audio_seconds_filled_with_silence", 0.0)
    assert heard == pytest.approx(report.audio_seconds + filled, abs=0.01)
    assert seen == report.n_frames
    return report


def readable(path: Path) -> tuple[int, float]:
    """Another way: frames and seconds of sound that plain libav decodes, track by track."""
    totals = {"video": 0.0, "audio": 0.0}
    for track in totals:
        with av.open(str(path)) as container:
            for stream in [s for s in container.streams if s.type == track]:
                for packet in packets(container, stream):
                    try:
                        frames = packet.decode()
                    except av.FFmpegError:
                        continue
                    totals[track] += sum(
                        frame.samples / frame.sample_rate if track == "audio" else 1
                        for frame in frames
                    )
    return int(totals["video"]), totals["audio"]


def packets(container: av.container.InputContainer, stream: av.stream.Stream) -> list[av.Packet]:
    found = []
    for _ in range(100):
        try:
            for packet in container.demux(stream):
                found.append(packet)
            break
        except (av.FFmpegError, IndexError):
            continue
    return found


SOUNDS = ["wav", "flac", "mp3", "m4a", "ogg", "opus"]
BOTH = ["mp4", "mov", "mkv", "webm", "ts", "avi", "mpg", "flv"]


@pytest.mark.parametrize("ending", [*BOTH, *SOUNDS, "gif"])
def test_file_cut_in_half_yields_its_half(tmp_path: Path, ending: str) -> None:
    path = noisy(tmp_path / f"a.{ending}")
    whole = read(path)
    assert whole.status is not Status.PARTIAL and whole.message == "" and whole.n_errors == 0
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = read(path)
    n_frames, seconds = readable(path)
    assert report.status is Status.PARTIAL and report.message
    assert report.n_frames >= n_frames and report.audio_seconds >= seconds - 0.05
    if ending in BOTH:
        assert report.audio_seconds > 0.35 * SECONDS and report.visual_seconds > 0.35 * SECONDS
    assert 0.35 * SECONDS < report.duration < 0.65 * SECONDS


def overwrite(path: Path, places: int, length: int) -> None:
    data = bytearray(path.read_bytes())
    for place in np.linspace(0.3, 0.9, places):
        at = int(place * len(data))
        data[at : at + length] = np.random.default_rng(at).bytes(length)
    path.write_bytes(data)


@pytest.mark.parametrize("ending", BOTH)
def test_damaged_bytes_cost_only_what_they_hit(tmp_path: Path, ending: str) -> None:
    path = noisy(tmp_path / f"a.{ending}")
    overwrite(path, places=24, length=300)
    report = read(path)
    n_frames, seconds = readable(path)
    assert report.n_frames >= n_frames - 2 and report.audio_seconds >= seconds - 0.1
    assert report.duration > 0.75 * SECONDS
    if ending != "webm":  # VP8 and Opus make something of any bytes, and libav does not complain
        assert report.status is Status.PARTIAL and report.message


def test_a_hole_in_a_gif_hides_the_frames_after_it(tmp_path: Path) -> None:
    path = noisy(tmp_path / "a.gif")
    data = bytearray(path.read_bytes())
    middle, tenth = len(data) // 2, len(data) // 10
    data[middle : middle + tenth] = bytes(tenth)
    path.write_bytes(data)
    report = read(path)
    assert 0.4 * SECONDS < report.duration < 0.6 * SECONDS
    assert report.status is Status.PARTIAL
    assert "no frame after that could be read" in report.message


@pytest.mark.parametrize("colours", [2, 256])
def test_gifs_of_every_make_are_whole(tmp_path: Path, colours: int) -> None:
    from PIL import Image

    path = tmp_path / "a.gif"  # with a comment longer than a block, and palettes for each frame
    first, *others = (Image.fromarray(picture).quantize(colours) for picture in PICTURES)
    first.save(path, save_all=True, append_images=others, duration=100, comment=b"x" * 600)
    path.write_bytes(path.read_bytes() + b"\0")  # as some encoders pad
    report = read(path)
    assert report.status is Status.NO_AUDIO and report.message == ""
    assert report.n_frames == len(PICTURES)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_sound_after_a_hole_is_still_on_time(tmp_path: Path, ending: str) -> None:
    def late_click(t: np.ndarray) -> np.ndarray:
        click = (t >= 4.5) & (t < 4.505)
        return np.where(click, 0.9, 0.02 * NOISE[: len(t)])

    path = make_clip(
        tmp_path / f"a.{ending}",
        SECONDS,
        size=(80, 64),
        draw=lambda t: PICTURES[int(t * 25) % 5],
        sound=late_click,
        options={"movflags": "faststart"} if ending == "mp4" else None,
    )
    whole = peak(path)
    data = bytearray(path.read_bytes())
    begin, end = int(0.4 * len(data)), int(0.55 * len(data))
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    assert peak(path) == pytest.approx(whole, abs=0.04)


def peak(path: Path) -> float:
    """Seconds of the loudest sample."""
    best = (0.0, 0.0)
    for block in Decoder(path, audio=[16000]):
        assert isinstance(block, AudioBlock)
        at = int(np.abs(block.samples[:]).argmax())
        best = max(best, (float(abs(block.samples[at])), block.start + at / 16000))
    return best[1]


def test_mp4_without_its_index_is_unreadable_and_says_why(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", 2.0)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    report = read(path)
    assert report.status is Status.UNREADABLE and "moov" in report.message and kind(path) is None


@pytest.mark.parametrize("track", ["sound", "sight"])
def test_a_track_that_is_declared_but_lost_is_named(tmp_path: Path, track: str) -> None:
    path = make_clip(tmp_path / "a.mov", 2.0)
    data = bytearray(path.read_bytes())
    coding = {"sound": b"sowt", "sight": b"avc1"}[track]
    at = data.index(coding, data.index(b"stsd"))
    data[at : at + 4] = b"zzzz"
    path.write_bytes(data)
    report = read(path)
    assert report.status is Status.PARTIAL
    assert f"{track} is declared (unknown coding), but none of it could be read" in (
        report.message.lower()
    )
    other = report.visual_seconds if track == "sound" else report.audio_seconds
    assert other == pytest.approx(2.0, abs=0.1)


def test_nothing_of_either_track_is_unreadable(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mov", 1.0)
    data = path.read_bytes().replace(b"sowt", b"zzzz").replace(b"avc1", b"zzzz")
    path.write_bytes(data)
    assert read(path).status is Status.UNREADABLE


def test_only_what_is_asked_for_is_judged(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mov", 1.0)
    path.write_bytes(path.read_bytes().replace(b"sowt", b"zzzz"))
    decoder = Decoder(path, frames=[FrameRequest()])
    assert len(list(decoder)) == 1 and decoder.report.status is Status.OK
    decoder = Decoder(path, audio=[16000])
    assert list(decoder) == [] and decoder.report.status is Status.PARTIAL


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_never_raises(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for ending in ("mp4", "mkv", "avi", "ts", "flv", "mp3", "ogg", "gif", "wav"):
        path = make_clip(tmp_path / f"a.{ending}", 0.6, draw=plain((9, 80, 200), (160, 120)))
        data = bytearray(path.read_bytes())
        for at in rng.integers(0, len(data), 12):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data) // 4, len(data) + 1)])
        report = read(path)
        assert report.status in Status
        assert report.message or report.status in (Status.OK, Status.NO_AUDIO, Status.NO_VIDEO)
        kind(path)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_cut_picture_is_unreadable(tmp_path: Path, ending: str) -> None:
    from PIL import Image

    path = tmp_path / f"a.{ending}"
    Image.fromarray(PICTURES[0]).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = read_still(path)
    assert report.status is Status.UNREADABLE and "damaged or cut off" in report.message


def read_still(path: Path) -> Report:
    decoder = Decoder(path, frames=[FrameRequest()])
    assert list(decoder) == []
    return decoder.report


def test_libav_says_nothing_on_stderr(tmp_path: Path) -> None:
    path = noisy(tmp_path / "a.mp4")
    overwrite(path, places=10, length=500)
    script = (
        "import sys; from pathlib import Path; from earsight.media import Decoder, FrameRequest\n"
        "d = Decoder(Path(sys.argv[1]), audio=[8000], frames=[FrameRequest(None, 32)])\n"
        "list(d); print(d.report.status, d.report.n_errors)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    status, n_errors = done.stdout.split()
    assert status == "partial" and int(n_errors) > 0 and done.stderr == ""

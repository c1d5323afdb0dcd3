"""What is not opened, by name; and that nothing is read through it."""

import ctypes
import os
import struct
import wave
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from _clips import make_clip
from earsight.errors import MediaError
from earsight.library.reports import preview
from earsight.media import Decoder, FrameRequest, Report, Status, kind
from earsight.media._sound import Sound

GREEN = (20, 220, 40)


class Watch:
    """Counts with inotify how often a file is opened or read."""

    OPENED_OR_READ = 0x20 | 0x1

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK)
        watch = libc.inotify_add_watch(self._fd, os.fsencode(path), self.OPENED_OR_READ)
        if self._fd < 0 or watch < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")

    def count(self) -> int:
        """Return the events since the last call."""
        try:
            return len(os.read(self._fd, 1 << 16)) // 16
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def neighbour(tmp_path: Path) -> Path:
    """A green clip that nothing but a playlist leads to."""
    return make_clip(tmp_path / "neighbour.mov", 0.4, colour=GREEN)


@pytest.fixture
def watch(neighbour: Path) -> Iterator[Watch]:
    watching = Watch(neighbour)
    neighbour.read_bytes()
    assert watching.count() > 0  # the watch sees a read when there is one
    yield watching
    watching.close()


def refused(path: Path) -> Report:
    """Read everything there is; it must be nothing."""
    decoder = Decoder(path, audio=[16000], frames=[FrameRequest(None, None)])
    assert list(decoder) == []
    assert decoder.report.status is Status.UNREADABLE
    assert kind(path) is None
    return decoder.report


HLS = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:1
#EXTINF:0.4,
neighbour.mov
#EXT-X-ENDLIST
"""
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
  profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">
  <Representation id="1" bandwidth="1000"><BaseURL>neighbour.mov</BaseURL></Representation>
  </AdaptationSet></Period></MPD>"""
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
CONCAT = "ffconcat version 1.0\nfile 'neighbour.mov'\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.m3u8", HLS, "hls"),
        ("list.mp4", HLS, "hls"),
        ("list.jpg", HLS, "hls"),
        ("list.wav", "\ufeff" + HLS, "hls"),
        ("list.ffconcat", CONCAT, "ffconcat"),
        ("list.mp4", CONCAT, "ffconcat"),
        ("list.mpd", DASH, "dash"),
        ("list.mp4", DASH, "dash"),
        ("list.sdp", SDP, "sdp"),
        ("list.mp4", SDP, "sdp"),
        ("list.pls", "[playlist]\nFile1=neighbour.mov\n", "pls"),
        ("list.wmv", "[Reference]\nRef1=neighbour.mov\n", "asf reference"),
    ],
)
def test_playlists_are_refused_by_name_and_lead_nowhere(
    tmp_path: Path, watch: Watch, name: str, content: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    message = refused(path).message
    assert said in message and "self-contained media only" in message
    assert watch.count() == 0


def test_libav_alone_would_read_the_neighbour(tmp_path: Path, neighbour: Path) -> None:
    """The danger is real: what is refused above is decoded by a plain `av.open`."""
    path = tmp_path / "list.mp4"
    path.write_text(CONCAT, encoding="utf-8")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert np.abs(frame.to_ndarray(format="rgb24")[8, 8].astype(int) - GREEN).max() < 20


@pytest.mark.parametrize("prefix", ["\n", " ", "\0", "x" * 9000 + "\n"])
def test_playlists_in_other_clothes_lead_nowhere_either(
    tmp_path: Path, watch: Watch, prefix: str
) -> None:
    path = tmp_path / "list.mp4"
    for content in (HLS, CONCAT, DASH, SDP):
        path.write_text(prefix + content, encoding="utf-8")
        refused(path)
    assert watch.count() == 0


def box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name) + data


def with_external_tracks(moov: bytes, target: str) -> bytes:
    """Return a `moov` box whose tracks' data lie in the file `target` of the same folder."""
    path = f"/{target}".encode()
    alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16)
    alias += struct.pack(">hh", 1, 1) + bytes(16) + struct.pack(">hh", 2, len(path)) + path
    alias += bytes(len(path) % 2) + struct.pack(">hh", -1, 0)
    dref = box(b"dref", bytes(4), struct.pack(">I", 1), box(b"alis", bytes(4), alias))

    def rebuilt(data: bytes) -> bytes:
        out, at = b"", 0
        while at < len(data):
            size, name = struct.unpack(">I4s", data[at : at + 8])
            inner = data[at + 8 : at + size]
            if name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                inner = rebuilt(inner)
            out += dref if name == b"dref" else box(name, inner)
            at += size
        return out

    return rebuilt(moov)


def external(folder: Path, neighbour: Path) -> Path:
    data = neighbour.read_bytes()
    at = data.index(b"moov") - 4
    size = int.from_bytes(data[at : at + 4])
    path = folder / "outside.mov"
    path.write_bytes(
        box(b"ftyp", b"qt  ", bytes(4), b"qt  ")
        + with_external_tracks(data[at : at + size], neighbour.name)
    )
    return path


def test_mov_with_tracks_in_another_file_is_refused(
    tmp_path: Path, neighbour: Path, watch: Watch
) -> None:
    path = external(tmp_path, neighbour)
    watch.count()
    message = refused(path).message
    assert "data references" in message and "self-contained media only" in message
    assert watch.count() == 0


def test_libav_told_to_would_read_the_other_file(tmp_path: Path, neighbour: Path) -> None:
    """The file above is a true one: with `enable_drefs` libav finds the neighbour's frames."""
    path = external(tmp_path, neighbour)
    with av.open(str(path), container_options={"enable_drefs": "1"}) as container:
        frame = next(container.decode(video=0))
    assert np.abs(frame.to_ndarray(format="rgb24")[8, 8].astype(int) - GREEN).max() < 20


def test_image_sequences_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        Image.new("RGB", (8, 8), GREEN).save(tmp_path / f"img{k:03d}.jpg")
    assert "image sequence" in refused(tmp_path / "img%03d.jpg").message
    assert "image sequence" in refused(tmp_path / "img*.jpg").message
    with av.open(str(tmp_path / "img%03d.jpg"), format="image2") as container:
        assert len(list(container.decode(video=0))) == 3  # the danger is real
    single = tmp_path / "odd%03d.jpg"
    Image.new("RGB", (8, 8), GREEN).save(single)
    assert kind(single) == "visual"  # a file really called so is a picture like any other


NAMES = [
    b"concat:neighbour.mov",
    b"http:neighbour.mov",
    b"file:neighbour.mov",
    b"pipe:0",
    b"-",
    b"-i.mov",
    b"with \"quotes\" and 'more'.mov",
    b"new\nline.mov",
    b"not utf-8 \xff\xfe.mov",
    b"%03d.mov",
]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_plain_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    clip = make_clip(tmp_path / "clip.mov", 0.4, colour=GREEN)
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    clip.rename(path)
    decoder = Decoder(path, audio=[16000], frames=[FrameRequest()])
    blocks = list(decoder)
    assert decoder.report.status is Status.OK and len(blocks) == 2
    assert kind(path) == "both"


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_of_missing_files_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "There is no such file" in refused(Path(os.fsdecode(name))).message
    assert watch.count() == 0


def test_what_is_no_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "folder" in refused(tmp_path).message
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe" in refused(tmp_path / "pipe.mp4").message
    assert "cannot be opened" in refused(Path("a\0b.mp4")).message

    def forbid(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    clip = make_clip(tmp_path / "a.wav", 0.1)
    monkeypatch.setattr(Path, "open", forbid)
    assert "Permission denied" in refused(clip).message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"Dear diary,\n" * 500, "no sound, video or picture"),
        (bytes(5000), "no sound, video or picture"),
        (bytes(range(256)) * 50, "no sound, video or picture"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "HEIF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG picture is damaged at its start"),
    ],
)
def test_what_is_no_media(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert said in refused(path).message


def test_subtitles_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n\n" * 50)
    assert "format that Earsight opens" in refused(path).message


def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    png = tmp_path / "bomb.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") * 2)
    assert "pixels" in refused(png).message

    gif = bytearray(make_clip(tmp_path / "bomb.gif", 0.2, size=(16, 16)).read_bytes())
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    (tmp_path / "bomb.gif").write_bytes(gif)
    assert (
        "more than 100,000,000 pixels are refused" in refused_frames(tmp_path / "bomb.gif").message
    )

    Image.new("RGB", (20_000, 1)).save(tmp_path / "thread.png")
    assert "pixels" in refused_frames(tmp_path / "thread.png").message


def refused_frames(path: Path) -> Report:
    decoder = Decoder(path, frames=[FrameRequest(1.0, 256)])
    assert list(decoder) == [] and decoder.report.status is Status.UNREADABLE
    return decoder.report


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2_000_000_000])
def test_sample_rates_that_sound_cannot_have_are_refused(tmp_path: Path, rate: int) -> None:
    """At 1 Hz, two megabytes last for weeks; at 2 GHz, a second of silence has gigabytes."""
    path = tmp_path / "odd.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, rate, 0, "NONE", ""))
        file.writeframes(bytes(range(256)) * 40)
    decoder = Decoder(path, audio=[16000])
    assert list(decoder) == [] and decoder.report.status is Status.UNREADABLE
    assert f"{rate:,} samples a second; from 1,000 to 1,000,000" in decoder.report.message
    with pytest.raises(MediaError, match="samples a second"):
        preview.peaks(path, 10)


@pytest.mark.parametrize("rate", [1000, 1_000_000])
def test_the_least_and_the_highest_sample_rate_are_read(tmp_path: Path, rate: int) -> None:
    path = make_clip(tmp_path / "a.wav", 0.5, rate=rate, tone=100)
    decoder = Decoder(path, audio=[8000])
    assert sum(len(block.samples) for block in decoder) == 4000  # type: ignore[union-attr]
    assert decoder.report.status is Status.NO_VIDEO


def test_a_sample_rate_that_sinks_on_the_way_is_refused() -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 100), np.float32), format="fltp", layout="mono")
    frame.sample_rate = 8000
    sound = Sound([8000], 10.0)
    assert list(sound.feed(frame, 0.0)) == [] and sound.seconds == 100 / 8000
    frame.sample_rate = 2
    with pytest.raises(MediaError, match="2 samples a second"):
        list(sound.feed(frame, None))


def test_frames_that_stay_for_an_hour_each_are_given_up(tmp_path: Path) -> None:
    times = [3000.0 * number for number in range(12)]
    clip = make_clip(tmp_path / "slides.mkv", audio=False, frame_times=times)
    given_up(clip, Decoder(clip, frames=[FrameRequest(0.1, 16)]), 10)


def test_sound_with_an_hour_of_nothing_between_packets_is_given_up(tmp_path: Path) -> None:
    clip = tmp_path / "gaps.mkv"
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for number in range(20):
            packet = av.Packet(bytes(1600))
            packet.stream, packet.time_base = stream, Fraction(1, 8000)
            packet.pts = packet.dts = number * 3000 * 8000
            out.mux(packet)
    given_up(clip, Decoder(clip, audio=[1000]), 1)


def given_up(clip: Path, decoder: Decoder, step: float) -> None:
    end = max(
        float(np.max(getattr(block, "times", getattr(block, "start", 0.0)))) for block in decoder
    )
    allowed = 6 * 3600 + clip.stat().st_size / 16
    assert allowed - 3000 - 9 * step < end <= allowed
    assert decoder.report.status is Status.UNREADABLE
    assert "out of all proportion to its" in decoder.report.message

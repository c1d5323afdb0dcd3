"""Memory: that of a block, however long the clip."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from _clips import make_clip

MEASURE = r"""
import re, sys
from pathlib import Path
from earsight.media import Decoder, FrameRequest
requests = [FrameRequest(1.0, 256), FrameRequest(25.0, 256)]
decoder = Decoder(Path(sys.argv[1]), audio=[16000, 44100], frames=requests)
for block in decoder:
    pass
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(int(peak[1]) // 1024, decoder.report.status, round(decoder.report.duration))
"""


def looped(path: Path, source: Path, seconds: float, times: int) -> Path:
    """Write `source` over and over into one long file, without encoding anew."""
    with av.open(str(path), "w") as out:
        outs: dict[int, Any] = {}
        for turn in range(times):
            with av.open(str(source)) as clip:
                for stream in clip.streams:
                    if stream.index not in outs:
                        outs[stream.index] = out.add_stream_from_template(stream)
                for packet in clip.demux():
                    if not packet.size:
                        continue
                    shift = round(turn * seconds / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = outs[packet.stream.index]
                    out.mux(packet)
    return path


def measured(path: Path) -> tuple[int, str, int]:
    """Decode in a process of its own: peak memory in MiB, status, seconds."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    peak, status, seconds = done.stdout.split()
    return int(peak), status, int(seconds)


RAMP = np.broadcast_to(np.arange(1280, dtype=np.uint16)[None, :, None] // 6, (720, 1280, 3))


def drifting(t: float) -> np.ndarray:
    return (RAMP + round(t * 25)).astype(np.uint8)


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    short = make_clip(tmp_path / "s.mov", 1.0, draw=drifting, size=(1280, 720), rate=48000)
    peak_short, _, _ = measured(looped(tmp_path / "a.mkv", short, 1.0, 4))
    peak_long, status, seconds = measured(looped(tmp_path / "b.mkv", short, 1.0, 24))
    assert (status, seconds) == ("ok", 24)
    assert peak_long < 300 and peak_long - peak_short < 20


@pytest.mark.long
def test_an_hour_of_720p_needs_less_than_300_mb(tmp_path: Path) -> None:
    short = make_clip(tmp_path / "s.mov", 10.0, draw=drifting, size=(1280, 720), rate=48000)
    peak, status, seconds = measured(looped(tmp_path / "hour.mkv", short, 10.0, 360))
    assert (status, seconds) == ("ok", 3600) and peak < 300

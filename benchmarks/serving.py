"""Answers of the running server with 10,000 clips, over HTTP, against the library in Python.

Aims: under 100 ms for words and clips of the library, under 1 s for a dropped 10-second clip. The
floor is the same question by words in Python, without the server.

    python benchmarks/serving.py [--clips 10000] [--questions 40] [--out build/benchmarks]
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import numpy as np

import earsight
from _harness import Aim, answered, percentiles, report, sized
from _synthetic import synthetic_library

TOP = 20
SECONDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=sized(10_000, 200))
    parser.add_argument("--questions", type=int, default=sized(40, 5))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        synthetic_library(clips, options.clips)
        dropped = _drawn_clip(Path(folder) / "drawn")
        command = [sys.executable, "-m", "earsight", "serve", "--library", str(clips), "--port=0"]
        command += ["--no-token", "--json"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        host = json.loads(server.stdout.readline())["url"].split("/")[2]
        try:
            library = earsight.Library(clips)
            library.warm()
            times = answered(
                {
                    "over HTTP, by words": lambda i: _get(
                        host, f"/api/search?top={TOP}&text={quote(_words(i))}"
                    ),
                    "the same in Python": lambda i: library.search(text=_words(i), top=TOP),
                    "over HTTP, by a clip": lambda i: _get(
                        host, f"/api/search?top={TOP}&by=audio&clip={1 + i}"
                    ),
                    f"over HTTP, a dropped clip of {SECONDS} s": lambda i: _drop(host, dropped),
                },
                options.questions,
                threads=options.threads,
            )
            library.close()
        finally:
            server.terminate()
            server.wait()
    results = percentiles(times)
    words, _, by_clip, drop = results.values()
    report(
        f"the best {TOP} of {options.clips:,} clips from the server",
        results,
        options.out / "serving.json",
        aims=[
            Aim("ms, p99, by words", 100, words["p99 ms"]),
            Aim("ms, p99, by a clip", 100, by_clip["p99 ms"]),
            Aim("ms, p99, a dropped clip", 1000, drop["p99 ms"]),
        ],
        threads=options.threads,
        questions=f"{options.questions} of each kind, no words twice",
        dropped_clip=f"{SECONDS} s of video, 320 × 240, with sound, {len(dropped):,} bytes",
    )


def _words(number: int) -> str:
    return f"a dog barks {number}"


def _get(host: str, path: str) -> None:
    connection = http.client.HTTPConnection(host)
    connection.request("GET", path)
    _check(connection)


def _drop(host: str, clip: bytes) -> None:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    connection = http.client.HTTPConnection(host)
    connection.request(
        "POST", f"/api/search?top={TOP}&by=audio", head + clip + b"\r\n--edge--\r\n", kind
    )
    _check(connection)


def _check(connection: http.client.HTTPConnection) -> None:
    reply = connection.getresponse()
    body = json.loads(reply.read())
    connection.close()
    assert len(body["answers"]) == TOP, body


def _drawn_clip(folder: Path) -> bytes:
    """Return ten seconds of moving noise with a tone."""
    import av

    folder.mkdir()
    path = folder / "clip.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        sight = out.add_stream("libx264", rate=25)
        sight.width, sight.height, sight.pix_fmt = 320, 240, "yuv420p"
        sound = out.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(25 * SECONDS):
            small = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
            picture = np.ascontiguousarray(small.repeat(16, axis=0).repeat(16, axis=1))
            out.mux(sight.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        t = np.arange(16_000 * SECONDS) / 16_000
        tone = (0.4 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux(sound.encode(frame))
        for stream in (sight, sound):
            out.mux(stream.encode(None))
    return path.read_bytes()


if __name__ == "__main__":
    main()

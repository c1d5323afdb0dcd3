"""How fast clips are read: seconds of clip a second, and what decoding alone takes of it.

The clips are made on the spot: 640×360 at 25 fps in H.264, 48 kHz stereo in AAC, 10 s each. Each
round times decoding alone (the same sound and frames, nothing done with them) and then the default
pair with both namings on top, one after the other on the same clip, so that a busy machine slows
both. Medians over rounds.

    python benchmarks/extraction.py --clips 3 --rounds 5
"""

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np

import earsight
from _harness import compare, report, sized
from earsight.extractors import FeatureExtractor, extract_all
from earsight.media import Decoder, FrameRequest

SECONDS = 10
WIDTH, HEIGHT, FPS, RATE = 640, 360, 25, 48_000


def make_clip(path: Path, seed: int, seconds: float = SECONDS) -> Path:
    """Coloured noise that drifts, and a warbling tone in noise: neither track is easy to code."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    texture = texture.repeat(8, axis=0).repeat(8, axis=1)
    t = np.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 440 * t + 5 * np.sin(2 * np.pi * 3 * t))
    sound = (tone + rng.normal(0, 0.05, (2, len(t)))).astype(np.float32)
    with av.open(str(path), "w") as out:
        sight = out.add_stream("libx264", rate=FPS)
        sight.width, sight.height, sight.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        ear = out.add_stream("aac", rate=RATE, layout="stereo")
        for k in range(round(seconds * FPS)):
            picture = np.ascontiguousarray(np.roll(texture, (k, 3 * k), axis=(0, 1)))
            out.mux(sight.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for start in range(0, len(t), 1024):
            part = np.ascontiguousarray(sound[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, start
            out.mux(ear.encode(frame))
        out.mux(sight.encode())
        out.mux(ear.encode())
    return path


def decode(clip: Path, extractors: list[FeatureExtractor]) -> None:
    """Read what the extractors need, and drop it."""
    needs = {extractor.needs for extractor in extractors}
    audio = [need for need in needs if isinstance(need, int)]
    frames = [need for need in needs if isinstance(need, FrameRequest)]
    for _ in Decoder(clip, audio=audio, frames=frames):
        pass


def main() -> None:
    """Time, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=sized(3, 1))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    pair = [earsight.extractor("yamnet"), earsight.extractor("efficientnet")]
    whole = [*pair, *(earsight.extractor("words", modality=m) for m in ("audio", "visual"))]
    with tempfile.TemporaryDirectory() as folder:
        clips = [make_clip(Path(folder) / f"{seed}.mp4", seed) for seed in range(options.clips)]
        results = compare(
            {
                "earsight, default pair and words": lambda: [extract_all(c, whole) for c in clips],
                "decoding alone": lambda: [decode(clip, pair) for clip in clips],
            },
            rounds=options.rounds,
        )
    for row in results.values():
        row["seconds of clip a second"] = round(SECONDS * options.clips / row["seconds"], 1)
    report(
        f"extraction of {options.clips} clips of {SECONDS} s, {WIDTH}×{HEIGHT} at {FPS} fps",
        results,
        options.out / "extraction.json",
        threads=1,
    )


if __name__ == "__main__":
    main()

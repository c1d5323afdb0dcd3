"""How fast the sight networks see clips: against plain torch, and against decoding alone.

The clips are those of `extraction.py`: 640×360 at 25 fps in H.264, 10 s each. "Plain torch" is the
way of the originals: frame by frame through the decoder, one frame (of I3D one window) at a time
through the network; of Inception it is the original TorchScript file itself. I3D looks at
every frame, so it is timed on a clip of one window, 2.56 s, and its time scaled.

Memory is what a process of its own holds at most while it reads one clip, torch not loaded.

    python benchmarks/sights.py --clips 2 --rounds 5 --threads 2
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import earsight
from _harness import compare, report
from earsight import weights
from earsight.extractors import efficientnet, extract_all, i3d, inception
from earsight.extractors._frames import centre
from earsight.extractors._i3d import I3DNetwork
from earsight.extractors._lite0 import Lite0
from earsight.media import Decoder, FrameRequest
from extraction import SECONDS, make_clip

KINDS = {
    "efficientnet": {},
    "inception": {},
    "i3d.kinetics": {"weights": "kinetics"},
}
WINDOW = 64 / i3d.FPS  # seconds
CHILD = r"""
import re, sys, earsight
name, _, weights = sys.argv[1].partition(".")
kind = earsight.extractor(name, **({"weights": weights} if weights else {}))
kind.extract(sys.argv[2])
print(int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def frames(clip: Path, request: FrameRequest) -> list[np.ndarray]:
    """Read every frame of a request, as decoding alone does."""
    return [frame for block in Decoder(clip, frames=[request]) for frame in block.frames]


def plain_efficientnet() -> Callable[[Path], np.ndarray]:
    """EfficientNet-lite0 in torch, one frame at a time."""
    (path,) = weights.fetch("efficientnet_lite0").values()
    network = Lite0(torch.load(path, weights_only=True)).eval()

    def run(clip: Path) -> np.ndarray:
        with torch.no_grad():
            seen = [
                network(torch.from_numpy(centre(frame, efficientnet.SIDE)[None].copy()))[0]
                for frame in frames(clip, efficientnet.EfficientNet().needs)
            ]
        return torch.cat(seen).numpy()

    return run


def plain_inception() -> Callable[[Path], np.ndarray]:
    """The original TorchScript file, one frame at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old
        network = torch.jit.load(str(weights.fetch("inception")[inception.ORIGINAL]))

    def run(clip: Path) -> np.ndarray:
        with torch.no_grad(), torch.jit.optimized_execution(False):
            seen = [
                network((torch.from_numpy(image).permute(2, 0, 1)[None] - 128) / 128)
                for image in map(inception.resize, frames(clip, FrameRequest(1.0, None)))
            ]
        return torch.cat(seen).numpy()

    return run


def plain_i3d() -> Callable[[Path], np.ndarray]:
    """I3D in torch, on a clip of one window."""
    (path,) = weights.fetch("i3d_scratch").values()
    arrays = i3d.renamed(weights.unpickle_arrays(path))
    network = I3DNetwork({name: torch.tensor(a) for name, a in arrays.items()}).eval()

    def run(clip: Path) -> np.ndarray:
        window = centre(np.stack(frames(clip, i3d.I3D.needs)), i3d.SIDE)
        with torch.no_grad():
            return network(torch.from_numpy(window[None].copy()))[0].numpy()

    return run


def resident_mib(kind: str, clip: Path) -> int:
    """Return what a fresh process that reads one clip holds at most, as Linux counts it.

    `ru_maxrss` would begin with what this process holds.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHILD, kind, str(clip)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def main() -> None:
    """Time, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    os.environ["EARSIGHT_THREADS"] = str(options.threads)
    torch.set_num_threads(options.threads)
    plain = {
        "efficientnet": plain_efficientnet(),
        "inception": plain_inception(),
        "i3d.kinetics": plain_i3d(),
    }
    with tempfile.TemporaryDirectory() as name:
        clips = [make_clip(Path(name) / f"{seed}.mp4", seed) for seed in range(options.clips)]
        short = [make_clip(Path(name) / "short.mp4", 0, WINDOW)]
        tasks: dict[str, Callable[[], object]] = {
            "decoding at 1 fps, as stored": lambda: [
                frames(clip, FrameRequest(1.0, None)) for clip in clips
            ]
        }
        scale = {}
        for key, parameters in KINDS.items():
            kind = earsight.extractor(key.partition(".")[0], **parameters)
            some = short if key.startswith("i3d") else clips
            ours, theirs = kind.extract(some[0]).values, plain[key](some[0])
            np.testing.assert_allclose(ours, theirs, atol=1e-3)  # the same, or it is no race
            tasks[key] = lambda kind=kind, some=some: [extract_all(clip, [kind]) for clip in some]
            tasks[f"{key}, plain torch"] = lambda key=key, some=some: [*map(plain[key], some)]
            if some is short:
                of_all = SECONDS * len(clips) / WINDOW
                scale |= dict.fromkeys((key, f"{key}, plain torch"), of_all)
        results = compare(tasks, rounds=options.rounds, threads=options.threads, scale=scale)
        memory = {f"peak resident MiB, {key}": resident_mib(key, clips[0]) for key in KINDS}
    length = SECONDS * options.clips
    rates = {
        f"seconds of clip per second, {name}": round(length / row["seconds"], 1)
        for name, row in results.items()
    }
    report(
        f"sight networks on {options.clips} clips of {SECONDS} s, {options.threads} threads",
        results,
        options.out / "sights.json",
        **rates,
        **memory,
    )


if __name__ == "__main__":
    main()

"""How fast the sight networks see clips: against plain torch, and against decoding alone.

The clips are those of `extraction.py`: 640×360 at 25 fps in H.264, 10 s each. "Plain torch" is the
way of the originals: frame by frame through the decoder, one frame (of I3D one window) at a time
through the network; of Inception it is the original TorchScript file itself. I3D looks at
every frame, so it is timed on a clip of one window, 2.56 s, and its time scaled. Decoding alone,
the floor, is held against EfficientNet.

Memory is what a process of its own holds at most while it reads one clip, torch not loaded.

    python benchmarks/sights.py --clips 2 --rounds 3 --threads 2
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
from _harness import Aim, Task, compare, report, sized
from _torch_networks import I3DNetwork, Lite0
from earsight import weights
from earsight.extractors import efficientnet, extract_all, i3d, inception
from earsight.extractors.preprocessing.frames import centre
from earsight.media import Decoder, FrameRequest
from extraction import SECONDS, make_clip

ALL = {
    "efficientnet": {},
    "inception": {},
    "i3d.kinetics": {"weights": "kinetics"},
}
KINDS = sized(ALL, {"efficientnet": {}})
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
    parser.add_argument("--clips", type=int, default=sized(2, 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=sized(os.cpu_count() or 1, 1))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    os.environ["EARSIGHT_THREADS"] = str(options.threads)
    torch.set_num_threads(options.threads)
    makers = {
        "efficientnet": plain_efficientnet,
        "inception": plain_inception,
        "i3d.kinetics": plain_i3d,
    }
    plain = {key: makers[key]() for key in KINDS}
    with tempfile.TemporaryDirectory() as name:
        clips = [make_clip(Path(name) / f"{seed}.mp4", seed) for seed in range(options.clips)]
        short = [make_clip(Path(name) / "short.mp4", 0, WINDOW)]
        tasks: dict[str, Task] = {}
        scale, against = {}, {}
        for key, parameters in KINDS.items():
            kind = earsight.extractor(key.partition(".")[0], **parameters)
            some = short if key.startswith("i3d") else clips
            ours, theirs = kind.extract(some[0]).values, plain[key](some[0])
            np.testing.assert_allclose(ours, theirs, atol=1e-3)  # the same, or it is no race
            first, second = f"earsight, {key}", f"{key}, plain torch"
            tasks[first] = lambda kind=kind, some=some: [extract_all(clip, [kind]) for clip in some]
            tasks[second] = lambda key=key, some=some: [*map(plain[key], some)]
            against |= {first: first, second: first}
            if some is short:
                scale |= dict.fromkeys((first, second), SECONDS * len(clips) / WINDOW)
        tasks["decoding at 1 fps, as stored"] = lambda: [
            frames(clip, FrameRequest(1.0, None)) for clip in clips
        ]
        results = compare(
            tasks, rounds=options.rounds, threads=options.threads, scale=scale, against=against,
            peaks=False,
        )  # fmt: skip
        for row in results.values():
            row["seconds of clip a second"] = round(SECONDS * options.clips / row["seconds"], 1)
        for key in KINDS:
            results[f"earsight, {key}"]["resident MiB"] = resident_mib(key, clips[0])
    report(
        f"sight networks on {options.clips} clips of {SECONDS} s",
        results,
        options.out / "sights.json",
        aims=[
            Aim(f"{key}: times faster than plain torch", 1, plain["ratio"], at_least=True)
            for key in KINDS
            for plain in (results[f"{key}, plain torch"],)
        ],
        threads=options.threads,
        resident_MiB="at most, of a process of its own that reads one clip",
    )


if __name__ == "__main__":
    main()

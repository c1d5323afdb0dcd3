"""YAMNet: what a sound is, by a MobileNet trained on AudioSet's 521 classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing import log_mel
from earsight.extractors.runtime import onnx
from earsight.features import FeatureSequence
from earsight.media import AudioBlock

GROUP = 48  # frames in a patch hop, 0.48 s
PATCH_SAMPLES = 2 * GROUP * log_mel.HOP + log_mel.WINDOW - log_mel.HOP  # 15,600, 0.975 s
HOP_SAMPLES = GROUP * log_mel.HOP  # 7,680, 0.48 s
SPAN = 0.96  # seconds in a patch
BATCH = 8  # patches
CONVERSION = 1  # raised whenever `convert` changes

# Tensors of the original: the last layer's mean over time and frequency, and the shape it is given.
POOLED, POOLED_SHAPE = "/model/Reshape_output_0", "/model/Constant_output_0"


@dataclass(kw_only=True)
class YAMNet(FeatureExtractor):
    """Sound as YAMNet hears it, every 0.48 s: a vector of 1024, and 521 AudioSet class scores.

    Patches of 96 log-mel frames (0.96 s) every 48. As in the official code, the end of a clip is
    padded with silence to a whole number of hops, so that every sample is heard, and a clip
    shorter than one patch becomes one. The class scores are sigmoid probabilities.

    Reference:
        Plakal and Ellis, YAMNet (2019),
        https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
    """

    name: ClassVar[str] = "yamnet"
    modality: ClassVar[str] = "audio"
    heads: ClassVar[tuple[str, ...]] = ("embedding", "scores")
    dims: ClassVar[Mapping[str, int]] = {"embedding": 1024, "scores": 521}
    needs: ClassVar[int] = log_mel.RATE
    hop: ClassVar[float] = HOP_SAMPLES / log_mel.RATE
    pretrained: ClassVar[tuple[str, ...]] = ("yamnet",)

    def _session(self) -> "_Session":
        return _Session()


class _Session:
    def __init__(self) -> None:
        self._start = 0.0
        self._mel = log_mel.LogMelStream(GROUP)
        self._last: FloatArray | None = None  # the group that the next patch begins with
        self._batches = onnx.Batches(_network, BATCH)

    def feed(self, block: AudioBlock) -> None:
        if self._mel.n_samples == 0:
            self._start = block.start
        self._push(block.samples)

    def close(self) -> dict[str, FeatureSequence]:
        n = self._mel.n_samples
        if n == 0:
            return {}
        n_patches = 1 + -(-max(0, n - PATCH_SAMPLES) // HOP_SAMPLES)
        self._push(np.zeros(PATCH_SAMPLES + (n_patches - 1) * HOP_SAMPLES - n, dtype=np.float32))
        # The middle of a patch; of a clip shorter than one, the middle of the clip.
        first = min(SPAN, n / log_mel.RATE) / 2
        times = self._start + first + HOP_SAMPLES / log_mel.RATE * np.arange(n_patches)
        return {
            head: FeatureSequence(values, times, SPAN)
            for head, values in self._batches.close().items()
        }

    def _push(self, samples: FloatArray) -> None:
        for group in self._mel.push(samples):  # (48, 64)
            if self._last is not None:
                self._batches.add(np.concatenate([self._last, group])[None])  # (1, 96, 64)
            self._last = group


def _network(patches: onnx.Array) -> onnx.Heads:
    return onnx.run(_model(), patches=patches)  # (n, 1, 96, 64) -> (n, 1024), (n, 521)


def _model() -> Path:
    from earsight import weights

    return weights.converted("yamnet", CONVERSION, convert) / "model.onnx"


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` in float from the original, an ONNX file prepared for 8-bit arithmetic.

    Its weights are kept in float32 and rounded when it runs, between pairs of QuantizeLinear and
    DequantizeLinear. Without the pairs it is YAMNet again, with batch norm folded in.

    Raises:
        WeightsError: The original is another file; no other has been met and checked so far.
    """
    import onnx

    if set(originals) != {"model.onnx", "model.data"}:
        raise WeightsError(
            "YAMNet is converted from model.onnx with model.data; got "
            f"{', '.join(sorted(originals))}. Other originals can't be converted yet: "
            "remove them, and `earsight weights pull yamnet` brings the one that can."
        )
    model = onnx.load(originals["model.onnx"])  # finds model.data beside it
    _remove_quantisation(model.graph)
    _name_ends(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")


def _remove_quantisation(graph: Any) -> None:
    pairs = {"QuantizeLinear", "DequantizeLinear"}
    passed = {node.output[0]: node.input[0] for node in graph.node if node.op_type in pairs}

    def origin(tensor: str) -> str:
        return origin(passed[tensor]) if tensor in passed else tensor

    nodes = [node for node in graph.node if node.op_type not in pairs]
    for node in nodes:
        node.input[:] = [origin(tensor) for tensor in node.input]
    used = {tensor for node in nodes for tensor in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    graph.output[0].name = origin(graph.output[0].name)
    for field, kept in (("node", nodes), ("initializer", initializers)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    graph.ClearField("value_info")


def _name_ends(graph: Any) -> None:
    """Give the graph the input `patches` and the outputs `embedding` and `scores`, any batch."""
    from onnx import TensorProto, helper, numpy_helper

    logits = graph.output[0].name
    renamed = {graph.input[0].name: "patches", POOLED: "embedding"}
    for node in graph.node:
        node.input[:] = [renamed.get(tensor, tensor) for tensor in node.input]
        node.output[:] = [renamed.get(tensor, tensor) for tensor in node.output]
    graph.node.append(helper.make_node("Sigmoid", [logits], ["scores"]))
    for tensor in graph.initializer:
        if tensor.name == POOLED_SHAPE:  # was (1, -1), which allows a batch of one alone
            tensor.CopyFrom(numpy_helper.from_array(np.array([-1, 1024]), POOLED_SHAPE))
    ends = {"patches": (1, 96, 64), "embedding": (1024,), "scores": (521,)}
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", *dims))
        for name, dims in ends.items()
    ]
    for field, kept in (("input", infos[:1]), ("output", infos[1:])):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)

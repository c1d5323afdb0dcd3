"""A small BERT encoder of sentences as an ONNX graph."""

import math
from pathlib import Path

import numpy as np

from earsight.extractors.networks.graph import Arrays, Graph

EPSILON = 1e-12  # of layer norm, and of a vector's length


def write(arrays: Arrays, n_heads: int, path: Path) -> None:
    """Write the network: tokens (n, length) int64 → embedding (n, width), unit vectors.

    A text's vector is the mean over its tokens, scaled to length 1. There is no mask: texts of one
    batch have the same number of tokens.

    Args:
        arrays: The original state dict.
        n_heads: Attention heads in a layer.
        path: The file to write.

    Raises:
        KeyError, ValueError: An array is missing, or has another shape.
    """
    net = _Layers(arrays, n_heads)
    graph, table = net.graph, "embeddings.{}_embeddings.weight".format
    words = graph.add("Gather", graph.constant(arrays[table("word")]), graph.input, axis=0)
    # Every token is of the first segment, whose vector is therefore part of each position's.
    positions = graph.constant(arrays[table("position")] + arrays[table("token_type")][0])
    zero, length = graph.constant(np.array([0])), graph.add("Shape", graph.input, start=1, end=2)
    x = graph.add("Add", words, graph.add("Slice", positions, zero, length, zero))
    x = net.norm(x, "embeddings.LayerNorm")  # (n, length, width)
    n_layers = len({key.split(".")[2] for key in arrays if key.startswith("encoder.layer.")})
    for i in range(n_layers):
        x = net.layer(x, f"encoder.layer.{i}")
    mean = graph.mean(x, (1,))  # (n, width)
    norm = graph.add("ReduceL2", mean, axes=[1], keepdims=1)
    norm = graph.add("Clip", norm, graph.constant(np.array(EPSILON, dtype=np.float32)))
    width = arrays[table("word")].shape[1]
    outputs = {"embedding": (graph.add("Div", mean, norm), (width,))}
    graph.save(path, outputs, example=(2, 3))


class _Layers:
    """The parts of the encoder, each from (n, length, d) to (n, length, d′)."""

    def __init__(self, arrays: Arrays, n_heads: int) -> None:
        self.graph = Graph("tokens", ("n", "length"), np.int64)
        self._arrays, self._n_heads = arrays, n_heads

    def layer(self, x: str, name: str) -> str:
        """Self-attention and two linear layers, each added to its input and normalised after it."""
        graph, output = self.graph, f"{name}.attention.output"
        mixed = self._linear(self._attention(x, f"{name}.attention.self"), f"{output}.dense")
        x = self.norm(graph.add("Add", x, mixed), f"{output}.LayerNorm")
        wide = self._gelu(self._linear(x, f"{name}.intermediate.dense"))
        narrow = self._linear(wide, f"{name}.output.dense")
        return self.norm(graph.add("Add", x, narrow), f"{name}.output.LayerNorm")

    def norm(self, x: str, name: str) -> str:
        """Layer norm over the width."""
        weight, bias = (
            self.graph.constant(self._arrays[f"{name}.{part}"]) for part in ("weight", "bias")
        )
        return self.graph.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=EPSILON)

    def _attention(self, x: str, name: str) -> str:
        """Softmax(QKᵀ/√d)V in each head, heads one after another."""
        graph = self.graph
        n_heads = self._n_heads
        width = self._arrays[f"{name}.query.weight"].shape[0] // n_heads

        def split(part: str, perm: list[int]) -> str:  # (n, heads, …)
            y = self._linear(x, f"{name}.{part}")
            y = graph.add("Reshape", y, graph.constant(np.array([0, 0, n_heads, width])))
            return graph.add("Transpose", y, perm=perm)

        q, k, v = (
            split("query", [0, 2, 1, 3]),
            split("key", [0, 2, 3, 1]),
            split("value", [0, 2, 1, 3]),
        )
        affinity = graph.number("Div", graph.add("MatMul", q, k), math.sqrt(width))
        heard = graph.add("MatMul", graph.add("Softmax", affinity, axis=3), v)
        heard = graph.add("Transpose", heard, perm=[0, 2, 1, 3])
        return graph.add("Reshape", heard, graph.constant(np.array([0, 0, n_heads * width])))

    def _linear(self, x: str, name: str) -> str:
        weight = self.graph.constant(self._arrays[f"{name}.weight"].T)
        bias = self.graph.constant(self._arrays[f"{name}.bias"])
        return self.graph.add("Add", bias, self.graph.add("MatMul", x, weight))

    def _gelu(self, x: str) -> str:
        """x · (1 + erf(x/√2)) / 2."""
        graph = self.graph
        erf = graph.number("Add", graph.add("Erf", graph.number("Div", x, math.sqrt(2))), 1.0)
        return graph.number("Mul", graph.add("Mul", x, erf), 0.5)

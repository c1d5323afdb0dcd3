"""SoundNet-8 as an ONNX graph."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from earsight.arrays import FloatArray
from earsight.extractors.networks.graph import Arrays, Graph
from earsight.extractors.preprocessing.sliding import Layer, Stack

AMPLITUDE = 256.0  # of full scale in the original's input
EPSILON = 1e-5  # of batch norm


def write(arrays: Mapping[str, Arrays], layers: Mapping[str, Layer], path: Path) -> None:
    """Write the network up to one layer: samples (n,) in [−1, 1] → embedding (n_steps, width).

    Args:
        arrays: The original file's arrays, layer by layer.
        layers: The layers on the way, by their names in `arrays`; a pool is not in there.
            Convolutions with batch norm are followed by ReLU.
        path: The file to write.

    Raises:
        KeyError, IndexError, TypeError, ValueError: An array is missing, or has another shape.
    """
    graph = Graph("samples", ("n",))
    x = graph.number("Mul", graph.input, AMPLITUDE)
    x = graph.add("Unsqueeze", x, graph.constant(np.array([0, 1])))  # (1, 1, n)
    width = 1
    for name, layer in layers.items():
        if name.startswith("pool"):
            x = graph.add("MaxPool", x, kernel_shape=[layer.kernel], strides=[layer.stride])
            continue
        weight, bias = _folded(arrays[name])
        pads = [layer.before, layer.after]
        x = graph.convolution(x, weight, bias, strides=[layer.stride], pads=pads)
        width = len(weight)
        if "gamma" in arrays[name]:
            x = graph.add("Relu", x)
    x = graph.add("Squeeze", x, graph.constant(np.array([0])))  # (width, n_steps)
    embedding = graph.add("Transpose", x, perm=[1, 0])
    example = (Stack(tuple(layers.values())).shortest,)
    graph.save(path, {"embedding": (embedding, (width,))}, example=example)


def _folded(arrays: Arrays) -> tuple[FloatArray, FloatArray]:
    """Return a convolution's weight (out, in, kernel) and bias, with batch norm if it has one."""
    weights = np.asarray(arrays["weights"])[:, 0]  # (kernel, 1, in, out) -> (kernel, in, out)
    scale: FloatArray = np.ones(weights.shape[2], dtype=np.float32)
    bias: FloatArray = np.asarray(arrays["biases"])
    if "gamma" in arrays:
        scale = arrays["gamma"] / np.sqrt(arrays["var"] + EPSILON)
        bias = (bias - arrays["mean"]) * scale + arrays["beta"]
    return (weights * scale).transpose(2, 1, 0), bias

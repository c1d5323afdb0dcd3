"""I3D on RGB as an ONNX graph."""

from pathlib import Path

import numpy as np

from earsight.extractors.networks.graph import Arrays, Graph, fold_named, same_pads

EPSILON = 1e-3  # of batch norm
SIDE, SHORTEST = 224, 16  # pixels, frames

Size = tuple[int, int, int]  # of time, height, width


def write(arrays: Arrays, path: Path) -> None:
    """Write the network: uint8 RGB (n, t, 224, 224, 3) → embedding (n, 1024), scores (n, 400).

    Wherever a stride is 2, every size is even: frames of 224, windows of 16 or 64. The mean of the
    logits over time is the logits of the mean, since the classifier is linear.

    Args:
        arrays: A state dict by the names of kinetics_i3d_pytorch.
        path: The file to write.

    Raises:
        KeyError, ValueError: An array is missing, or has another shape.
    """
    graph = Graph("frames", ("n", "t", SIDE, SIDE, 3), np.uint8)

    def unit(x: str, name: str, stride: int = 1) -> str:
        """A convolution with its batch norm, and ReLU."""
        norm = f"{name}.batch3d"
        kernel, bias = fold_named(arrays, f"{name}.conv3d.weight", norm, epsilon=EPSILON)
        strides = (stride,) * 3
        pads = same_pads(kernel.shape[2:], strides)
        return graph.add("Relu", graph.convolution(x, kernel, bias, strides=strides, pads=pads))

    def pool(x: str, kernel: Size, strides: Size) -> str:
        """The maximum of the neighbours that there are: padding does not count."""
        pads = same_pads(kernel, strides)
        return graph.add("MaxPool", x, kernel_shape=kernel, strides=strides, pads=pads)

    def mixed(x: str, name: str) -> str:
        """Four branches over one input, their channels one after another."""
        second, third = (
            unit(unit(x, f"{name}.{branch}.0"), f"{name}.{branch}.1")
            for branch in ("branch_1", "branch_2")
        )
        last = unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.branch_3.1")
        return graph.add("Concat", unit(x, f"{name}.branch_0"), second, third, last, axis=1)

    x = unit(_centred(graph), "conv3d_1a_7x7", 2)
    x = unit(unit(pool(x, (1, 3, 3), (1, 2, 2)), "conv3d_2b_1x1"), "conv3d_2c_3x3")
    x = pool(x, (1, 3, 3), (1, 2, 2))
    for name in ("3b", "3c", "pool 3", "4b", "4c", "4d", "4e", "4f", "pool 2", "5b", "5c"):
        if name.startswith("pool"):
            x = pool(x, (int(name[-1]),) * 3, (2, 2, 2))
        else:
            x = mixed(x, f"mixed_{name}")
    x = graph.add("AveragePool", x, kernel_shape=(2, 7, 7), strides=(1, 1, 1))
    embedding = graph.mean(x, (2, 3, 4))  # (n, 1024, t/8 − 1, 1, 1) -> (n, 1024)
    weight, bias = (arrays[f"conv3d_0c_1x1.conv3d.{part}"] for part in ("weight", "bias"))
    scores = graph.linear(embedding, weight[:, :, 0, 0, 0], bias)
    outputs = {"embedding": (embedding, (1024,)), "scores": (scores, (400,))}
    graph.save(path, outputs, example=(1, SHORTEST, SIDE, SIDE, 3))


def _centred(graph: Graph) -> str:
    """Return the frames as x/127.5 − 1: (n, t, 224, 224, 3) -> (n, 3, t, 224, 224)."""
    x = graph.add("Cast", graph.add("Transpose", graph.input, perm=[0, 4, 1, 2, 3]), to=1)
    return graph.number("Sub", graph.number("Div", x, 127.5), 1.0)

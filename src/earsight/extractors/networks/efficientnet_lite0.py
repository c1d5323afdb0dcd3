"""EfficientNet-lite0 as an ONNX graph."""

from pathlib import Path

import numpy as np

from earsight.extractors.networks.graph import Arrays, Graph, fold_named, same_pads

# Of each stage: its blocks, and the stride of the first. Kernels and widths come with the weights.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
EPSILON = 1e-3  # of batch norm
SIDE = 224  # pixels


def write(arrays: Arrays, path: Path) -> None:
    """Write the whole network: uint8 RGB (n, 224, 224, 3) → embedding (n, 1280), scores (n, 1000).

    Args:
        arrays: The original state dict.
        path: The file to write.

    Raises:
        KeyError, ValueError: An array is missing, or has another shape.
    """
    graph = Graph("frames", ("n", SIDE, SIDE, 3), np.uint8)

    def unit(x: str, name: str, norm: str, stride: int = 1, *, active: bool = True) -> str:
        """A convolution with its batch norm, and ReLU6 where `active`."""
        kernel, bias = fold_named(arrays, f"{name}.weight", norm, epsilon=EPSILON)
        strides = (stride, stride)
        pads = same_pads(kernel.shape[2:], strides)
        depthwise = kernel.shape[1] == 1
        x = graph.convolution(x, kernel, bias, strides=strides, pads=pads, depthwise=depthwise)
        limits = map(graph.constant, np.array([0, 6], dtype=np.float32))
        return graph.add("Clip", x, *limits) if active else x

    def block(x: str, name: str, stride: int) -> str:
        """Inverted residual: expand (not in the first stage), depthwise, project."""
        if f"{name}._expand_conv.weight" in arrays:
            x = unit(x, f"{name}._expand_conv", f"{name}._bn0")
        x = unit(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        return unit(x, f"{name}._project_conv", f"{name}._bn2", active=False)

    x = unit(graph.pixels(127.0, 128.0), "_conv_stem", "_bn0", 2)  # (n, 32, 112, 112)
    steps = [(stride, i) for n, stride in STAGES for i in range(n)]
    for b, (stride, i) in enumerate(steps):
        y = block(x, f"_blocks.{b}", stride if i == 0 else 1)
        x = y if i == 0 else graph.add("Add", x, y)  # a stage's later blocks add their input
    embedding = graph.mean(unit(x, "_conv_head", "_bn1"), (2, 3))  # (n, 1280, 7, 7) -> (n, 1280)
    scores = graph.linear(embedding, arrays["_fc.weight"], arrays["_fc.bias"])
    outputs = {"embedding": (embedding, (1280,)), "scores": (scores, (1000,))}
    graph.save(path, outputs, example=(1, SIDE, SIDE, 3))

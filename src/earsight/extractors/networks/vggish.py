"""VGGish as an ONNX graph."""

from pathlib import Path

import numpy as np

from earsight.extractors.networks.graph import Arrays, Graph

LAYERS = (1, "pool", 1, "pool", 2, "pool", 2, "pool")  # how many convolutions between the pools
MEL_FRAMES, MEL_BANDS = 96, 64


def write(arrays: Arrays, path: Path) -> None:
    """Write the network: log-mel examples (n, 1, 96, 64) → embedding (n, 128), not activated.

    The keys are those of the published state dicts: features.N and embeddings.{0, 2, 4}. The
    widths come with the weights: 64, 128, 256, 256, 512, 512, then 4096, 4096, 128.

    Args:
        arrays: The original state dict.
        path: The file to write.

    Raises:
        KeyError, ValueError: An array is missing, has another shape, or there are more.
    """
    graph, used = Graph("examples", ("n", 1, MEL_FRAMES, MEL_BANDS)), set()

    def layer(name: str) -> list[np.ndarray]:
        used.update({f"{name}.weight", f"{name}.bias"})
        return [arrays[f"{name}.weight"], arrays[f"{name}.bias"]]

    x, place = graph.input, 0
    for kind in LAYERS:
        if kind == "pool":
            x = graph.add("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))
            place += 1
            continue
        for _ in range(int(kind)):
            x = graph.convolution(x, *layer(f"features.{place}"), strides=(1, 1), pads=[1] * 4)
            x = graph.add("Relu", x)
            place += 2
    # (n, 512, 6, 4) -> (n, 6·4·512): the channels last, as TensorFlow has it
    x = graph.add("Transpose", x, perm=[0, 2, 3, 1])
    x = graph.add("Reshape", x, graph.constant(np.array([0, -1])))
    for i in (0, 2):
        x = graph.add("Relu", graph.linear(x, *layer(f"embeddings.{i}")))
    # The ports put a ReLU here too; the official embedding has none.
    x = graph.linear(x, *layer("embeddings.4"))
    if more := sorted(set(arrays) - used):
        raise ValueError(f"it has more layers, such as {more[0]}")
    width = len(arrays["embeddings.4.bias"])
    graph.save(path, {"embedding": (x, (width,))}, example=(1, 1, MEL_FRAMES, MEL_BANDS))

"""Inception of 2015-12-05 as an ONNX graph."""

from pathlib import Path

from earsight.extractors.networks.graph import Arrays, Graph, fold

SIDE = 299  # pixels
EPSILON = 1e-3  # of batch norm, which has no γ here


def write(arrays: Arrays, path: Path) -> None:
    """Write the network, 94 convolutions: RGB (n, 299, 299, 3) in [0, 255] → embedding (n, 2048).

    Two quirks of this very graph: no average counts padding, and the last block takes the maximum
    where its twin takes the average.

    Args:
        arrays: Tensors by the TorchScript archive's names, without its first two levels.
        path: The file to write.

    Raises:
        KeyError, ValueError: An array is missing, or has another shape.
    """
    net = _Blocks(arrays)
    x = net.unit(net.graph.pixels(128.0, 128.0), "conv", 2, same=False)
    x = net.unit(net.unit(x, "conv_1", same=False), "conv_2")
    x = net.unit(net.halved(x), "conv_3")
    x = net.halved(net.unit(x, "conv_4", same=False))
    for name in ("mixed", "mixed_1", "mixed_2"):
        x = net.mixed(x, name)
    first = net.unit(x, "mixed_3.conv", 2, same=False)
    x = net.joined(first, net.tower(x, "mixed_3.tower", halving=True), net.halved(x))
    for name in ("mixed_4", "mixed_5", "mixed_6", "mixed_7"):
        x = net.mixed(x, name)
    towers = [net.tower(x, f"mixed_8.{name}", halving=True) for name in ("tower", "tower_1")]
    x = net.joined(*towers, net.halved(x))
    x = net.forked(x, "mixed_9", net.averaged(x))
    x = net.forked(x, "mixed_10", net.pooled("MaxPool", x))
    embedding = net.graph.mean(x, (2, 3))  # (n, 2048, 8, 8) -> (n, 2048)
    net.graph.save(path, {"embedding": (embedding, (2048,))}, example=(1, SIDE, SIDE, 3))


class _Blocks:
    """The blocks that the network consists of, each from (n, c, h, w) to (n, c′, h′, w′)."""

    def __init__(self, arrays: Arrays) -> None:
        self.graph = Graph("frames", ("n", SIDE, SIDE, 3))
        self._arrays = arrays

    def unit(self, x: str, name: str, stride: int = 1, *, same: bool = True) -> str:
        """A convolution with its batch norm, and ReLU; padded where the size stays the `same`."""
        weight, beta, mean, variance = (
            self._arrays[f"{name}.{part}"] for part in ("weight", "beta", "mean", "var")
        )
        kernel, bias = fold(weight, mean=mean, variance=variance, beta=beta, epsilon=EPSILON)
        pads = [side // 2 if same else 0 for side in weight.shape[2:]] * 2
        strides = (stride, stride)
        return self.graph.add(
            "Relu", self.graph.convolution(x, kernel, bias, strides=strides, pads=pads)
        )

    def joined(self, *branches: str) -> str:
        """Branches' channels, one after another."""
        return self.graph.add("Concat", *branches, axis=1)

    def tower(self, x: str, name: str, *, halving: bool = False) -> str:
        """The units conv, conv_1, … of a branch, as many as there are; the last may halve."""
        names = [f"{name}.conv", *(f"{name}.conv_{i}" for i in range(1, 6))]
        *others, last = [unit for unit in names if f"{unit}.weight" in self._arrays]
        for unit in others:
            x = self.unit(x, unit)
        return self.unit(x, last, 2, same=False) if halving else self.unit(x, last)

    def pooled(self, operator: str, x: str) -> str:
        """The maximum or the average of the up to 9 neighbours that there are."""
        return self.graph.add(operator, x, kernel_shape=(3, 3), strides=(1, 1), pads=[1, 1, 1, 1])

    def averaged(self, x: str) -> str:
        """The average; ONNX's does not count padding unless it is told to."""
        return self.pooled("AveragePool", x)

    def halved(self, x: str) -> str:
        """The maximum of 3 × 3, at every second place."""
        return self.graph.add("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2))

    def mixed(self, x: str, name: str) -> str:
        """A block that keeps the size, with towers."""
        towers = [self.tower(x, f"{name}.{tower}") for tower in ("tower", "tower_1")]
        last = self.tower(self.averaged(x), f"{name}.tower_2")
        return self.joined(self.unit(x, f"{name}.conv"), *towers, last)

    def forked(self, x: str, name: str, pooled: str) -> str:
        """One of the last two blocks, whose towers end in 1×3 and 3×1 beside each other."""

        def fork(y: str, stem: str) -> str:
            ends = (f"{stem}_mixed_conv", f"{stem}_mixed_conv_1")
            return self.joined(*(self.unit(y, end) for end in ends))

        first, second = f"{name}.tower", f"{name}.tower_1"
        return self.joined(
            self.unit(x, f"{name}.conv"),
            fork(self.unit(x, f"{first}_conv"), first),
            fork(self.unit(self.unit(x, f"{second}_conv"), f"{second}_conv_1"), second),
            self.unit(pooled, f"{name}.tower_2_conv"),
        )

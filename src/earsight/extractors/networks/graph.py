"""Write a network as an ONNX graph, node by node, and try it before it is kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.extractors.runtime.onnx import session

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
OPSET, IR_VERSION = 17, 8  # of ONNX: old enough for every ONNX Runtime that is supported


class Graph:
    """A network of one input. Each method adds nodes and returns the name of their output.

    Args:
        name: The input's name.
        shape: Its axes; a string is an axis of any length.
        dtype: Its dtype.

    >>> import tempfile
    >>> graph = Graph("x", ("n", 2))
    >>> total = graph.add("ReduceSum", graph.input, graph.constant(np.array([1])), keepdims=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "model.onnx"
    ...     graph.save(file, {"total": (total, ())}, example=(3, 2))
    ...     session(file).run(["total"], {"x": np.ones((1, 2), np.float32)})
    [array([2.], dtype=float32)]
    """

    def __init__(
        self, name: str, shape: Sequence[int | str], dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.input = name
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: Array) -> str:
        """Add an array."""
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output."""
        from onnx import helper

        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def number(self, operator: str, x: str, value: float) -> str:
        """Add a node of two inputs, the second a single float32: Sub, Div …"""
        return self.add(operator, x, self.constant(np.array(value, dtype=np.float32)))

    def pixels(self, shift: float, divisor: float) -> str:
        """Turn the input, frames (n, …, 3), into (n, 3, …) float32: (x − shift)/divisor."""
        n = len(self._shape)
        x = self.add("Transpose", self.input, perm=[0, n - 1, *range(1, n - 1)])
        if self._dtype != np.float32:
            x = self.add("Cast", x, to=1)  # float32
        return self.number("Div", self.number("Sub", x, shift), divisor)

    def convolution(
        self,
        x: str,
        weight: FloatArray,
        bias: FloatArray,
        *,
        strides: Sequence[int],
        pads: Sequence[int],
        depthwise: bool = False,
    ) -> str:
        """Convolve (n, c, …) with (c′, c, …) to (n, c′, …).

        Args:
            x: What is convolved.
            weight, bias: (c′, c, …) and (c′,).
            strides: One for each axis.
            pads: Zeros before each axis, then zeros behind each.
            depthwise: Each channel by itself; the weight is (c, 1, …).
        """
        return self.add(
            "Conv",
            x,
            self.constant(weight),
            self.constant(bias),
            kernel_shape=weight.shape[2:],
            strides=strides,
            pads=pads,
            group=len(weight) if depthwise else 1,
        )

    def linear(self, x: str, weight: FloatArray, bias: FloatArray) -> str:
        """Map (n, d) to (n, d′) with a weight (d′, d)."""
        return self.add("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def mean(self, x: str, axes: Sequence[int]) -> str:
        """Take the mean over axes, which go."""
        return self.add("ReduceMean", x, axes=axes, keepdims=0)

    def save(
        self, path: Path, outputs: Mapping[str, tuple[str, Sequence[int]]], example: Sequence[int]
    ) -> None:
        """Run the network once on zeros, then write it.

        Args:
            path: The file to write.
            outputs: From each output's name to the node that gives it, and its axes but the first.
            example: The shape of the zeros.

        Raises:
            ValueError: The arrays do not fit each other: a layer has another width than the ones
                around it need.
        """
        import onnx
        from onnx import helper

        ends = [helper.make_node("Identity", [node], [name]) for name, (node, _) in outputs.items()]
        element = helper.np_dtype_to_tensor_dtype
        graph = helper.make_graph(
            [*self._nodes, *ends],
            "network",
            [helper.make_tensor_value_info(self.input, element(self._dtype), self._shape)],
            [
                helper.make_tensor_value_info(name, element(np.dtype("f4")), ("items", *shape))
                for name, (_, shape) in outputs.items()
            ],
            self._constants,
        )
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        blob = made.SerializeToString()
        try:
            onnx.checker.check_model(blob)
            found = session(blob).run(list(outputs), {self.input: np.zeros(example, self._dtype)})
        except Exception as error:  # ONNX Runtime's exceptions share no narrower public base
            raise ValueError(str(error).strip().splitlines()[0]) from error
        for (name, (_, shape)), values in zip(outputs.items(), found, strict=True):
            if values.shape[1:] != tuple(shape):
                raise ValueError(f"its {name} has the shape {values.shape}, not (n, *{shape})")
        path.write_bytes(blob)


def fold(
    weight: FloatArray,
    *,
    mean: FloatArray,
    variance: FloatArray,
    beta: FloatArray,
    gamma: FloatArray | float = 1.0,
    epsilon: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the weight and bias of a convolution with its batch norm in it, float32.

    With s = γ/√(variance + ε):  (W ∗ x − mean) · s + β  =  (s · W) ∗ x + (β − mean · s)

    It is computed in float64, so that every machine gets the same bits.

    Args:
        weight: (c′, c, …).
        mean, variance, beta, gamma: (c′,).
        epsilon: What keeps the root from 0.
    """
    scale = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    kernel = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return kernel.astype(np.float32), (beta - mean * scale).astype(np.float32)


def fold_named(
    arrays: Mapping[str, FloatArray], weight: str, norm: str, *, epsilon: float
) -> tuple[FloatArray, FloatArray]:
    """Return `fold` of a weight and of a batch norm whose arrays have torch's names."""
    return fold(
        arrays[weight],
        mean=arrays[f"{norm}.running_mean"],
        variance=arrays[f"{norm}.running_var"],
        beta=arrays[f"{norm}.bias"],
        gamma=arrays[f"{norm}.weight"],
        epsilon=epsilon,
    )


def same_pads(kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return TensorFlow's "SAME" padding: kernel − stride in all, the odd one behind.

    It holds where each size can be divided by its stride.

    >>> same_pads((3, 5), (2, 1))
    [0, 2, 1, 2]
    """
    before = [(k - s) // 2 for k, s in zip(kernel, strides, strict=True)]
    after = [(k - s + 1) // 2 for k, s in zip(kernel, strides, strict=True)]
    return [*before, *after]

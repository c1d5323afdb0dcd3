"""What the deep methods share that needs no torch: their fields, and networks as arrays."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from earsight import extras
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.features import StepTable
from earsight.methods._base import JointEmbedding
from earsight.methods._checks import BLOCK_ROWS, check_array, check_choice, check_number, check_same
from earsight.methods._deep.types import WIDTH, Activation, Arrays, Epoch, Pooling
from earsight.methods._sequences import check_lengths

# Steps of a clip, at most. A transformer compares each with each; a GRU goes through them in turn.
MOST_STEPS = {"attention": 100_000, "gru": 10_000, "transformer": 1_500}


@dataclass(kw_only=True)
class DeepEmbedding(JointEmbedding):
    """Base of the methods that train a network for each modality, by `trainer.train`.

    Attributes:
        n_components: Width k of the joint space; each method says what None means.
        learning_rate: Of Adam, > 0.
        weight_decay: Of Adam, decoupled from the gradient, ≥ 0.
        batch_size: Rows of each modality in a step.
        epochs: How often every row is seen, at most.
        patience: Epochs without a better score of held-out rows after which training stops; None:
            never. One row in eight is held out, whole groups; none below 400 groups or rows.
        pooling: What becomes of sequences (views given as a `StepTable`). "mean": their means, as
            for every method. Otherwise a small network reads the steps with their times, and what
            it finds stands beside the mean: "attention", which weighs steps by content and time;
            "gru", which goes through them both ways; "transformer", in which steps see each other.
        device: Where training runs; "auto" is CUDA where there is one. `transform` needs none.
        checkpoint: A folder in which training leaves its state after each epoch, under a name
            made of the data and the hyper-parameters. The same fit, started again after a kill,
            goes on from there and ends in the same model.
        hidden: Widths of the hidden layers of each network; () makes it linear.
        activation: After each hidden layer.
        dropout: After each hidden layer, from 0 to .95.
        on_epoch: Called with an `Epoch` after each one; set it on the model. Not saved.
        encoders_: modality → the network that reads its sequences; not with pooling="mean".
        networks_: modality → its network (`network.Network.arrays`).
        history_: (epochs + 1, 3) loss, held-out MAP and score, from epoch 0 on.
        best_epoch_: The epoch whose networks were kept.
        stopped_: Why training ended, in words.
    """

    trains_in_epochs: ClassVar[bool] = True
    extra: ClassVar[str] = "deep"
    not_saved: ClassVar[tuple[str, ...]] = ("checkpoint", "device")

    n_components: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 200
    epochs: int = 60
    patience: int | None = 10
    hidden: tuple[int, ...] = (100,)
    activation: Activation = "relu"
    dropout: float = 0.1
    pooling: Pooling = "mean"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint: str | None = None
    on_epoch: Callable[[Epoch], None] | None = field(
        init=False, default=None, repr=False, compare=False
    )
    encoders_: dict[str, Arrays] = field(init=False, repr=False, compare=False)
    networks_: dict[str, Arrays] = field(init=False, repr=False, compare=False)
    history_: FloatArray = field(init=False, repr=False, compare=False)
    best_epoch_: int = field(init=False, repr=False, compare=False)
    stopped_: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_components is not None:
            check_number("n_components", self.n_components, whole=True, at_least=1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, at_least=0)
        check_number("batch_size", self.batch_size, whole=True, at_least=1)
        check_number("epochs", self.epochs, whole=True, at_least=0)
        if self.patience is not None:
            check_number("patience", self.patience, whole=True, at_least=1)
        for width in self.hidden:
            check_number("hidden", width, whole=True, at_least=1)
        check_choice("activation", self.activation, ("relu", "tanh", "sigmoid"))
        check_number("dropout", self.dropout, at_least=0, at_most=0.95)
        check_choice("pooling", self.pooling, ("mean", *MOST_STEPS))
        check_choice("device", self.device, ("auto", "cpu", "cuda"))

    def prepare(self) -> None:
        """Load torch, and what torch loads at its first step."""
        from earsight.methods._deep.network import warm_up

        warm_up()

    def _reads(self, steps: dict[str, StepTable]) -> dict[str, StepTable]:
        extras.require("deep", f"Training {self.name}")
        if self.pooling == "mean":
            return {}
        if not steps:
            raise InputError(
                f"pooling={self.pooling!r} needs sequences, views given as a StepTable; got rows "
                'alone. A file that `earsight extract` wrote has them; or use pooling="mean".'
            )
        for name, table in steps.items():
            check_lengths(table, f"views[{name!r}]", self.pooling, MOST_STEPS[self.pooling])
        return steps

    def _with_steps(self, modality: str, x: FloatArray, steps: StepTable | None) -> FloatArray:
        if self.pooling == "mean" or modality not in self.encoders_:
            return x
        if steps is None:
            raise InputError(
                f"`x` must be sequences, a StepTable, as {modality!r} was in `fit`: "
                f"pooling={self.pooling!r} reads the steps. Got rows."
            )
        extras.require("deep", f"{self.name} with pooling={self.pooling}")
        from earsight.methods._deep.encoders import encode, restored

        check_lengths(steps, "x", self.pooling, MOST_STEPS[self.pooling])
        return np.hstack([x, encode(restored(self.encoders_[modality]), steps)])

    def _network_size(self, modality: str) -> tuple[int, int]:
        """Return the columns that a network takes, without those of sequences, and its outputs."""
        return self.dims_[modality], self.n_components_

    def _check_learned(self) -> None:
        super()._check_learned()
        for modality, d in self.dims_.items():
            width, outputs = self._network_size(modality)
            if self.pooling != "mean" and modality in self.encoders_:
                encoder = self.encoders_[modality]
                check_same("kind", encoder["kind"], self.pooling)
                check_array("shift", encoder["state"]["shift"], d)
                check_array("scale", encoder["state"]["scale"], d)
                check_array("content.weight", encoder["state"]["content.weight"], WIDTH, d)
                width += WIDTH
            check_network(self.networks_[modality], width, outputs)

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return run_network(self.networks_[modality], x)


def check_network(network: Mapping[str, Any], width: int, outputs: int) -> None:
    """Check the arrays of a network from a file, for rows (n, `width`)."""
    check_array("shift", network["shift"], width)
    check_array("scale", network["scale"], width)
    check_choice("activation", network["activation"], list(_ACTIVATIONS))
    check_choice("output", network["output"], list(_ACTIVATIONS))
    sizes = [width, *(len(bias) for bias in network["biases"])]
    check_same("outputs", sizes[-1], outputs)
    for weight, bias, ins, outs in zip(
        network["weights"], network["biases"], sizes[:-1], sizes[1:], strict=True
    ):
        check_array("weights", weight, outs, ins)
        check_array("biases", bias, outs)
    if "skip" in network:
        check_array("skip", network["skip"], outputs, width)


def standardisation(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean of each column and what it is multiplied by, (d,) float64 each.

    Columns that vary come to unit variance; one that does not is multiplied by 0. These figures
    of all training rows stand where others put a batch norm on the input: nothing then depends on
    which rows share a batch.

    Raises:
        InputError: Rows too large to be squared.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(axis=0, dtype=np.float64)
        squares = sum(np.square(block - mean).sum(axis=0) for block in _blocks(x))
        deviation = np.sqrt(squares / len(x))
    if not np.isfinite(deviation).all():
        raise InputError("The rows must be small enough to be squared. Scale the features down.")
    varies = deviation > 4 * float(np.finfo(x.dtype).eps) * np.abs(mean)
    return mean, np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)


def standardised(x: FloatArray, shift: FloatArray, scale: FloatArray) -> FloatArray:
    """Return (x − shift)·scale, (n, d) float32, computed in float64."""
    out: FloatArray = np.empty(x.shape, np.float32)
    for block, rows in zip(_blocks(x), _blocks(out), strict=True):
        rows[:] = (block - shift) * scale
    return out


def _blocks(x: FloatArray) -> Iterator[FloatArray]:
    """Cut rows so that float64 copies of them stay small."""
    for start in range(0, len(x), BLOCK_ROWS):
        yield x[start : start + BLOCK_ROWS]


def run_network(network: Mapping[str, Any], x: FloatArray) -> FloatArray:
    """Map rows (n, d) through a network that `Network.arrays` returned, in float64.

    In this precision the place of a row among others, which decides how a matrix product rounds,
    is not seen in the float32 that `transform` returns; and no torch is needed.
    """
    h = rows = (x - network["shift"]) * network["scale"]  # (n, d)
    *hidden, last = zip(network["weights"], network["biases"], strict=True)
    for weight, bias in hidden:
        h = _ACTIVATIONS[network["activation"]](h @ weight.T.astype(np.float64) + bias)
    h = h @ last[0].T.astype(np.float64) + last[1]  # (n, k)
    if "skip" in network:
        h = h + rows @ network["skip"].T.astype(np.float64)
    return _ACTIVATIONS[network["output"]](h)


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


_ACTIVATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": lambda x: np.asarray(np.tanh(x)),
    "sigmoid": _sigmoid,
    "tanh-sigmoid": lambda x: _sigmoid(np.tanh(x)),
}

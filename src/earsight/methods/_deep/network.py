"""Networks: the modules that are trained, and how they become arrays (see `base.run_network`)."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from earsight.arrays import FloatArray
from earsight.methods._deep.types import Arrays

_ROWS = 4096  # that a network maps at a time


class Dropout(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Dropout from a generator of its own, which the loop sets for each epoch.

    Attributes:
        share: (start, stop, of) where x is rows `start` up to `stop` of a batch of so many.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None
        self.share: tuple[int, int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Zero each entry with probability `rate` while training."""
        if not self.training or self.rate == 0:
            return x
        start, stop, of = self.share or (0, len(x), len(x))
        whole = x.new_empty(of, *x.shape[1:]).bernoulli_(1 - self.rate, generator=self.generator)
        kept = whole[start:stop]
        return x * kept.div_(1 - self.rate)


class Network(nn.Module):  # type: ignore[misc]
    """Standardised rows (b, d) → (b, k): linear layers with an activation between.

    Args:
        widths: (d, hidden …, k).
        activation: After each hidden layer; `output`: after the last ("none" for none, or
            "tanh-sigmoid").
        dropout: After each hidden layer.
        skip: Add a linear map from the input to the output, of all zeros at first.
        rng: Draws the weights.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str = "tanh",
        output: str = "none",
        dropout: float = 0.0,
        skip: bool = False,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.activation, self.output = activation, output
        self.layers = nn.ModuleList(linear(d, k, rng) for d, k in pairwise(widths))
        self.dropout = Dropout(dropout)
        self.skip = nn.Parameter(torch.zeros(widths[-1], widths[0])) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (b, k)."""
        h = x
        for layer in self.layers[:-1]:
            h = self.dropout(_ACTIVATIONS[self.activation](layer(h)))  # (b, hidden)
        h = self.layers[-1](h)  # (b, k)
        if self.skip is not None:
            h = h + nn.functional.linear(x, self.skip)
        return _ACTIVATIONS[self.output](h)

    def start_as(self, weights: FloatArray, *, fixed: bool = False) -> None:
        """Make it the linear map `weights` (d, k), plus hidden layers that give 0 at first.

        Columns beyond those d, found in sequences, have no weight in that map. Where it is `fixed`,
        the map stays as it is, and only the layers learn.
        """
        last = self.layers[-1].weight
        with torch.no_grad():
            last.zero_()
            linear = last if self.skip is None else self.skip
            linear.zero_()
            linear[:, : len(weights)] = torch.from_numpy(weights.T)
        linear.requires_grad_(not fixed)

    def arrays(self, shift: FloatArray, scale: FloatArray) -> Arrays:
        """Return the network for `base.run_network`, with the standardisation before it.

        Columns beyond those that are standardised, found in sequences, enter as they are.
        """
        beyond = (0, self.layers[0].in_features - len(shift))
        shift, scale = np.pad(shift, beyond), np.pad(scale, beyond, constant_values=1.0)
        found: Arrays = {
            "shift": shift,
            "scale": scale,
            "activation": self.activation,
            "output": self.output,
            "weights": [_array(layer.weight) for layer in self.layers],
            "biases": [_array(layer.bias) for layer in self.layers],
        }
        if self.skip is not None:
            found["skip"] = _array(self.skip)
        return found


def usual_sizes(module: nn.Module) -> dict[str, float]:
    """Return the size that each trained matrix of weights (k, d) has or should have at first.

    The root of its mean square, and at least 1/√d: there rows of unit variance keep it.
    """
    return {
        name: max(_size(weights), weights.shape[1] ** -0.5)
        for name, weights in module.named_parameters()
        if weights.requires_grad and weights.ndim > 1
    }


def growth(module: nn.Module, usual: Mapping[str, float]) -> float:
    """Return by how much the weights exceed their usual size, in the matrix that does most."""
    parameters = dict(module.named_parameters())
    return max((_size(parameters[name]) / size for name, size in usual.items()), default=0.0)


def _size(weights: Tensor) -> float:
    return float(weights.detach().square().mean().sqrt())


def outputs(network: nn.Module, x: FloatArray) -> FloatArray:
    """Map rows as numpy through a network in blocks, without gradients; for use while training."""
    device = next(network.parameters()).device
    with torch.no_grad():
        parts = [
            network(
                torch.from_numpy(np.ascontiguousarray(x[start : start + _ROWS], np.float32)).to(
                    device
                )
            )
            for start in range(0, len(x), _ROWS)
        ]
    return _array(torch.cat(parts))


@cache
def warm_up() -> None:
    """Load what torch loads at its first step, so that no fit is timed with it: done once."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()


def linear(d: int, k: int, rng: np.random.Generator) -> nn.Linear:
    """Return a layer with weights of variance 1/d and a bias of 0."""
    layer = nn.utils.skip_init(nn.Linear, d, k)
    with torch.no_grad():
        drawn = rng.standard_normal((k, d), dtype=np.float32) / np.float32(np.sqrt(d))
        layer.weight.copy_(torch.from_numpy(drawn))
        layer.bias.zero_()
    return layer


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().cpu().numpy()
    return array


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "tanh-sigmoid": lambda x: torch.sigmoid(torch.tanh(x)),
}

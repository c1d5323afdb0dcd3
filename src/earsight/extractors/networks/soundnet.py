"""SoundNet-8 as a torch module; needed once, to convert the original weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earsight.extractors.preprocessing.sliding import Layer

AMPLITUDE = 256.0  # of full scale in the original's input
EPSILON = 1e-5  # of batch norm

State = Mapping[str, Mapping[str, Any]]  # layer → its arrays


def _convolution(arrays: Mapping[str, Any], stride: int) -> nn.Conv1d:
    """A convolution, its batch norm folded in where it has one."""
    weights = np.asarray(arrays["weights"])[:, 0]  # (kernel, 1, in, out) -> (kernel, in, out)
    kernel, n_in, n_out = weights.shape
    scale, bias = np.ones(n_out, dtype=np.float32), np.asarray(arrays["biases"])
    if "gamma" in arrays:
        scale = arrays["gamma"] / np.sqrt(arrays["var"] + EPSILON)
        bias = (bias - arrays["mean"]) * scale + arrays["beta"]
    folded = nn.Conv1d(n_in, n_out, kernel, stride)
    folded.load_state_dict(
        {
            "weight": torch.from_numpy((weights * scale).transpose(2, 1, 0).copy()),
            "bias": torch.from_numpy(bias),
        }
    )
    return folded


class SoundNet8(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """The network from a waveform up to one layer.

    Args:
        state: The original file's arrays, layer by layer.
        layers: The layers on the way, by their names in `state`; a pool is not in there.
            Convolutions with batch norm are followed by ReLU.
    """

    def __init__(self, state: State, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            if name.startswith("pool"):
                self.layers.append(nn.MaxPool1d(layer.kernel, layer.stride))
                continue
            self.layers.append(nn.ConstantPad1d((layer.before, layer.after), 0.0))
            self.layers.append(_convolution(state[name], layer.stride))
            if "gamma" in state[name]:
                self.layers.append(nn.ReLU())

    def forward(self, samples: Tensor) -> Tensor:
        """(n,) in [−1, 1] → (n_steps, width)."""
        y: Tensor = self.layers((samples * AMPLITUDE)[None, None])  # (1, width, n_steps)
        return y[0].T

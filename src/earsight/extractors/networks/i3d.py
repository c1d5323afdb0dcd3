"""I3D on RGB as a torch module; needed once, to convert the original weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

EPSILON = 1e-3  # of batch norm

State = Mapping[str, Tensor]
Size = tuple[int, int, int]  # of time, height, width


def paddings(kernel: Size, stride: Size) -> list[int]:
    """Return TensorFlow's "SAME" padding in torch's order, last axis first.

    Before and after, kernel − stride in all, the odd one after. (Wherever a stride is 2, every
    size is even here: frames of 224, windows of 16 or 64.)
    """
    pairs = [((k - s) // 2, (k - s + 1) // 2) for k, s in zip(kernel, stride, strict=True)]
    return [side for pair in reversed(pairs) for side in pair]


class Unit(nn.Sequential):  # type: ignore[misc]  # mypy sees torch as Any
    """Padding, a convolution with its batch norm folded in, and ReLU."""

    def __init__(self, state: State, name: str, stride: Size = (1, 1, 1)) -> None:
        weight = state[f"{name}.conv3d.weight"]
        norm = f"{name}.batch3d"
        n_out, n_in, *kernel = weight.shape
        scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + EPSILON)
        folded = nn.Conv3d(n_in, n_out, tuple(kernel), stride)
        folded.weight.data = weight * scale[:, None, None, None, None]
        folded.bias = nn.Parameter(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
        super().__init__(nn.ConstantPad3d(paddings(tuple(kernel), stride), 0.0), folded, nn.ReLU())


class MaxPool(nn.Sequential):  # type: ignore[misc]  # mypy sees torch as Any
    """The maximum of those neighbours that there are: padding is −∞."""

    def __init__(self, kernel: Size, stride: Size) -> None:
        pad = nn.ConstantPad3d(paddings(kernel, stride), float("-inf"))
        super().__init__(pad, nn.MaxPool3d(kernel, stride))


class Mixed(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Four branches over one input, their channels one after another."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        pool = MaxPool((3, 3, 3), (1, 1, 1))
        self.branches = nn.ModuleList(
            [
                Unit(state, f"{name}.branch_0"),
                *(
                    nn.Sequential(Unit(state, f"{name}.{b}.0"), Unit(state, f"{name}.{b}.1"))
                    for b in ("branch_1", "branch_2")
                ),
                nn.Sequential(pool, Unit(state, f"{name}.branch_3.1")),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) → (n, sum of the branches' channels, t, h, w)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class I3DNetwork(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """The whole network, from pixels to both heads.

    Args:
        state: A state dict by the names of kinetics_i3d_pytorch.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Unit(state, "conv3d_1a_7x7", (2, 2, 2)),
            MaxPool((1, 3, 3), (1, 2, 2)),
            Unit(state, "conv3d_2b_1x1"),
            Unit(state, "conv3d_2c_3x3"),
            MaxPool((1, 3, 3), (1, 2, 2)),
            *(Mixed(state, f"mixed_3{letter}") for letter in "bc"),
            MaxPool((3, 3, 3), (2, 2, 2)),
            *(Mixed(state, f"mixed_4{letter}") for letter in "bcdef"),
            MaxPool((2, 2, 2), (2, 2, 2)),
            *(Mixed(state, f"mixed_5{letter}") for letter in "bc"),
            nn.AvgPool3d((2, 7, 7), 1),
        )
        weight, bias = (state[f"conv3d_0c_1x1.conv3d.{part}"] for part in ("weight", "bias"))
        self.classes = nn.Linear(weight.shape[1], weight.shape[0])
        self.classes.load_state_dict({"weight": weight[:, :, 0, 0, 0], "bias": bias})

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 RGB (n, t, 224, 224, 3) → embedding (n, 1024), class logits (n, 400).

        The mean of the logits over time is the logits of the mean: the classifier is linear.
        """
        x = frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0  # (n, 3, t, 224, 224)
        embedding = self.features(x).mean(dim=(2, 3, 4))  # (n, 1024, t/8 − 1, 1, 1) -> (n, 1024)
        return embedding, self.classes(embedding)  # (n, 400)

"""Inception of 2015-12-05 as a torch module; needed once, to convert the original weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

SIDE = 299  # pixels
EPSILON = 1e-3  # of batch norm

State = Mapping[str, Tensor]


class Unit(nn.Sequential):  # type: ignore[misc]  # mypy sees torch as Any
    """A convolution with its batch norm folded in, and ReLU.

    Its batch norm has no γ. Padding keeps the size where `same`; where not there is none.
    """

    def __init__(self, state: State, name: str, stride: int = 1, *, same: bool = True) -> None:
        weight = state[f"{name}.weight"]
        n_out, n_in, height, width = weight.shape
        scale = torch.rsqrt(state[f"{name}.var"] + EPSILON)
        padding = (height // 2, width // 2) if same else (0, 0)
        folded = nn.Conv2d(n_in, n_out, (height, width), stride, padding)
        folded.weight.data = weight * scale[:, None, None, None]
        folded.bias = nn.Parameter(state[f"{name}.beta"] - state[f"{name}.mean"] * scale)
        super().__init__(folded, nn.ReLU())


class Beside(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Branches over one input, their channels one after another."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → (n, sum of the branches' channels, h′, w′)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def tower(state: State, name: str, *, halving: bool = False) -> nn.Sequential:
    """Return the units conv, conv_1, … of a branch, as many as there are; the last may halve."""
    names = [f"{name}.conv", *(f"{name}.conv_{i}" for i in range(1, 6))]
    names = [unit for unit in names if f"{unit}.weight" in state]
    units = [Unit(state, unit) for unit in names[:-1]]
    last = Unit(state, names[-1], 2, same=False) if halving else Unit(state, names[-1])
    return nn.Sequential(*units, last)


def mean_pool() -> nn.Module:
    """Return the average of the up to 9 neighbours that there are: padding is not counted."""
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def mixed(state: State, name: str) -> nn.Module:
    """Return a block that keeps the size, with towers."""
    return Beside(
        Unit(state, f"{name}.conv"),
        tower(state, f"{name}.tower"),
        tower(state, f"{name}.tower_1"),
        nn.Sequential(mean_pool(), *tower(state, f"{name}.tower_2")),
    )


def forked(state: State, name: str, pool: nn.Module) -> nn.Module:
    """Return a block of the last two, whose towers end in 1×3 and 3×1 beside each other."""

    def fork(stem: str) -> nn.Module:
        return Beside(Unit(state, f"{stem}_mixed_conv"), Unit(state, f"{stem}_mixed_conv_1"))

    first, second = f"{name}.tower", f"{name}.tower_1"
    return Beside(
        Unit(state, f"{name}.conv"),
        nn.Sequential(Unit(state, f"{first}_conv"), fork(first)),
        nn.Sequential(Unit(state, f"{second}_conv"), Unit(state, f"{second}_conv_1"), fork(second)),
        nn.Sequential(pool, Unit(state, f"{name}.tower_2_conv")),
    )


class Inception(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """The network from 299 × 299 pixels to the 2048 of the last pool: 94 convolutions.

    Two quirks of this very graph: no average counts padding, and the last block takes the maximum
    where its twin takes the average.

    Args:
        state: Tensors by the TorchScript archive's names, without its first two levels.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Unit(state, "conv", 2, same=False),
            Unit(state, "conv_1", same=False),
            Unit(state, "conv_2"),
            nn.MaxPool2d(3, 2),
            Unit(state, "conv_3"),
            Unit(state, "conv_4", same=False),
            nn.MaxPool2d(3, 2),
            *(mixed(state, name) for name in ("mixed", "mixed_1", "mixed_2")),
            Beside(
                Unit(state, "mixed_3.conv", 2, same=False),
                tower(state, "mixed_3.tower", halving=True),
                nn.MaxPool2d(3, 2),
            ),
            *(mixed(state, f"mixed_{i}") for i in (4, 5, 6, 7)),
            Beside(
                tower(state, "mixed_8.tower", halving=True),
                tower(state, "mixed_8.tower_1", halving=True),
                nn.MaxPool2d(3, 2),
            ),
            forked(state, "mixed_9", mean_pool()),
            forked(state, "mixed_10", nn.MaxPool2d(3, 1, 1)),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """RGB (n, 299, 299, 3) float32 in [0, 255] → embedding (n, 2048)."""
        x = (frames.permute(0, 3, 1, 2) - 128.0) / 128.0  # (n, 3, 299, 299)
        pooled: Tensor = self.features(x).mean(dim=(2, 3))  # (n, 2048, 8, 8) -> (n, 2048)
        return pooled

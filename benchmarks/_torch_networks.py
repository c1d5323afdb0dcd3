"""EfficientNet-lite0 and I3D as torch modules: what the ONNX graphs are held against."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Of each stage: its blocks, and the stride of the first. Kernels and widths come with the weights.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
EPSILON = 1e-3  # of batch norm

State = Mapping[str, Tensor]


class Unit(nn.Sequential):  # type: ignore[misc]  # mypy sees torch as Any
    """Padding, a convolution with its batch norm folded in, and ReLU6 where `active`.

    Padding is TensorFlow's "SAME": where the stride is 2, one more at the bottom and the right.
    (Every side is even there, with frames of 224.)
    """

    def __init__(
        self, state: State, conv: str, norm: str, stride: int = 1, *, active: bool = True
    ) -> None:
        weight = state[f"{conv}.weight"]
        n_out, n_in, kernel, _ = weight.shape  # depthwise: n_in = 1
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
        groups = n_out if n_in == 1 else 1
        folded = nn.Conv2d(n_in * groups, n_out, kernel, stride, groups=groups)
        folded.weight.data = weight * scale[:, None, None, None]
        folded.bias = nn.Parameter(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        pad = nn.ZeroPad2d((before, after, before, after))
        super().__init__(pad, folded, nn.ReLU6() if active else nn.Identity())


class Block(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Inverted residual: expand, depthwise, project; a stage's later blocks add their input."""

    def __init__(self, state: State, name: str, stride: int, *, residual: bool) -> None:
        super().__init__()
        units = [
            Unit(state, f"{name}._depthwise_conv", f"{name}._bn1", stride),
            Unit(state, f"{name}._project_conv", f"{name}._bn2", active=False),
        ]
        if f"{name}._expand_conv.weight" in state:  # not in the first stage
            units.insert(0, Unit(state, f"{name}._expand_conv", f"{name}._bn0"))
        self.units = nn.Sequential(*units)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → (n, c′, h/stride, w/stride)."""
        y: Tensor = self.units(x)
        return x + y if self.residual else y


class Lite0(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """The whole network, from pixels to both heads. No squeeze-and-excitation.

    Args:
        state: The original state dict.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        steps = [(stride, i) for n, stride in STAGES for i in range(n)]
        blocks = [
            Block(state, f"_blocks.{b}", 1 if i else stride, residual=i > 0)
            for b, (stride, i) in enumerate(steps)
        ]
        self.features = nn.Sequential(
            Unit(state, "_conv_stem", "_bn0", 2), *blocks, Unit(state, "_conv_head", "_bn1")
        )
        self.classes = nn.Linear(1280, 1000)
        self.classes.load_state_dict({"weight": state["_fc.weight"], "bias": state["_fc.bias"]})

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 RGB (n, 224, 224, 3) → embedding (n, 1280), class logits (n, 1000)."""
        x = (frames.permute(0, 3, 1, 2).float() - 127.0) / 128.0  # (n, 3, 224, 224)
        embedding = self.features(x).mean(dim=(2, 3))  # (n, 1280)
        return embedding, self.classes(embedding)  # (n, 1000)


Size = tuple[int, int, int]  # of time, height, width


def paddings(kernel: Size, stride: Size) -> list[int]:
    """Return TensorFlow's "SAME" padding in torch's order, last axis first.

    Before and after, kernel − stride in all, the odd one after. (Wherever a stride is 2, every
    size is even here: frames of 224, windows of 16 or 64.)
    """
    pairs = [((k - s) // 2, (k - s + 1) // 2) for k, s in zip(kernel, stride, strict=True)]
    return [side for pair in reversed(pairs) for side in pair]


class Unit3D(nn.Sequential):  # type: ignore[misc]  # mypy sees torch as Any
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
                Unit3D(state, f"{name}.branch_0"),
                *(
                    nn.Sequential(Unit3D(state, f"{name}.{b}.0"), Unit3D(state, f"{name}.{b}.1"))
                    for b in ("branch_1", "branch_2")
                ),
                nn.Sequential(pool, Unit3D(state, f"{name}.branch_3.1")),
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
            Unit3D(state, "conv3d_1a_7x7", (2, 2, 2)),
            MaxPool((1, 3, 3), (1, 2, 2)),
            Unit3D(state, "conv3d_2b_1x1"),
            Unit3D(state, "conv3d_2c_3x3"),
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

"""EfficientNet-lite0 as a torch module; needed once, to convert the original weights."""

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

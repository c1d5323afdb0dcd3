"""An I3D of seeded random weights, an eighth as wide inside, and its slow second implementation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, batch_norm, conv3d, max_pool3d, pad, relu

from _weights import sha
from earsight.weights.catalogue import CATALOGUE

MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")


def random_state(seed: int = 0) -> dict[str, Tensor]:
    """A state dict by the names of kinetics_i3d_pytorch; only the last block has its true width."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def unit(name: str, n_in: int, n_out: int, kernel: int) -> None:
        fan = n_in * kernel**3
        weight = rand(n_out, n_in, kernel, kernel, kernel) - 0.5
        state[f"{name}.conv3d.weight"] = weight * (24 / fan) ** 0.5  # keeps the variance
        state[f"{name}.batch3d.weight"] = 0.5 + rand(n_out)
        state[f"{name}.batch3d.bias"] = rand(n_out) - 0.5
        state[f"{name}.batch3d.running_mean"] = rand(n_out) - 0.5
        state[f"{name}.batch3d.running_var"] = 0.5 + rand(n_out)

    unit("conv3d_1a_7x7", 3, 8, 7)
    unit("conv3d_2b_1x1", 8, 8, 1)
    unit("conv3d_2c_3x3", 8, 24, 3)
    width = 24
    for name in MIXED:
        outs = (384, 384, 128, 128) if name == "5c" else (16, 24, 8, 8)
        unit(f"mixed_{name}.branch_0", width, outs[0], 1)
        for branch, out in (("branch_1", outs[1]), ("branch_2", outs[2])):
            unit(f"mixed_{name}.{branch}.0", width, 8, 1)
            unit(f"mixed_{name}.{branch}.1", 8, out, 3)
        unit(f"mixed_{name}.branch_3.1", width, outs[3], 1)
        width = sum(outs)
    state["conv3d_0c_1x1.conv3d.weight"] = (rand(400, 1024, 1, 1, 1) - 0.5) / 32
    state["conv3d_0c_1x1.conv3d.bias"] = rand(400)
    return state


def same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float) -> Tensor:
    """TensorFlow's SAME, by its definition from the sizes."""
    sides: list[int] = []
    for n, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        sides = [total // 2, total - total // 2, *sides]
    return pad(x, sides, value=value)


def slow_i3d(state: dict[str, Tensor], frames: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing folded, sizes read as they come: uint8 (n, t, h, w, 3) → (n, 1024), (n, 400)."""

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv3d.weight"]
        steps = (stride,) * 3
        x = conv3d(same(x, tuple(weight.shape[2:]), steps, 0.0), weight, stride=steps)
        norms = (
            state[f"{name}.batch3d.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return relu(batch_norm(x, *norms, eps=1e-3))

    def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        return max_pool3d(same(x, kernel, stride, float("-inf")), kernel, stride)

    x = frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    x = pool(unit(x, "conv3d_1a_7x7", 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit(unit(x, "conv3d_2b_1x1"), "conv3d_2c_3x3"), (1, 3, 3), (1, 2, 2))
    for name in MIXED:
        if name == "4b":
            x = pool(x, (3, 3, 3), (2, 2, 2))
        if name == "5b":
            x = pool(x, (2, 2, 2), (2, 2, 2))
        block = f"mixed_{name}"
        x = torch.cat(
            [
                unit(x, f"{block}.branch_0"),
                unit(unit(x, f"{block}.branch_1.0"), f"{block}.branch_1.1"),
                unit(unit(x, f"{block}.branch_2.0"), f"{block}.branch_2.1"),
                unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{block}.branch_3.1"),
            ],
            dim=1,
        )
    x = avg_pool3d(x, (2, 7, 7), 1)
    weight, bias = (state[f"conv3d_0c_1x1.conv3d.{part}"] for part in ("weight", "bias"))
    logits = conv3d(x, weight, bias).mean(dim=(2, 3, 4))
    return x.mean(dim=(2, 3, 4)), logits


@contextmanager
def seeded_i3d(folder: Path) -> Iterator[None]:
    """Let the catalogue know the random weights as the default ones; `folder` keeps the network."""
    given = folder / "given"
    if not given.exists():
        given.mkdir()
        torch.save(random_state(), given / "model_rgb.pth")
    (source,) = CATALOGUE["i3d"].sources
    known = sha((given / "model_rgb.pth").read_bytes())
    source = replace(source, members=(replace(source.members[0], sha256=known),))
    with pytest.MonkeyPatch.context() as patch:
        entry = replace(CATALOGUE["i3d"], sources=(source,))
        patch.setitem(CATALOGUE, "i3d", entry)  # type: ignore[index]
        patch.setenv("EARSIGHT_HOME", str(folder / "home"))
        patch.setenv("EARSIGHT_WEIGHTS", str(given))
        yield

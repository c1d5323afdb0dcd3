"""Soft dynamic time warping as a loss: its own backward pass, diagonal by diagonal."""

from typing import Any

from earsight import extras

extras.require("deep", "alignment.soft")

import torch  # noqa: E402  # what it is made of
from torch import Tensor  # noqa: E402


def soft_dtw(costs: Tensor, gamma: float = 1.0) -> Tensor:
    """Return the soft minimum over all monotone paths of their costs.

        D[i, j] = cost[i, j] − γ log Σ exp(−D/γ) over D[i−1, j], D[i, j−1], D[i−1, j−1]

    Args:
        costs: (batch, n, m).
        gamma: γ > 0; towards 0 it becomes dynamic time warping.

    Returns:
        (batch,) D[n, m]. Its gradient is the expected path: how often each cell is visited.

    Raises:
        ValueError: γ is not above 0.

    Reference: Cuturi, Blondel, Soft-DTW: a differentiable loss function for time-series, 2017.
    """
    if not gamma > 0:
        raise ValueError(f"`gamma` must be above 0; got {gamma}.")
    value: Tensor = _SoftDTW.apply(costs, gamma)
    return value


class _SoftDTW(torch.autograd.Function):  # type: ignore[misc]  # torch's types are not followed
    """Both passes work on skewed matrices: row d holds diagonal d, so a step is one expression."""

    @staticmethod
    def forward(ctx: Any, costs: Tensor, gamma: float) -> Tensor:
        batch, n, m = costs.shape
        skewed = _skew(costs, torch.inf)  # (n + m − 1, batch, n)
        total = costs.new_full((n + m + 1, batch, n + 2), torch.inf)  # (d + 2, batch, i + 1)
        total[0, :, 0] = 0.0
        for d in range(n + m - 1):
            ways = torch.stack([total[d + 1, :, :n], total[d + 1, :, 1 : n + 1], total[d, :, :n]])
            soft = -gamma * torch.logsumexp(-ways / gamma, dim=0)  # (batch, n)
            total[d + 2, :, 1 : n + 1] = skewed[d] + soft
        ctx.save_for_backward(skewed, total)
        ctx.gamma, ctx.shape = gamma, (n, m)
        return total[n + m, :, n].clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """E[i, j] = Σ over the three cells that follow of E·exp((D′ − cost′ − D[i, j])/γ)."""
        skewed, total = ctx.saved_tensors
        gamma, (n, m) = ctx.gamma, ctx.shape
        last = n + m - 2
        visits = torch.zeros(n + m + 1, *skewed.shape[1:2], n + 2, dtype=skewed.dtype)
        visits = visits.to(skewed.device)  # (d, batch, i + 1), two empty diagonals at the end
        visits[last, :, n] = 1.0
        soft = total[2:, :, 1 : n + 1] - skewed  # what each cell was reached with
        for d in range(last - 1, -1, -1):
            here = total[d + 2, :, 1 : n + 1]
            flow = torch.zeros_like(here)
            for ahead, down in ((1, 1), (1, 0), (2, 1)):
                if d + ahead > last:
                    continue
                follows = visits[d + ahead, :, 1 + down : n + 1 + down]
                reached = torch.full_like(here, torch.inf)
                reached[:, : n - down] = soft[d + ahead, :, down:]
                share = torch.exp((reached - here) / gamma)
                flow = flow + torch.where(follows > 0, follows * share, torch.zeros_like(flow))
            visits[d, :, 1 : n + 1] = torch.where(torch.isfinite(here), flow, 0.0)
        return _unskew(visits[: n + m - 1, :, 1 : n + 1], n, m) * upstream[:, None, None], None


def _skew(costs: Tensor, fill: float) -> Tensor:
    """Return (n + m − 1, batch, n): entry (d, b, i) is cost[b, i, d − i], `fill` outside."""
    batch, n, m = costs.shape
    skewed = costs.new_full((n + m - 1, batch, n), fill)
    i = torch.arange(n, device=costs.device)[:, None].expand(n, m)
    j = torch.arange(m, device=costs.device)[None, :].expand(n, m)
    skewed[i + j, :, i] = costs.permute(1, 2, 0)
    return skewed


def _unskew(skewed: Tensor, n: int, m: int) -> Tensor:
    i = torch.arange(n, device=skewed.device)[:, None].expand(n, m)
    j = torch.arange(m, device=skewed.device)[None, :].expand(n, m)
    return skewed[i + j, :, i].permute(2, 0, 1)

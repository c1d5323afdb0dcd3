"""Canonical losses: the moments of a mixture of pairs, and the correlation they allow."""

from dataclasses import dataclass

import torch
from torch import Tensor

_NOTHING = 1e-10  # a correlation below this share of the largest is rounding


@dataclass(frozen=True)
class Covariances:
    """Moments of pairs (x, y).

    Attributes:
        means: (p,) and (q,).
        xx, yy, xy: (p, p), (q, q) and (p, q), normalised by the weight of the pairs.
    """

    means: tuple[Tensor, Tensor]
    xx: Tensor
    yy: Tensor
    xy: Tensor


def pair_covariances(
    x: Tensor, y: Tensor, codes: tuple[Tensor, Tensor] | None = None, beta: float = 1.0
) -> Covariances:
    """Moments of a mixture of pairs, in float64, without building a pair.

    A pair is, with chance β, a row of x and the same row of y; else a row of x and a row of y of
    one class, all M = Σ nᶜx·nᶜy such pairs alike. With S the class sums and w what a row weighs,

        wx = β/n + (1 − β) nᶜy/M,    Σxx = Σ wx (x − μx)(x − μx)ᵀ,    likewise for y,
        Σxy = (β/n) Σ xyᵀ + ((1 − β)/M) Σ_c Sᶜx Sᶜyᵀ − μx μyᵀ

    β = 1 gives the moments of CCA, β = 0 those of cluster-CCA.

    Args:
        x: (n, p) rows.
        y: (m, q) rows; m = n unless β = 0.
        codes: (n,) and (m,) numbers of the classes; not needed where β = 1.
        beta: From 0 to 1.
    """
    x, y = x.double(), y.double()
    # About the plain means the sums stay small; every moment below is about the weighted ones.
    shift_x, shift_y = x.detach().mean(0), y.detach().mean(0)
    x, y = x - shift_x, y - shift_y
    weight_x, weight_y = x.new_zeros(len(x)), x.new_zeros(len(y))
    cross = x.new_zeros(x.shape[1], y.shape[1])
    if beta > 0:
        weight_x, weight_y = weight_x + beta / len(x), weight_y + beta / len(y)
        cross = cross + beta / len(x) * (x.T @ y)
    if beta < 1 and codes is not None:
        n_classes = 1 + int(max(codes[0].max(), codes[1].max()))
        counts_x, counts_y = (torch.bincount(own, minlength=n_classes).double() for own in codes)
        share = (1 - beta) / (counts_x @ counts_y)
        weight_x, weight_y = (
            weight_x + share * counts_y[codes[0]],
            weight_y + share * counts_x[codes[1]],
        )
        sums = (
            x.new_zeros(n_classes, rows.shape[1]).index_add(0, own, rows)  # (C, p)
            for rows, own in zip((x, y), codes, strict=True)
        )
        first, second = sums
        cross = cross + share * (first.T @ second)
    mean_x, mean_y = weight_x @ x, weight_y @ y
    return Covariances(
        means=(shift_x + mean_x, shift_y + mean_y),
        xx=(x * weight_x[:, None]).T @ x - torch.outer(mean_x, mean_x),
        yy=(y * weight_y[:, None]).T @ y - torch.outer(mean_y, mean_y),
        xy=cross - torch.outer(mean_x, mean_y),
    )


def total_correlation(moments: Covariances, ridge: float) -> Tensor:
    """Sum of the canonical correlations: the nuclear norm of T = Lx⁻¹ Σxy Ly⁻ᵀ, a scalar.

    LLᵀ = Σ + r·(tr Σ/p)·I. With T = U·diag(ρ)·Vᵀ, A = Lx⁻ᵀU and B = Ly⁻ᵀV,

        ∂/∂Σxy = ABᵀ,    ∂/∂Σxx = −½ A·diag(ρ)·Aᵀ,    ∂/∂Σyy = −½ B·diag(ρ)·Bᵀ

    which has no difference of correlations in a denominator, as the derivative of a singular value
    decomposition has: equal correlations do no harm. A correlation of 0 has no gradient here (the
    shortest subgradient).

    Args:
        moments: Σxx, Σyy and Σxy in float64.
        ridge: r > 0.

    Reference: Andrew, Arora, Bilmes, Livescu, Deep canonical correlation analysis, ICML 2013.
    """
    xx, yy = (_ridged(each, ridge) for each in (moments.xx, moments.yy))
    total: Tensor = _NuclearNorm.apply(xx, yy, moments.xy)
    return total


def _ridged(covariance: Tensor, ridge: float) -> Tensor:
    return covariance + ridge * covariance.diagonal().mean() * torch.eye(
        len(covariance), dtype=covariance.dtype, device=covariance.device
    )


class _NuclearNorm(torch.autograd.Function):  # type: ignore[misc]  # mypy sees torch as Any
    @staticmethod
    def forward(ctx, xx, yy, xy):  # type: ignore[no-untyped-def]
        lx, bad_x = torch.linalg.cholesky_ex(xx)
        ly, bad_y = torch.linalg.cholesky_ex(yy)
        t = torch.linalg.solve_triangular(lx, xy, upper=False)
        t = torch.linalg.solve_triangular(ly, t.T, upper=False).T  # (p, q)
        if bool(bad_x) or bool(bad_y) or not bool(torch.isfinite(t).all()):
            return xy.new_tensor(float("nan"))  # the loop says what to do
        u, rho, vt = torch.linalg.svd(t, full_matrices=False)
        real = rho > _NOTHING * rho[0]
        a = torch.linalg.solve_triangular(lx.T, u[:, real], upper=True)
        b = torch.linalg.solve_triangular(ly.T, vt[real].T, upper=True)
        ctx.save_for_backward(a, b, rho[real])
        return rho.sum()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        a, b, rho = ctx.saved_tensors
        return (
            -0.5 * gradient * (a * rho) @ a.T,
            -0.5 * gradient * (b * rho) @ b.T,
            gradient * a @ b.T,
        )

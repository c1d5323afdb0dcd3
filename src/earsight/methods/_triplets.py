"""The loss of all triplets of a batch, from a sort; nothing but torch.

A triplet is an anchor a of one modality, a positive p of the other (same class), and a negative n
of the other (another class). It costs max(0, ‖a − p‖² − ‖a − n‖² + margin).

Given which triplets count, the loss is linear in the distances: each is multiplied by the number
of triplets in which it is the far or the near one. These numbers follow from each anchor's order of
the others, so no triplet is ever written down: n anchors and m others take O(n·m) memory and
O(n·m·log m) time, and with the numbers held fixed the gradient is exact. (Where a triplet lies on
the hinge itself, it is one of the two one-sided derivatives.)
"""

import torch
from torch import Tensor


def triplet_loss(
    anchors: Tensor,
    others: Tensor,
    same: Tensor,
    *,
    margin: float,
    mining: str = "all",
    different: Tensor | None = None,
) -> Tensor:
    """Return the mean cost of the triplets that `mining` names.

        mean over (a, p, n) of max(0, ‖a − p‖² − ‖a − n‖² + margin)

    Args:
        anchors: (n, d) of one modality.
        others: (m, d) of the other modality.
        same: (n, m) truth values: of one class.
        margin: Above 0, in squared distance.
        mining: "all" triplets; "hard": for each anchor its farthest positive with its nearest
            negative; "semi-hard": all whose negative is farther than the positive, but by less than
            the margin (‖a − p‖² < ‖a − n‖² < ‖a − p‖² + margin).
        different: (n, m) truth values: a negative; None: whatever is not of the same class. What
            is neither takes no part.

    Returns:
        () with the gradient to both; 0 where there is no such triplet.

    References: Schroff, Kalenichenko, Philbin, FaceNet, 2015 (semi-hard); Hermans, Beyer, Leibe,
    In defense of the triplet loss, 2017 (all, hard).

    >>> a, b = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0]])
    >>> triplet_loss(a, b, torch.eye(2, dtype=torch.bool), margin=4.0)
    tensor(1.)
    """
    if 0 in same.shape:  # a batch of classes that one modality lacks
        return anchors.sum() + others.sum()
    # ‖a − b‖² less ‖a‖², which is the same in both distances of a triplet and drops out.
    distance = torch.addmm(others.square().sum(1), anchors, others.T, alpha=-2)  # (n, m)
    with torch.no_grad():
        # Negatives at an infinite distance take part in nothing.
        far = (
            distance if different is None else distance.masked_fill(~(same | different), torch.inf)
        )
        if mining == "hard":
            counts, n_active, n = _hard(far, same, margin)
        elif mining == "semi-hard":
            counts, n_active, n = _semi_hard(far, same, margin)
        else:
            counts, n_active = _violations(far, same, margin)
            positives = same.sum(1)
            negatives = len(others) - positives if different is None else different.sum(1)
            n = (positives * negatives).sum()
        n = n.clamp(min=1)
        weights, constant = counts / n, margin * n_active / n
    return torch.dot(weights.view(-1), distance.view(-1)) + constant


def cross_triplet_loss(
    first: Tensor,
    second: Tensor,
    same: Tensor,
    *,
    margin: float,
    anchors: str = "first",
    mining: str = "all",
) -> Tensor:
    """Return `triplet_loss` with one view's rows as anchors, or the mean of it both ways.

    Args:
        first: (n, d) of the first view.
        second: (m, d) of the second view.
        same: (n, m) truth values: of one class.
        margin, mining: As in `triplet_loss`.
        anchors: "first", "second" or "both".
    """
    total = first.new_zeros(())
    if anchors in ("first", "both"):
        total = total + triplet_loss(first, second, same, margin=margin, mining=mining)
    if anchors in ("second", "both"):
        total = total + triplet_loss(second, first, same.T, margin=margin, mining=mining)
    return total / 2 if anchors == "both" else total


def _violations(distance: Tensor, same: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Count, for each distance, the triplets with ‖a − n‖² < ‖a − p‖² + margin it is part of.

    Returns:
        (n, m): for a positive how many negatives are nearer than it plus the margin; for a negative
        minus how many positives, plus the margin, are farther. And () the number of such triplets.
    """
    order = torch.add(distance, same, alpha=margin).argsort(1)  # (n, m) near to far
    positive = same.gather(1, order)
    seen = positive.cumsum(1, dtype=distance.dtype)  # positives up to and with each place
    place = torch.arange(1, same.shape[1] + 1, dtype=distance.dtype, device=distance.device)
    sorted_counts = torch.where(positive, place - seen, seen - seen[:, -1:])
    counts = torch.empty_like(sorted_counts).scatter_(1, order, sorted_counts)
    return counts, sorted_counts.clamp_(min=0).sum()


def _hard(distance: Tensor, same: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Count as `_violations` does, each anchor's farthest positive and nearest negative alone."""
    far, p = distance.masked_fill(~same, -torch.inf).max(1, keepdim=True)  # (n, 1)
    near, n = distance.masked_fill(same, torch.inf).min(1, keepdim=True)
    exists = torch.isfinite(far) & torch.isfinite(near)
    active = ((near < far + margin) & exists).to(distance.dtype)
    counts = torch.zeros_like(distance).scatter_(1, p, active).scatter_add_(1, n, -active)
    return counts, active.sum(), exists.sum()


def _semi_hard(distance: Tensor, same: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Count those within the margin, less those whose negative is nearer than the positive."""
    within, n_within = _violations(distance, same, margin)
    wrong, n_wrong = _violations(distance, same, 0.0)
    n = n_within - n_wrong
    return within - wrong, n, n

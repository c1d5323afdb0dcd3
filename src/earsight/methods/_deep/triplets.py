"""The loss of all triplets of a batch, from a sort; nothing but torch.

A triplet is an anchor a of one modality, a positive p of the other (same class), and a negative n
of the other (another class). It costs max(0, ‖a − p‖² − ‖a − n‖² + margin).

Given which triplets cost something, the loss is linear in the distances: each is multiplied by the
number of those triplets in which it is the positive's, less those in which it is the negative's.
These numbers follow from each anchor's order of the others, so no triplet is ever written down: n
anchors and m others take O(n·m) memory and O(n·m·log m) time, and with the numbers held fixed the
gradient is exact. (Where a triplet lies on the hinge, it is one of the one-sided derivatives.)
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
        return 0 * (anchors.sum() + others.sum())
    # ‖a − b‖² less ‖a‖², which is the same in both distances of a triplet and drops out.
    distance = torch.addmm(others.square().sum(1), anchors, others.T, alpha=-2)  # (n, m)
    reach = torch.add(distance, same, alpha=margin)  # a triplet costs reach of p − reach of n
    with torch.no_grad():
        order = reach  # by which triplets are found; at infinity a negative takes part in none
        if different is not None:
            order = reach.masked_fill(~(same | different), torch.inf)
        if mining == "hard":
            counts, n = _hard(order, same)
        elif mining == "semi-hard":
            counts, n = _semi_hard(order, same, margin)
        else:
            counts, n_positives = _violations(order, same)
            n_negatives = len(others) - n_positives if different is None else different.sum(1)
            n = n_positives.dot(n_negatives.to(n_positives.dtype))
        counts /= n.clamp(min=1)
    return torch.dot(counts.view(-1), reach.view(-1))


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


def _violations(reach: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Count, for each distance, the triplets that cost something and that it is part of.

    Returns:
        (n, m): for a positive how many negatives reach less far; for a negative minus how many
        positives reach farther. And (n,) how many positives each anchor has.
    """
    order = reach.argsort(1)  # (n, m) near to far
    positive = same.gather(1, order)
    seen = positive.cumsum(1, dtype=reach.dtype)  # positives up to and with each place
    place = torch.arange(1, same.shape[1] + 1, dtype=reach.dtype, device=reach.device)
    in_order = torch.where(positive, place - seen, seen - seen[:, -1:])
    return torch.empty_like(in_order).scatter_(1, order, in_order), seen[:, -1]


def _hard(reach: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Count as `_violations` does, each anchor's farthest positive and nearest negative alone.

    Returns:
        (n, m) counts, and () how many anchors have both.
    """
    far, p = reach.masked_fill(~same, -torch.inf).max(1, keepdim=True)  # (n, 1)
    near, n = reach.masked_fill(same, torch.inf).min(1, keepdim=True)
    exists = torch.isfinite(far) & torch.isfinite(near)
    active = ((near < far) & exists).to(reach.dtype)
    counts = torch.zeros_like(reach).scatter_(1, p, active).scatter_add_(1, n, -active)
    return counts, exists.sum()


def _semi_hard(reach: Tensor, same: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Count those that cost something, less those whose negative is nearer than the positive.

    Returns:
        (n, m) counts, and () how many triplets there are.
    """
    wrong, _ = _violations(torch.add(reach, same, alpha=-margin), same)
    counts = _violations(reach, same)[0] - wrong
    return counts, counts.clamp(min=0).sum()
